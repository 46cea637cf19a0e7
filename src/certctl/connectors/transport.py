"""HTTP to certificate authorities: connections kept, sizes and times bounded, secrets kept out."""

from __future__ import annotations

import asyncio
import json as json_module
import re
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode, urlsplit

from certctl import __version__
from certctl.connectors.addresses import checked_path, parse_base_url, path_below
from certctl.connectors.errors import (
    BadAnswer,
    IssuerError,
    Misconfigured,
    NoAnswer,
    Unavailable,
)
from certctl.connectors.failures import Peer, failure, is_dead_connection, too_late
from certctl.connectors.mtls import TlsFiles
from certctl.connectors.pools import PoolKey, Pools
from certctl.connectors.progress import Progress
from certctl.connectors.redaction import NO_SECRETS, Redaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import httpx2

    from certctl.connectors.addresses import BaseAddress
    from certctl.domain.clock import Clock

_DEADLINE_TIMEOUTS = 4
_DEFAULT_HEADERS = {
    "accept": "application/json",
    # An answer is small, and one that cannot grow on the way needs less watching.
    "accept-encoding": "identity",
    "user-agent": f"certctl/{__version__}",
}
_JSON_TYPE = {"content-type": "application/json"}
# RFC 9110 §5.1 and §5.5; a value has no space at its ends.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?![ \t])[\t\x20-\x7e\x80-\xff]*(?<![ \t])")
_OUR_HEADERS = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_SECRET_HEADER = re.compile(r"auth|cookie|key|pass|secret|token")
_SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a CA's API is, and with what it is spoken to."""

    #: https, with a path if the API has one.
    base_url: str
    #: The client's certificate (with its chain) and key, PEM; both or neither.
    certificate_path: str | None = None
    key_path: str | None = None
    #: PEM bundle that replaces the system's trust.
    trust_path: str | None = None
    #: http or https, with user name and password if it wants them.
    proxy_url: str | None = field(default=None, repr=False)
    #: Sent with every request.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Values that are taken out of whatever is shown of an answer; what headers with a telling name
    #: (`Authorization`, `X-API-Key` …) carry is taken out without being named here.
    secrets: tuple[str, ...] = field(default=(), repr=False)
    #: For connecting, and for each read and write, in seconds.
    timeout: float = 30.0
    max_answer_bytes: int = 1 << 20
    #: For a whole call, in seconds; None: four times the timeout.
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a CA answered, whatever its status. `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: Makes the CA's words fit to be shown: secrets taken out, one line, not too long.
    shown: Redaction = field(default=NO_SECRETS, repr=False, compare=False)

    def json(self) -> Any:
        """The body as JSON; raises BadAnswer where it is none."""
        try:
            return json_module.loads(self.body)
        except (ValueError, RecursionError):
            raise BadAnswer("the CA's answer is not JSON") from None


class Transport:
    """Calls to one endpoint. Cheap to make: connections belong to `Transports`."""

    def __init__(self, transports: Transports, endpoint: Endpoint) -> None:
        base = parse_base_url(endpoint.base_url)
        proxy, proxy_password = _proxy(endpoint.proxy_url)
        if (endpoint.certificate_path is None) != (endpoint.key_path is None):
            raise Misconfigured(
                "a client certificate and its key belong together: set both or neither"
            )
        files = TlsFiles(endpoint.certificate_path, endpoint.key_path, endpoint.trust_path)
        self._pools = transports.pools
        self._base: BaseAddress = base
        self._prefix = base.prefix
        self._key = PoolKey(files, endpoint.proxy_url, base.authority)
        self._headers = _DEFAULT_HEADERS | _checked_headers(endpoint.headers)
        self._raw_headers = _raw(self._headers)
        self._raw_json_headers = _raw(_JSON_TYPE | self._headers)
        self._secrets = (
            *endpoint.secrets,
            *proxy_password,
            *_header_secrets(self._headers),
        )
        self._max_bytes = endpoint.max_answer_bytes
        self._timeout = dict.fromkeys(("connect", "read", "write", "pool"), endpoint.timeout)
        deadline = endpoint.deadline
        self._deadline = _DEADLINE_TIMEOUTS * endpoint.timeout if deadline is None else deadline
        self._peer = Peer(
            host=base.authority,
            proxy=proxy,
            has_certificate=endpoint.certificate_path is not None,
            trust=endpoint.trust_path,
            timeout=endpoint.timeout,
            deadline=self._deadline,
            shown=Redaction(self._secrets),
        )

    @property
    def host(self) -> str:
        """The host that is called, with its port where it is not 443."""
        return self._base.authority

    async def prepare(self) -> None:
        """Read the key pair and the bundle, so that what is wrong with them is known before a call.

        Raises Misconfigured.
        """
        await self._pools.prepare(self._key)

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        preparatory: bool = False,
    ) -> Reply:
        """Make one call; `path` is below the base URL.

        What is `repeatable` (default: GET and HEAD) is sent again, once, when a kept connection
        turns out to be dead. Redirects are not followed. A `preparatory` call (a login, a list of
        addresses) changes nothing that matters at the CA: where no answer comes back to it, the
        submission that it prepares was certainly not sent, so that this is Unavailable.

        Raises Misconfigured (the key pair or the bundle), Unavailable (certainly not sent),
        Unauthorized (the CA does not accept the client certificate), NoAnswer (sent, and no whole
        answer) and BadAnswer (too large, or a path that leads elsewhere).
        """
        if repeatable is None:
            repeatable = method in {"GET", "HEAD"}
        url = self._prefix + checked_path(path)
        if params:
            url += ("&" if "?" in url else "?") + urlencode(params)
        if json is not None:
            content = json_module.dumps(json, separators=(",", ":"), allow_nan=False).encode()
        raw_headers = self._raw_headers if json is None else self._raw_json_headers
        shown = self._peer.shown
        if headers:
            own = _checked_headers(headers)
            secrets = tuple(_header_secrets(own))
            if secrets:
                shown = Redaction((*self._secrets, *secrets))
            raw_headers = _raw((_JSON_TYPE if json is not None else {}) | self._headers | own)
        call = _Call(method, url, raw_headers, content, self._timeout, self._max_bytes, shown)
        progress = Progress()
        try:
            async with asyncio.timeout(self._deadline):
                return await self._exchange(call, progress, repeatable=repeatable)
        except TimeoutError:
            raise self._judged(too_late(progress, self._peer), preparatory=preparatory) from None
        except NoAnswer as error:
            raise self._judged(error, preparatory=preparatory) from None

    @staticmethod
    def _judged(error: IssuerError, *, preparatory: bool) -> IssuerError:
        return Unavailable(error.detail) if preparatory else error

    async def _exchange(self, call: _Call, progress: Progress, *, repeatable: bool) -> Reply:
        pool = await self._pools.take(self._key)
        try:
            return await self._attempt(pool.http, call, progress, repeatable=repeatable)
        finally:
            if progress.tunnelling:
                # A tunnel that ended before its TLS handshake keeps its place in httpcore2's pool.
                self._pools.drop(self._key, pool)
            self._pools.give_back(pool)

    async def _attempt(
        self,
        http: httpx2.AsyncHTTPTransport,
        call: _Call,
        progress: Progress,
        *,
        repeatable: bool,
    ) -> Reply:
        import httpx2

        try:
            try:
                return await call.run(http, progress)
            except httpx2.TransportError as error:
                if not repeatable or not is_dead_connection(error, progress):
                    raise
                progress.kept = False
                return await call.run(http, progress)
        # TLS alerts after the handshake come as they are; a name that IDNA forbids is no OSError.
        except (httpx2.RequestError, OSError, UnicodeError) as error:
            raise failure(error, progress, self._peer) from None

    def path_of(self, url: str) -> str:
        """The path, for `send`, of an address that the CA's answer named, absolute or relative.

        Raises BadAnswer where it leads to another origin or out of the base URL.
        """
        return path_below(self._base, url)


class Transports:
    """Every connection of this process to CAs: clients by key pair, bundle and proxy.

    Belongs to one event loop. `clock` is compared with the times of files, `monotonic` (seconds)
    tells for how long something was not used.
    """

    def __init__(
        self, *, clock: Clock | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.pools = Pools(clock=clock, monotonic=monotonic)

    def open(self, endpoint: Endpoint) -> Transport:
        """A transport for an endpoint; no file is read and nobody is called yet.

        Raises Misconfigured for a base URL, a proxy or a header that cannot be used.
        """
        return Transport(self, endpoint)

    async def close(self) -> None:
        """Close all connections; calls under way come to their end first."""
        await self.pools.close()


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, ready to be sent once or twice."""

    method: str
    url: str
    headers: list[tuple[bytes, bytes]]
    content: bytes | None
    timeout: dict[str, float]
    max_bytes: int
    shown: Redaction

    async def run(self, http: httpx2.AsyncHTTPTransport, progress: Progress) -> Reply:
        import httpx2

        try:
            request = httpx2.Request(
                self.method,
                self.url,
                headers=self.headers,
                content=self.content,
                extensions={"timeout": self.timeout, "trace": progress},
            )
        except httpx2.InvalidURL:
            raise BadAnswer("the address of the call, made from the CA's words, is none") from None
        response = await http.handle_async_request(request)
        try:
            headers = _by_name(response.headers.raw)
            self._refuse_declared(headers)
            body = await self._read(response, plain="content-encoding" not in headers)
        finally:
            await response.aclose()
        return Reply(response.status_code, headers, body, self.shown)

    def _refuse_declared(self, headers: Mapping[str, str]) -> None:
        # A HEAD is answered with the length that a GET would have.
        declared = headers.get("content-length", "")
        if self.method != "HEAD" and declared.isdecimal() and int(declared) > self.max_bytes:
            raise self._too_large()

    async def _read(self, response: httpx2.Response, *, plain: bool) -> bytes:
        parts: list[bytes] = []
        size = 0
        source: Any = aiter(response.stream) if plain else response.aiter_bytes()  # type: ignore[arg-type] # an asynchronous transport's answer
        async with aclosing(source) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                if size > self.max_bytes:
                    raise self._too_large()
                parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> BadAnswer:
        return BadAnswer(f"the CA's answer is larger than {self.max_bytes} bytes")


def _by_name(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers by lower-case name; raises Misconfigured, without the value."""
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OUR_HEADERS:
            raise Misconfigured("a header that the issuer's settings ask for cannot be sent")
        if not _HEADER_VALUE.fullmatch(value):
            raise Misconfigured(
                f"what is set for the header {name} holds a character that cannot be sent, or a "
                "space or line break at its end; enter it again"
            )
        checked[name.lower()] = value
    return checked


def _header_secrets(headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if _SECRET_HEADER.search(name):
            scheme_and_rest = (value, value.partition(" ")[2])
            yield from (part for part in scheme_and_rest if len(part) >= _SHORTEST_SECRET)


def _proxy(url: str | None) -> tuple[str | None, tuple[str, ...]]:
    """A proxy's host and port, and its password; raises Misconfigured without echoing the URL."""
    if url is None:
        return None, ()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    path_or_more = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or not host or path_or_more or not url.isascii():
        raise Misconfigured("the proxy's URL must be http://host:port or https://host:port")
    password = (unquote(parts.password), parts.password) if parts.password else ()
    return host if port is None else f"{host}:{port}", password
