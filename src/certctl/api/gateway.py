"""What stands in front of every route: request id, body limit, API key, errors as problems, and
behind it: a line in the log, and a count.

Plain ASGI, one layer: this is on the way of every request. Hot routes are found here by their exact
address; the framework's own search takes longer than checking the caller's key.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog
from starlette.requests import Request

from certctl.api import problems
from certctl.api.refusing import record_refusal
from certctl.domain import errors
from certctl.domain.request_ids import choose_request_id, current_request_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from certctl.api.route_table import Match, RouteTable
    from certctl.api.services import Services
    from certctl.lifecycle.access import Actor

    Handler = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 256 * 1024

_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


#: What requests are counted under that no route is there for. Their methods are the client's words
#: too, and counted as they are where they are those of HTTP (RFC 9110 §9.3, RFC 5789).
UNKNOWN_ROUTE = "unknown"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


class Gateway:
    """Wraps the application; nothing of a route runs before its rule was held against the caller.

    Puts `actor`, `request_id`, `services` and `match` into the scope's state.
    """

    def __init__(
        self,
        app: ASGIApp,
        services: Services,
        routes: RouteTable,
        hot: Mapping[tuple[str, str], tuple[Handler, Match]],
    ) -> None:
        self._app = app
        self._services = services
        self._access = services.use_cases.access
        self._permissions = services.use_cases.permissions
        self._metrics = services.use_cases.metrics
        self._routes = routes
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = choose_request_id(headers.get(b"x-request-id"))
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["services"] = self._services
        reply = _Reply(send, request_id)
        context = current_request_id.set(request_id)
        try:
            await self._answer(scope, headers, receive, reply)
        finally:
            self._note(scope, reply.status, time.perf_counter() - begun)
            current_request_id.reset(context)

    async def _answer(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, reply: _Reply
    ) -> None:
        state = scope["state"]
        request_id = state["request_id"]
        try:
            method, path = scope["method"], scope["path"]
            hot = self._hot.get((method, path))
            handler, match = hot or (None, self._routes.find(method, path))
            state["match"] = match
            if match is None or match.rule is None or match.rule.permission is not None:
                client = scope.get("client")
                state["actor"] = actor = await self._access.authenticate(
                    _bearer(headers), client[0] if client else None
                )
                if match is None:
                    await self._no_route(path, request_id)(scope, receive, reply)
                    return
                await self._check(actor, match)
            limited = _limited(headers, receive)
            if handler is None:
                await self._app(scope, limited, reply)
            else:
                scope["app"] = self._app
                response = await handler(Request(scope, limited))
                await response(scope, limited, reply)
        except errors.CertctlError as error:
            if reply.status is not None:
                raise
            await record_refusal(scope, error)
            await problems.from_error(error, request_id)(scope, receive, reply)
        except Exception:
            log.exception("request failed", route=_route(state))
            if reply.status is None:
                await problems.internal_error(request_id)(scope, receive, reply)
            elif not reply.finished:
                raise  # the connection is closed: half an answer must not look like a whole one

    def _note(self, scope: Scope, status: int | None, seconds: float) -> None:
        """Count and log an answer; one without a status was cut off before it began.

        Names of routes, never what was sent: a path or a query may hold anything, a secret too.
        """
        state, method = scope["state"], scope["method"]
        route = _route(state)
        if route is None and method not in _METHODS:
            method = "other"
        if status is not None:
            self._metrics.request(method, route or UNKNOWN_ROUTE, status, seconds)
        actor: Actor | None = state.get("actor")
        log.info(
            "request",
            method=method,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 2),
            key=None if actor is None else actor.id,
        )

    async def _check(self, actor: Actor, match: Match) -> None:
        """Raise unless the caller may do what the route does, to what the path names."""
        rule = match.rule
        if rule is None or rule.permission is None:
            raise errors.Forbidden(
                "route-without-rule",
                "nobody may call this address: it has no rule",
                hint="this is a fault of certctl: please report it",
            )
        self._permissions.check(actor, rule.permission)
        if actor.scope is not None:
            await self._permissions.check_objects(actor, match.named())

    def _no_route(self, path: str, request_id: str) -> Response:
        allowed = self._routes.allowed(path)
        if not allowed:
            return problems.from_framework(404, request_id)
        headers = {"Allow": ", ".join(sorted(allowed))}  # RFC 9110 §15.5.6
        return problems.from_framework(405, request_id, headers)


class _Reply:
    """Sends an answer on with its headers, and knows how far it has come."""

    __slots__ = ("_headers", "_send", "finished", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._headers = (*_HEADERS, (b"x-request-id", request_id.encode()))
        self.status: int | None = None
        self.finished = False

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] != "http.response.start":
            self.finished = not message.get("more_body", False)
        else:
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._headers]
        await self._send(message)


def _route(state: Mapping[str, Any]) -> str | None:
    match: Match | None = state.get("match")
    return None if match is None else match.template


def _bearer(headers: dict[bytes, bytes]) -> str | None:
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key else None


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
