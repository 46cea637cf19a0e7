"""Requests and answers of the stand-in, apart from the network."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    client_serial: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back, after `delay` seconds: all of it, half of the body, or a reset."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    reset: bool = False
    cut_off: bool = False


class Answered(Exception):
    """A request that ends here, with this answer."""

    def __init__(self, answer: Answer, message: str) -> None:
        super().__init__(message)
        self.answer = answer


class No(Answered):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        answer = json_answer(status, {"error": {"code": code, "message": message}})
        super().__init__(answer, message)


def json_answer(status: int, body: Mapping[str, Any]) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, json.dumps(body).encode(), {"content-type": "application/json"})
