"""HTTPS to the server: one place for trust, time limits and what a failure means."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from certctl import __version__
from certctl.client.errors import ApiError, ClientError, ConnectionFailed, UnexpectedAnswer
from certctl.client.retry import parse_retry_after
from certctl.client.trust import trust
from certctl.schemas.common import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from certctl.client.config import ServerAccess

M = TypeVar("M", bound=BaseModel)

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0

_LIMITS = httpx2.Limits(max_connections=4, max_keepalive_connections=2, keepalive_expiry=30.0)
_ERRORS = 400
_OK = 200
_REDIRECTS = 300


class Connection:
    """Sends requests, and turns what is no success into this package's errors."""

    def __init__(
        self, access: ServerAccess, *, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._access = access
        headers = {"User-Agent": f"certctl/{__version__}"}
        if access.api_key is not None:
            headers["Authorization"] = f"Bearer {access.api_key}"
        # Not the environment's proxies or netrc: the key goes to the server, and nowhere else.
        self._http = httpx2.Client(
            base_url=access.url,
            verify=trust(access.ca_bundle) if transport is None else True,
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            limits=_LIMITS,
            headers=headers,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int | None] | None = None,
        body: BaseModel | None = None,
        is_patch: bool = False,
        headers: Mapping[str, str] | None = None,
        answer_within: float = ANSWER_SECONDS,
    ) -> httpx2.Response:
        """The server's answer, if it is a success. Raises ClientError.

        Of a body what is None is not sent, but for a patch, where null says something: of that, all
        that was set is.
        """
        kept = {name: value for name, value in (params or {}).items() if value is not None}
        arguments: dict[str, Any] = {}
        if body is not None:
            arguments["content"] = body.model_dump_json(
                exclude_none=not is_patch, exclude_unset=is_patch
            )
            headers = {**(headers or {}), "Content-Type": "application/json"}
        timeout = httpx2.Timeout(answer_within, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)
        try:
            response = self._http.request(
                method, path, params=kept or None, headers=headers, timeout=timeout, **arguments
            )
        except httpx2.RequestError as error:
            raise _failure(error, self._access, answer_within) from error
        _refuse(response)
        return response

    def lines(
        self, path: str, *, params: Mapping[str, str | int | None] | None = None
    ) -> Iterator[bytes]:
        """The lines of a long answer as they come, each with its end; one that is cut off has none.

        Raises ClientError, also between two lines, where the answer breaks off.
        """
        kept = {name: value for name, value in (params or {}).items() if value is not None}
        timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS)
        rest = b""
        try:
            with self._http.stream("GET", path, params=kept or None, timeout=timeout) as response:
                if response.status_code != _OK:
                    response.read()
                    _refuse(response)
                for part in response.iter_bytes():
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        yield line + b"\n"
        except httpx2.RequestError as error:
            raise _failure(error, self._access, ANSWER_SECONDS) from error
        if rest:
            yield rest


def parse(model: type[M], response: httpx2.Response) -> M:
    """The answer's body as one of our models. Raises UnexpectedAnswer."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise _unexpected("an answer that cannot be read") from None


def _refuse(response: httpx2.Response) -> None:
    """Raise what an answer stands for that is no success."""
    if response.status_code >= _ERRORS:
        raise _api_error(response)
    if not _OK <= response.status_code < _REDIRECTS:
        raise _unexpected(f"an answer with status {response.status_code}")


def _unexpected(what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"the server gave {what}",
        hint="check that the address is that of a certctl server, and that its version fits",
        uncertain=True,
    )


def _api_error(response: httpx2.Response) -> ApiError:
    status = response.status_code
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:  # something in between answered
        problem = Problem(
            type="about:blank",
            title=response.reason_phrase,
            status=status,
            detail=f"the answer was {status} {response.reason_phrase}, and not in certctl's form",
            hint="check that the address is that of a certctl server, and what is in front of it",
        )
    retry_after = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    return ApiError(problem, status, retry_after)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _failure(error: httpx2.RequestError, access: ServerAccess, answer_within: float) -> ClientError:
    url = access.url
    match error:
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return _not_connected(error, access)
        case httpx2.TimeoutException():
            return ConnectionFailed(
                f"the server at {url} did not answer within {answer_within:g} seconds",
                hint="look at its log, or try again",
                uncertain=True,
            )
        case httpx2.TransportError():
            return ConnectionFailed(
                f"the connection to {url} broke before the answer came",
                hint="look at the server's log, or try again",
                uncertain=True,
            )
        case _:
            return _unexpected("an answer that is not HTTP as it should be")


def _not_connected(error: httpx2.RequestError, access: ServerAccess) -> ConnectionFailed:
    url = access.url
    tls = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return ConnectionFailed(
            f"the certificate of {url} is not trusted: {tls.verify_message}",
            hint="set --ca-bundle or CERTCTL_CA_BUNDLE to the ca.pem of the server's data "
            "directory, and use one of the names in its certificate",
            passing=False,
        )
    if tls is not None:
        return ConnectionFailed(
            f"{url} does not speak TLS as it should",
            hint="check the port: certctl's API speaks HTTPS only",
            passing=False,
        )
    system = next((cause for cause in _causes(error) if isinstance(cause, OSError)), None)
    if isinstance(error, httpx2.TimeoutException):
        reason = f"no answer within {CONNECT_SECONDS:g} seconds"
    elif system is not None:
        reason = system.strerror or str(system)
    else:
        reason = "no connection"
    start = "start it with `certctl server`" if access.is_local else "check the address"
    return ConnectionFailed(
        f"cannot reach the server at {url}: {reason}",
        hint=f"is it running? {start}, or set --server or CERTCTL_SERVER_URL",
    )
