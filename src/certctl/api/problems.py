"""Errors as problem documents (RFC 9457): one mapping, for our errors and the framework's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from certctl.domain import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:certctl:problem:"

_STATUS: tuple[tuple[type[errors.CertctlError], int, str], ...] = (
    (errors.InvalidInput, 422, "The request cannot be carried out"),
    (errors.Unauthenticated, 401, "Who is calling is not known"),
    (errors.Forbidden, 403, "Not allowed"),
    (errors.NotFound, 404, "Not found"),
    (errors.Conflict, 409, "Not possible in the present state"),
    (errors.TooManyAttempts, 429, "Too many failed logins"),
    (errors.TooLarge, 413, "The body is too large"),
    (errors.Refused, 422, "Refused by the certificate authority"),
    (errors.Unavailable, 503, "Not possible now"),
    (errors.Misconfigured, 503, "This installation needs its operator"),
)

_FRAMEWORK: dict[int, tuple[str, str, str]] = {
    400: ("bad-request", "Bad request", "the request is not well-formed HTTP or JSON"),
    404: ("route-not-found", "Not found", "there is nothing at this address"),
    405: ("method-not-allowed", "Method not allowed", "this address does not take that method"),
}


def problem_response(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    field: str | None = None,
    hint: str | None = None,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One problem document."""
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail,
        "field": field,
        "hint": hint,
        "request_id": request_id,
    }
    return Response(json.dumps(body), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def from_error(error: errors.CertctlError, request_id: str | None) -> Response:
    """The problem document of one of our own errors."""
    status, title = next(
        ((status, title) for kind, status, title in _STATUS if isinstance(error, kind)),
        (500, "Internal error"),
    )
    headers = {}
    if isinstance(error, errors.TryLater):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="certctl"'
    return problem_response(
        status,
        error.code,
        title,
        error.detail,
        field=error.field,
        hint=error.hint,
        request_id=request_id,
        headers=headers,
    )


def from_framework(
    status: int, request_id: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    """The problem document in place of one of the framework's own answers, which echo input."""
    code, title, detail = _FRAMEWORK.get(status, ("http-error", "Error", "the request failed"))
    return problem_response(status, code, title, detail, request_id=request_id, headers=headers)


def internal_error(request_id: str | None) -> Response:
    """The answer to a fault of ours: an id to look for in the log, and nothing else."""
    return problem_response(
        500,
        "internal-error",
        "Internal error",
        "something went wrong in the server",
        hint="look for the request_id in the server's log",
        request_id=request_id,
    )


#: Pydantic's kinds of error whose own words could repeat what was sent.
_OWN_WORDS = {
    "json_invalid": "the body is not valid JSON",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "missing": "is missing",
}


def validation_error(faults: Sequence[Mapping[str, Any]]) -> errors.InvalidInput:
    """Our error for what pydantic found: the first fault's place and words, never its input."""
    fault = faults[0]
    place = [str(part) for part in fault["loc"] if part not in {"body", "query", "path", "header"}]
    kind = fault["type"]
    if kind == "json_invalid":
        place = []
    if kind == "extra_forbidden":
        # The last part of the place is what was sent: a name that we do not know.
        place = place[:-1]
        words = "there is a field that is not known here"
    elif kind == "value_error":
        words = str(fault["msg"]).removeprefix("Value error, ")
    else:
        words = _OWN_WORDS.get(kind, str(fault["msg"]))
    where = ".".join(place) or None
    return errors.InvalidInput(
        "invalid-body" if "query" not in fault["loc"] else "invalid-parameter",
        f"{where}: {words}" if where else words,
        field=where,
        hint="the OpenAPI document at /api/v1/openapi.json lists every field and its type",
    )
