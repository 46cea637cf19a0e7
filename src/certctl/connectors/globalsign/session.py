"""Calls to Atlas with a token, which key and secret buy, and which all calls share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from certctl.connectors.errors import (
    BadAnswer,
    IssuerError,
    Misconfigured,
    Refused,
    Unauthorized,
)
from certctl.connectors.globalsign.answers import text_of
from certctl.connectors.triage import Step, raise_for_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from certctl.connectors.globalsign.config import GlobalSignConfig
    from certctl.connectors.transport import Reply, Transport

#: A token lasts ten minutes; nothing in the answer says so.
_TOKEN_SECONDS = 540.0
_NO_LOGIN = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
)
_HEADERS = {"content-type": "application/json;charset=utf-8"}


class NoLogin(Misconfigured):
    """There is no login at this address."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    until: float


class Session:
    """Logs in when it is needed, once for everybody who waits, and again when a token has ended."""

    def __init__(
        self,
        config: GlobalSignConfig,
        transport: Transport,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = {
            "api_key": config.api_key.get_secret_value(),
            "api_secret": config.api_secret.get_secret_value(),
        }
        self._transport = transport
        self._monotonic = monotonic
        self._token: _Token | None = None
        self._lock = asyncio.Lock()

    async def log_in(self) -> None:
        """Have a token that is good. Raises NoLogin where the server has no login."""
        await self._current()

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        preparatory: bool = False,
    ) -> Reply:
        """Make one call; as `Transport.send`. What a 401 refused was not done, and is sent again.

        Raises what a login may end with before anything else was sent.
        """
        token = await self._current()
        reply = await self._send(token, method, path, json, params, preparatory=preparatory)
        if reply.status != HTTPStatus.UNAUTHORIZED:
            return reply
        if self._token is token:
            self._token = None
        token = await self._current()
        return await self._send(token, method, path, json, params, preparatory=preparatory)

    async def read(
        self, path: str, *, params: Mapping[str, str] | None = None, preparatory: bool = False
    ) -> Reply:
        """GET that succeeds; raises as `raise_for_status` does, but never Refused.

        What is read is about the account: that it cannot be read is no answer about an order.
        """
        reply = await self.send("GET", path, params=params, preparatory=preparatory)
        try:
            raise_for_status(reply, Step.READ)
        except Refused as error:
            raise BadAnswer(f"{path}: {error.detail}", code=error.code) from None
        return reply

    async def _send(
        self,
        token: _Token,
        method: str,
        path: str,
        json: Any,
        params: Mapping[str, str] | None,
        *,
        preparatory: bool,
    ) -> Reply:
        headers = {"authorization": f"Bearer {token.text}"}
        if json is not None:
            headers |= _HEADERS
        return await self._transport.send(
            method, path, json=json, params=params, headers=headers, preparatory=preparatory
        )

    async def _current(self) -> _Token:
        token = self._token
        if token is not None and self._monotonic() < token.until:
            return token
        async with self._lock:
            token = self._token  # somebody may have logged in meanwhile
            if token is None or self._monotonic() >= token.until:
                token = self._token = await self._log_in()
            return token

    async def _log_in(self) -> _Token:
        begun = self._monotonic()
        reply = await self._transport.send(
            "POST",
            "/login",
            json=self._credentials,
            headers=_HEADERS,
            repeatable=True,
            preparatory=True,
        )
        if reply.status in _NO_LOGIN:
            raise NoLogin(
                f"there is no login at this address (HTTP {reply.status}): check api_url, or set "
                "dialect to headers"
            )
        try:
            raise_for_status(reply, Step.READ)
        except (Unauthorized, Refused) as error:
            raise Unauthorized(
                f"the login with API key and secret was not accepted: {error.detail}",
                code=error.code,
            ) from None
        except IssuerError as error:
            raise type(error)(
                f"the login failed: {error.detail}", code=error.code, retry_after=error.retry_after
            ) from None
        text = text_of(reply.json(), "access_token")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise BadAnswer("the login's answer has no token that can be used")
        return _Token(text, begun + _TOKEN_SECONDS)
