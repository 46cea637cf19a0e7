"""The REST application."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from certctl import __version__
from certctl.api import problems
from certctl.api.direct_route import DirectRoute
from certctl.api.gateway import Gateway
from certctl.api.openapi import build_openapi
from certctl.api.routes import (
    audit,
    certificates,
    health,
    issuers,
    orders,
    profiles,
    revocations,
    versions,
)
from certctl.domain.errors import CertctlError

if TYPE_CHECKING:
    import re

    from starlette.types import ASGIApp

    from certctl.api.services import Services


PREFIX = "/api/v1"
_ROUTERS = (
    certificates.router,
    certificates.create_router,
    versions.router,
    revocations.router,
    orders.router,
    issuers.router,
    profiles.router,
    audit.router,
)
_OPENAPI_PATH = f"{PREFIX}/openapi.json"


def create_app(services: Services) -> ASGIApp:
    """The application for one process, behind its gateway."""
    app = FastAPI(
        title="certctl",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    api = APIRouter(prefix=PREFIX)
    for router in _ROUTERS:
        api.include_router(router)
    app.include_router(api)
    app.include_router(health.router)
    _serve_openapi(app)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(CertctlError, _on_error)
    app.add_exception_handler(Exception, _on_fault)
    hot = {
        (method, PREFIX + route.path): route.get_route_handler()
        for route in certificates.create_router.routes
        if isinstance(route, DirectRoute)
        for method in route.methods or ()
    }
    return Gateway(app, services.access, hot)


def _serve_openapi(app: FastAPI) -> None:
    """Serve the description, built on first demand and in a thread: it takes half a second."""
    document: asyncio.Task[bytes] | None = None

    async def openapi(_: Request) -> Response:
        nonlocal document
        if document is None:
            document = asyncio.create_task(asyncio.to_thread(build_openapi, app, __version__))
        return Response(await asyncio.shield(document), media_type="application/json")

    app.add_route(_OPENAPI_PATH, openapi, methods=["GET"], include_in_schema=False)


def _request_id(request: Request) -> str | None:
    found: str | None = request.scope["state"].get("request_id")
    return found


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, CertctlError):
        raise error
    return problems.from_error(error, _request_id(request))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return problems.from_error(problems.validation_error(error.errors()), _request_id(request))


async def _on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = {}
    if error.status_code == 405:  # noqa: PLR2004 - RFC 9110 §15.5.6
        headers["Allow"] = ", ".join(sorted(_allowed(request)))
    return problems.from_framework(error.status_code, _request_id(request), headers)


async def _on_fault(request: Request, _error: Exception) -> Response:
    return problems.internal_error(_request_id(request))  # the gateway logs it


def _allowed(request: Request) -> set[str]:
    """What an address takes: the framework names the methods of the first matching route only."""
    path = request.scope["path"]
    return {method for pattern, methods in _patterns() if pattern.match(path) for method in methods}


@cache
def _patterns() -> list[tuple[re.Pattern[str], set[str]]]:
    routes = [
        (prefix + route.path, route.methods or set())
        for prefix, routers in ((PREFIX, _ROUTERS), ("", (health.router,)))
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    routes.append((_OPENAPI_PATH, {"GET", "HEAD"}))
    return [(compile_path(path)[0], methods) for path, methods in routes]
