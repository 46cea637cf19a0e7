"""What relying parties fetch over plain HTTP: CRLs, OCSP answers, the CA's own certificates.

Plain ASGI, apart from the API: no key, no framework, nothing in front. The way of an OCSP answer
that is kept is a look into a dict and two messages that were made before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.connectors.contract import ExposesChain
from certctl.domain.clock import from_ms
from certctl.domain.errors import NotFound, Unavailable
from certctl.pki.ocsp import MAX_QUERY_BYTES, OcspError, error_response

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from certctl.domain.clock import Clock
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.crls import Crls
    from certctl.lifecycle.ocsp import Ocsp, OcspAnswer

log = structlog.get_logger(__name__)

PREFIX = "/.well-known/pki"
_OCSP = f"{PREFIX}/ocsp/"
_CRL = f"{PREFIX}/crl/"
_CA = f"{PREFIX}/ca/"

_SHARDS = frozenset("0123456789abcdef")
_READ_METHODS = frozenset({"GET", "HEAD"})
#: So long, in seconds, a cache may keep a CRL or an answer at most: a revocation is to be seen.
_LONGEST_AGE = 3600
#: A CA's certificate changes when its operator changes it.
_CA_AGE = 3600
#: An overdue CRL is asked for again after this many seconds.
_OVERDUE_AGE = 60
#: More digits than any length has that is looked at.
_LENGTH_DIGITS = 9

Headers = list[tuple[bytes, bytes]]


class StatusApp:
    """The application of one process."""

    def __init__(self, catalog: Catalog, crls: Crls, ocsp: Ocsp, clock: Clock) -> None:
        self._catalog = catalog
        self._crls = crls
        self._ocsp = ocsp
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        is_ocsp = path.startswith(_OCSP)
        try:
            if is_ocsp:
                response = await self._answer_ocsp(scope, path, receive)
            else:
                response = await self._answer(scope, path)
        except NotFound:
            response = _NOT_FOUND
        except _Gone:
            return
        except Exception:
            # Not the path: what is in it is the caller's.
            log.exception("status request failed", ocsp=is_ocsp)
            response = _OCSP_FAULT if is_ocsp else _FAULT
        await send(response.start)
        await send(response.body)

    async def _answer_ocsp(self, scope: Scope, path: str, receive: Receive) -> _Response:
        issuer_id, _, text = path[len(_OCSP) :].partition("/")
        method = scope["method"]
        query: bytes | str | None
        if text and method in _READ_METHODS:
            query = text
        elif method == "POST" and not text:
            query = await _read_body(scope, receive)
            if query is None:
                return _TOO_LONG
        else:
            return _method_not_allowed("GET, HEAD" if text else "POST")
        answer = self._ocsp.kept(issuer_id, query)
        if answer is None:
            answer = await self._ocsp.answer(issuer_id, query)
        prepared = answer.prepared
        if not isinstance(prepared, _Prepared):
            prepared = answer.prepared = _prepare(answer)
        if method == "POST":
            return prepared.post
        return prepared.unchanged if _has(scope, prepared.etag) else prepared.get

    async def _answer(self, scope: Scope, path: str) -> _Response:
        if path.startswith(_CRL):
            issuer_id, slash, shard = path[len(_CRL) :].partition("/")
            if slash and shard not in _SHARDS:
                return _NOT_FOUND
            give = self._crl
        elif path.startswith(_CA):
            issuer_id, give = path[len(_CA) :], self._ca
        else:
            return _NOT_FOUND
        if scope["method"] not in _READ_METHODS:
            self._catalog.issuer(issuer_id)
            return _method_not_allowed("GET, HEAD")
        try:
            return await give(issuer_id, scope)
        except Unavailable as error:
            return _plain(503, "not available now", [(b"retry-after", b"%d" % error.retry_after)])

    async def _crl(self, issuer_id: str, scope: Scope) -> _Response:
        crl = await self._crls.current(issuer_id)
        etag = crl.etag.encode()
        left = (crl.next_at - self._clock.now_ms()) // 1000
        age = min(left, _LONGEST_AGE) if left > 0 else _OVERDUE_AGE
        headers = [
            (b"etag", etag),
            (b"last-modified", _http_date(crl.this_update)),
            (b"expires", _http_date(crl.next_update)),
            (b"cache-control", b"public, max-age=%d" % age),
        ]
        if _has(scope, etag):
            return _response(304, headers)
        return _response(200, headers, b"application/pkix-crl", crl.der)

    async def _ca(self, issuer_id: str, scope: Scope) -> _Response:
        connector = self._catalog.issuer(issuer_id).connector
        if connector is None:
            raise Unavailable("issuer-not-ready", "this issuer's settings do not work")
        if not isinstance(connector, ExposesChain):
            return _NOT_FOUND
        der = connector.chain()[0].public_bytes(Encoding.DER)
        etag = _etag(der)
        headers = [(b"etag", etag), (b"cache-control", b"public, max-age=%d" % _CA_AGE)]
        if _has(scope, etag):
            return _response(304, headers)
        return _response(200, headers, b"application/pkix-cert", der)


class _Gone(Exception):
    """The client has left: nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class _Response:
    start: Message
    body: Message


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An OCSP answer as responses to a POST, to a GET, and to a GET of somebody who has it."""

    etag: bytes
    post: _Response
    get: _Response
    unchanged: _Response


def _response(
    status: int, headers: Headers, content_type: bytes | None = None, body: bytes = b""
) -> _Response:
    """A response; one without a content type has no body (304)."""
    if content_type is not None:
        headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ]
    return _Response(
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


def _plain(status: int, words: str, headers: Headers | None = None) -> _Response:
    return _response(
        status,
        [(b"cache-control", b"no-store"), *(headers or [])],
        b"text/plain; charset=utf-8",
        f"{words}\n".encode(),
    )


def _method_not_allowed(allowed: str) -> _Response:
    return _plain(405, "method not allowed", [(b"allow", allowed.encode())])


_OCSP_TYPE = b"application/ocsp-response"
_NO_STORE = (b"cache-control", b"no-store")
_NOT_FOUND = _plain(404, "not found")
_FAULT = _plain(500, "internal error")
_OCSP_FAULT = _response(200, [_NO_STORE], _OCSP_TYPE, error_response(OcspError.INTERNAL_ERROR))
# The rest of the body is not read, so nothing can follow it on the same connection.
_TOO_LONG = _response(
    200,
    [_NO_STORE, (b"connection", b"close")],
    _OCSP_TYPE,
    error_response(OcspError.MALFORMED_REQUEST),
)


def _prepare(answer: OcspAnswer) -> _Prepared:
    etag = _etag(answer.der)
    post = _response(200, [_NO_STORE], _OCSP_TYPE, answer.der)
    if not answer.cacheable:
        return _Prepared(etag, post, post, post)
    # RFC 5019 §6.2. An answer is handed out until half of its life is over, so that a cache that
    # keeps it for less than the other half never has one that is over.
    age = min(max((answer.next_update - answer.stale_at) // 1000 - 1, 0), _LONGEST_AGE)
    headers = [
        (b"etag", etag),
        (b"last-modified", _http_date(answer.this_update)),
        (b"expires", _http_date(answer.next_update)),
        (b"cache-control", b"max-age=%d, public, no-transform, must-revalidate" % age),
    ]
    get = _response(200, headers, _OCSP_TYPE, answer.der)
    return _Prepared(etag, post, get, _response(304, headers))


def _etag(body: bytes) -> bytes:
    return b'"%s"' % hashlib.sha256(body).hexdigest().encode()


def _http_date(milliseconds: int) -> bytes:
    return format_datetime(from_ms(milliseconds), usegmt=True).encode()


def _has(scope: Scope, etag: bytes) -> bool:
    """Whether the client says that it has this body (RFC 9110 §13.1.2)."""
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            known = [tag.strip().removeprefix(b"W/") for tag in value.split(b",")]
            if etag in known or b"*" in known:
                return True
    return False


async def _read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The body, None for one that is too long: what is announced is believed at once."""
    for name, value in scope["headers"]:
        if name == b"content-length" and _is_too_long(value):
            return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk: bytes = message.get("body", b"")
        body += chunk
        if len(body) > MAX_QUERY_BYTES:
            return None
        if not message.get("more_body", False):
            return body


def _is_too_long(length: bytes) -> bool:
    return length.isdigit() and (len(length) > _LENGTH_DIGITS or int(length) > MAX_QUERY_BYTES)
