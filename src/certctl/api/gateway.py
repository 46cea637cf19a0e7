"""What stands in front of every route: request id, body limit, API key, errors as problems.

Plain ASGI, one layer: this is on the way of every request. Hot routes are found here by their exact
address; the framework's own search takes longer than checking the caller's key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from starlette.requests import Request

from certctl.api import problems
from certctl.domain import errors
from certctl.domain.randomness import random_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from certctl.lifecycle.access import Access

    Handler = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 256 * 1024

#: The only addresses that answer without a key.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})

_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Gateway:
    """Wraps the application; puts `actor` and `request_id` into the scope's state."""

    def __init__(
        self, app: ASGIApp, access: Access, hot: Mapping[tuple[str, str], Handler]
    ) -> None:
        self._app = app
        self._access = access
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = random_bytes(8).hex()
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        started = finished = False

        async def reply(message: Message) -> None:
            nonlocal started, finished
            if message["type"] != "http.response.start":
                finished = not message.get("more_body", False)
            else:
                started = True
                message["headers"] = [
                    *message.get("headers", ()),
                    *_HEADERS,
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            headers = dict(scope["headers"])
            if scope["path"] not in OPEN_PATHS:
                state["actor"] = await self._access.authenticate(_bearer(headers))
            limited = _limited(headers, receive)
            handler = self._hot.get((scope["method"], scope["path"]))
            if handler is None:
                await self._app(scope, limited, reply)
            else:
                scope["app"] = self._app
                response = await handler(Request(scope, limited))
                await response(scope, limited, reply)
        except errors.CertctlError as error:
            if started:
                raise
            await problems.from_error(error, request_id)(scope, receive, reply)
        except Exception:
            log.exception("request failed", request_id=request_id, path=scope["path"])
            if not started:
                await problems.internal_error(request_id)(scope, receive, reply)
            elif not finished:
                raise  # the connection is closed: half an answer must not look like a whole one


def _bearer(headers: dict[bytes, bytes]) -> str:
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise errors.Unauthenticated(
            "api-key-missing",
            "this address needs an API key",
            hint="send `Authorization: Bearer <key>`; the first admin key is in the file "
            "admin.key of the server's data directory",
        )
    return key.strip()


def _limited(headers: dict[bytes, bytes], receive: Receive) -> Receive:
    """`receive`, but no more than the limit; a length that is announced is believed at once."""
    length = headers.get(b"content-length", b"")
    if length.isdigit():
        if int(length) > MAX_BODY_BYTES:
            raise _too_large()
        return receive  # the HTTP parser holds the client to what it announced
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return counted


def _too_large() -> errors.TooLarge:
    return errors.TooLarge(
        "body-too-large",
        f"the body is larger than {MAX_BODY_BYTES // 1024} KiB",
        hint="send one request for one certificate at a time",
    )
