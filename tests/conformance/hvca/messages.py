"""How Atlas words its answers: JSON with a charset, and problems that are not those of RFC 7807."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.conformance.stand_in.messages import Answer, Answered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conformance.stand_in.messages import Request

JSON = "application/json;charset=utf-8"
PROBLEM = "application/problem+json"

# What Atlas demands of a body, and the space that some clients write.
_CONTENT_TYPE = re.compile(r"application/json; ?charset=utf-8")


class Problem(Answered):
    """A request that is answered with a problem: a description, and the fields that are wrong."""

    def __init__(
        self, status: int, description: str, errors: Mapping[str, str] | None = None
    ) -> None:
        body: dict[str, Any] = {"description": description}
        if errors:
            body["errors"] = dict(errors)
        answer = Answer(status, json.dumps(body).encode(), {"content-type": PROBLEM})
        super().__init__(answer, description)


def success(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, json.dumps(body).encode(), {"content-type": JSON, **(headers or {})})


def empty(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer without a body."""
    return Answer(status, b"", headers or {})


def with_header(answer: Answer, name: str, value: str) -> Answer:
    """The same answer with one more header."""
    return replace(answer, headers={**answer.headers, name: value})


def read_body(request: Request) -> dict[str, Any]:
    """The JSON object that a request carries.

    Raises Problem: 411 without Content-Length, 415 for another Content-Type than JSON with its
    charset, 400 for what is no JSON object.
    """
    if "content-length" not in request.headers:
        raise Problem(411, "Length Required")
    if not _CONTENT_TYPE.fullmatch(request.headers.get("content-type", "")):
        raise Problem(415, "Bad Content-Type")
    return parse_object(request.body)


def parse_object(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Problem (400) for anything else."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Problem(400, "The body is not a JSON object")
    return found
