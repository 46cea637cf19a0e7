"""The REST application."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from certctl import __version__
from certctl.api import problems
from certctl.api.direct_route import DirectRoute
from certctl.api.gateway import Gateway
from certctl.api.openapi import build_openapi
from certctl.api.refusing import record_refusal
from certctl.api.route_table import Match, RouteTable
from certctl.api.routes import (
    audit,
    certificates,
    downloads,
    health,
    imports,
    issuers,
    keys,
    metrics,
    orders,
    profiles,
    records,
    revocations,
    secrets,
    versions,
)
from certctl.api.rules import PREFIX, RULES
from certctl.domain.errors import CertctlError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from certctl.api.gateway import Handler
    from certctl.api.services import Services


_ROUTERS = (
    certificates.router,
    certificates.create_router,
    imports.router,
    records.router,
    downloads.router,
    versions.router,
    revocations.router,
    orders.router,
    issuers.router,
    profiles.router,
    keys.router,
    audit.router,
    secrets.router,
)
_OPENAPI_PATH = f"{PREFIX}/openapi.json"


def create_app(services: Services) -> ASGIApp:
    """The application for one process, behind its gateway."""
    return Gateway(_application(), services, route_table(), _hot_handlers())


@cache
def _application() -> FastAPI:
    """The routes, which are the same whoever serves: a request brings its services with it."""
    app = FastAPI(
        title="certctl",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for router in _ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.add_route(_OPENAPI_PATH, _serve_openapi, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(CertctlError, _on_error)
    app.add_exception_handler(Exception, _on_fault)
    return app


@cache
def route_table() -> RouteTable:
    """Every route of the application, with its rule."""
    routes = [
        (prefix + route.path, route.methods or set())
        for prefix, routers in ((PREFIX, _ROUTERS), ("", (health.router, metrics.router)))
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    return RouteTable([*routes, (_OPENAPI_PATH, {"GET"})], RULES)


@cache
def _hot_handlers() -> dict[tuple[str, str], tuple[Handler, Match]]:
    return {
        (method, address): (
            route.get_route_handler(),
            Match(method, address, RULES.get((method, address)), {}),
        )
        for route in certificates.create_router.routes
        if isinstance(route, DirectRoute)
        for address in (PREFIX + route.path,)
        for method in route.methods or ()
    }


@cache
def _openapi() -> bytes:
    return build_openapi(_application(), __version__)


async def _serve_openapi(_: Request) -> Response:
    """Serve the description, built on first demand and in a thread: it takes half a second."""
    return Response(await asyncio.to_thread(_openapi), media_type="application/json")


def _request_id(request: Request) -> str | None:
    found: str | None = request.scope["state"].get("request_id")
    return found


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, CertctlError):
        raise error
    await record_refusal(request.scope, error)
    return problems.from_error(error, _request_id(request))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return problems.from_error(problems.validation_error(error.errors()), _request_id(request))


async def _on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return problems.from_framework(error.status_code, _request_id(request))


async def _on_fault(request: Request, _error: Exception) -> Response:
    return problems.internal_error(_request_id(request))  # the gateway logs it
