"""A server that answers by a list, without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2

from certctl.client import Client, ServerAccess
from tests.cli.fake_server import KEY, problem

if TYPE_CHECKING:
    from collections.abc import Callable

#: How an answer can be lost.
LOST = [
    httpx2.ConnectError("refused"),
    httpx2.ConnectTimeout("slow"),
    httpx2.ReadTimeout("silent"),
    httpx2.ReadError("reset"),
    httpx2.RemoteProtocolError("closed"),
]


def answer(status: int, body: Any, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, json=body, headers=named)


def refusal(status: int, code: str, **headers: str) -> httpx2.Response:
    return answer(status, problem(status, code).body, **headers)


class Script:
    """A transport that answers by a list; what is an error is raised. Time passes by sleeping."""

    def __init__(self, *steps: httpx2.Response | Exception | Callable[[], httpx2.Response]) -> None:
        self.steps = list(steps)
        self.requests: list[httpx2.Request] = []
        self.slept: list[float] = []
        self.now = 1000.0

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, httpx2.Response) else step()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def client(self) -> Client:
        return Client(
            ServerAccess("https://ca.example.org", KEY),
            transport=httpx2.MockTransport(self.handle),
            sleep=self.sleep,
            clock=lambda: self.now,
        )
