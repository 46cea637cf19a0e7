"""A route for hot paths: validate the JSON, call, answer.

FastAPI's own handler solves dependencies, copies and re-validates for every request. This one
overrides `get_route_handler` only, so that the OpenAPI entry still comes from the signature.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_type_hints

from fastapi.params import Header
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from certctl.api.problems import validation_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.responses import Response


class DirectRoute(APIRoute):
    """Takes endpoints whose parameters are a Request, one body model and optional headers.

    The endpoint returns a finished `Response`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, prepared once: which parameter takes what."""
        endpoint = self.endpoint
        hints = get_type_hints(endpoint, include_extras=True)
        request_name = body_name = ""
        body_model: type[BaseModel] | None = None
        headers: dict[str, str] = {}
        for name in inspect.signature(endpoint).parameters:
            hint = hints[name]
            if hint is Request:
                request_name = name
            elif isinstance(hint, type) and issubclass(hint, BaseModel):
                body_name, body_model = name, hint
            elif any(isinstance(part, Header) for part in getattr(hint, "__metadata__", ())):
                headers[name] = name.replace("_", "-")
            else:
                raise TypeError(f"a direct route cannot fill the parameter {name}")
        if body_model is None or not request_name:
            raise TypeError("a direct route takes a Request and a body")
        validate = body_model.__pydantic_validator__.validate_json

        async def handle(request: Request) -> Response:
            try:
                body = validate(await request.body())
            except ValidationError as error:
                raise validation_error(
                    error.errors(include_input=False, include_url=False, include_context=False)
                ) from None
            arguments: dict[str, Any] = {
                name: request.headers.get(header) for name, header in headers.items()
            }
            arguments[request_name] = request
            arguments[body_name] = body
            response: Response = await endpoint(**arguments)
            return response

        return handle
