"""What stands in front of every route: request id, body limit, API key, errors as problems.

Plain ASGI, one layer: this is on the way of every request. Hot routes are found here by their exact
address; the framework's own search takes longer than checking the caller's key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from starlette.requests import Request

from certctl.api import problems
from certctl.api.refusing import record_refusal
from certctl.domain import errors
from certctl.domain.randomness import random_bytes

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
        self._routes = routes
        self._hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = random_bytes(8).hex()
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["services"] = self._services
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
            method, path = scope["method"], scope["path"]
            hot = self._hot.get((method, path))
            handler, match = hot or (None, self._routes.find(method, path))
            if match is None or match.rule is None or match.rule.permission is not None:
                client = scope.get("client")
                state["actor"] = actor = await self._access.authenticate(
                    _bearer(headers), client[0] if client else None
                )
                if match is None:
                    await self._no_route(path, request_id)(scope, receive, reply)
                    return
                state["match"] = match
                await self._check(actor, match)
            limited = _limited(headers, receive)
            if handler is None:
                await self._app(scope, limited, reply)
            else:
                scope["app"] = self._app
                response = await handler(Request(scope, limited))
                await response(scope, limited, reply)
        except errors.CertctlError as error:
            if started:
                raise
            await record_refusal(scope, error)
            await problems.from_error(error, request_id)(scope, receive, reply)
        except Exception:
            log.exception("request failed", request_id=request_id, path=scope["path"])
            if not started:
                await problems.internal_error(request_id)(scope, receive, reply)
            elif not finished:
                raise  # the connection is closed: half an answer must not look like a whole one

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
