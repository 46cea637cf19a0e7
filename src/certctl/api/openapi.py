"""The OpenAPI description: generated from the routes, completed with what all of them share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from certctl.api.problems import MEDIA_TYPE
from certctl.api.rules import RULES
from certctl.schemas.common import Problem

if TYPE_CHECKING:
    from fastapi import FastAPI

_EXAMPLE_CSR = (
    "-----BEGIN CERTIFICATE REQUEST-----\n"
    "MIHyMIGaAgEAMBoxGDAWBgNVBAMMD3d3dy5leGFtcGxlLm9yZzBZMBMGByqGSM49\n"
    "…\n"
    "-----END CERTIFICATE REQUEST-----\n"
)
EXAMPLE_REQUEST = {
    "issuer_id": "iss-local",
    "profile_id": "prof-tls-server",
    "csr": _EXAMPLE_CSR,
    "names": ["www.example.org", "10.0.0.1"],
    "validity_days": 30,
    "owner": "web team",
}
_EXAMPLE_PROBLEM = {
    "type": "urn:certctl:problem:validity-over-profile",
    "title": "The request cannot be carried out",
    "status": 422,
    "detail": "this profile allows at most 47 days",
    "field": "validity_days",
    "hint": "ask for fewer days, or leave validity_days out for the profile's default",
    "request_id": "6f1c9c0b5e1f4a77",
}
_ERRORS = {
    "400": "Not well-formed HTTP",
    "401": "No API key, or one that is not valid",
    "403": "The API key's role or scope does not allow it",
    "404": "No such object, or none within the API key's scope",
    "405": "The address does not take that method",
    "409": "The object's present state forbids it",
    "413": "The body is larger than 256 KiB",
    "422": "The request cannot be carried out: `field` and `hint` say what to mend",
    "429": "Too many failed logins from this address: `Retry-After` says when to try again",
    "500": "A fault of the server",
    "503": "Not now: nothing was stored, `Retry-After` says when to try again",
}


def build_openapi(app: FastAPI, version: str) -> bytes:
    """The document as JSON. Takes about half a second of processor time."""
    document: dict[str, Any] = get_openapi(
        title="certctl",
        version=version,
        summary="Issue TLS certificates and keep track of them",
        routes=app.routes,
    )
    schemas = document["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["securitySchemes"] = {
        "api_key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key: `Authorization: Bearer certctl_…`",
        }
    }
    document["security"] = [{"api_key": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            rule = RULES.get((method.upper(), path))
            _complete(operation, is_open=rule is not None and rule.permission is None)
    schemas["CertificateCreate"]["examples"] = [EXAMPLE_REQUEST]
    return json.dumps(document, ensure_ascii=False).encode()


def _complete(operation: dict[str, Any], *, is_open: bool) -> None:
    """Give an operation the answers that the gateway and the error mapping may send."""
    if is_open:
        operation["security"] = []
    for status, description in _ERRORS.items():
        if is_open and status in {"401", "429"}:
            continue
        operation["responses"][status] = {
            "description": description,
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": _EXAMPLE_PROBLEM,
                }
            },
        }
