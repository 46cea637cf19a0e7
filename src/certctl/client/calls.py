"""What every call of the REST API has in common: sending, repeating, waiting."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import quote

from certctl.client.connection import ANSWER_SECONDS, Connection
from certctl.client.errors import ApiError, ClientError, ConnectionFailed
from certctl.client.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2
    from pydantic import BaseModel

    from certctl.client.config import ServerAccess

T = TypeVar("T")

_FIRST_POLL = 0.5
_SLOWEST_POLL = 5.0
_RETRIED = frozenset({502, 503, 504})
_NOT_RETRIED = frozenset({"issuer-not-ready"})  # only an operator changes that
_chance = random.SystemRandom()


class Calls:
    """One server, one API key. The methods that callers use are in the classes built on this."""

    def __init__(
        self,
        access: ServerAccess,
        *,
        retry: RetryPolicy | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = Connection(access, transport=transport)
        self.url = access.url
        self.has_key = access.api_key is not None
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def _get(self, path: str, **params: str | int | None) -> httpx2.Response:
        return self._connection.send("GET", path, params=params)

    def _post(
        self,
        path: str,
        body: BaseModel | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        answer_within: float = ANSWER_SECONDS,
        repeatable: bool = True,
    ) -> httpx2.Response:
        """Send, and send again where the answer was lost or the server is away for a moment.

        What is not `repeatable`, because doing it twice is more than doing it once, is sent again
        only where it certainly was not done.
        """
        failures = 0
        uncertain = False
        while True:
            try:
                return self._connection.send(
                    "POST", path, body=body, headers=headers, answer_within=answer_within
                )
            except ClientError as error:
                failures += 1
                # What a lost answer may have done, no later refusal undoes.
                uncertain = error.uncertain = error.uncertain or uncertain
                if not (may_pass(error) and (repeatable or not uncertain)):
                    raise
                self._pause_or_raise(error, failures)

    def _pause_or_raise(self, error: ClientError, failures: int) -> None:
        """Wait before the next try; raise the error where there have been enough."""
        retry_after = error.retry_after if isinstance(error, ApiError) else None
        pause = self._retry.delay(failures, _chance.random(), retry_after)
        if pause is None:
            raise error
        self._sleep(pause)

    def _watch(
        self,
        ask: Callable[[], T],
        is_settled: Callable[[T], bool],
        patience: float,
        *,
        on_poll: Callable[[T], None] | None = None,
        progress: Callable[[T], object] = lambda _: None,
    ) -> T:
        """Ask until the answer is settled, or until `progress` was the same for `patience` seconds.

        A server that is away for a moment does not end the waiting; one that was never reached
        raises the last error.
        """
        end = self._clock() + patience
        pause = _FIRST_POLL
        answer: T | None = None
        while True:
            try:
                latest = ask()
            except ClientError as error:
                if not may_pass(error) or (answer is None and self._clock() >= end):
                    raise
            else:
                if on_poll is not None:
                    on_poll(latest)
                if is_settled(latest):
                    return latest
                if answer is not None and progress(latest) != progress(answer):
                    end = self._clock() + patience
                    pause = _FIRST_POLL
                answer = latest
            left = end - self._clock()
            if left <= 0 and answer is not None:
                return answer
            self._sleep(max(0.0, min(pause * (0.8 + 0.4 * _chance.random()), left)))
            pause = min(pause * 2, _SLOWEST_POLL)


def at(noun: str, object_id: str, *parts: str) -> str:
    """The address of an object, and what is below it."""
    return "/".join(["/api/v1", noun, *(quote(part, safe="") for part in (object_id, *parts))])


def may_pass(error: ClientError) -> bool:
    """Whether trying again may help."""
    match error:
        case ApiError():
            return error.status in _RETRIED and error.code not in _NOT_RETRIED
        case ConnectionFailed():
            return error.passing
        case _:
            return False
