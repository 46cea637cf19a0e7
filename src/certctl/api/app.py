"""The REST application."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from certctl import __version__
from certctl.api import problems
from certctl.api.gateway import Gateway
from certctl.api.openapi import build_openapi
from certctl.api.routes import audit, certificates, health, issuers, orders, profiles
from certctl.domain.errors import CertctlError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from certctl.api.services import Services


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
    api = APIRouter(prefix="/api/v1")
    for module in (certificates, orders, issuers, profiles, audit):
        api.include_router(module.router)
    api.include_router(certificates.create_router)
    app.include_router(api)
    app.include_router(health.router)
    _serve_openapi(app)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(CertctlError, _on_error)
    return Gateway(app, services.access)


def _serve_openapi(app: FastAPI) -> None:
    """Serve the description, built on first demand and in a thread: it takes half a second."""
    document: asyncio.Task[bytes] | None = None

    async def openapi(_: Request) -> Response:
        nonlocal document
        if document is None:
            document = asyncio.create_task(asyncio.to_thread(build_openapi, app, __version__))
        return Response(await asyncio.shield(document), media_type="application/json")

    app.add_route("/api/v1/openapi.json", openapi, methods=["GET"], include_in_schema=False)


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
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problems.from_framework(error.status_code, _request_id(request), headers)


def _methods(request: Request) -> set[str]:
    """What an address takes: the framework names the methods of the first matching route only."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return methods
