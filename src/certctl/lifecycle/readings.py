"""What is read from the database for `/metrics`, kept for a while."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.domain.clock import Clock
    from certctl.storage.database import Connection, Database

T = TypeVar("T")

#: How old what was read may be, in milliseconds: many scrapers cost as much as one. Where reading
#: takes long (half a second with 100,000 open orders on PostgreSQL), so many times as long as it
#: took, so that it costs 2 % of a core at most.
FRESH_MS = 5000
_FRESH_TIMES = 50


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    """What was read at `at_ms`, and for how long it is good."""

    at_ms: int
    fresh_ms: float
    value: T


class Reading(Generic[T]):
    """Reads with `load`, which gets the time in milliseconds, and keeps what came of it.

    `monotonic` (seconds) tells how long reading took.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        load: Callable[[Connection, int], T],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._clock = clock
        self._load = load
        self._monotonic = monotonic
        self._kept: _Read[T] | None = None
        self._lock = asyncio.Lock()

    async def __call__(self) -> T:
        """What was read, now or a while ago. Raises Unavailable without the database."""
        async with self._lock:
            now = self._clock.now_ms()
            kept = self._kept
            if kept is None or abs(now - kept.at_ms) >= kept.fresh_ms:
                kept = self._kept = await self._database.read(partial(self._read, now))
            return kept.value

    def _read(self, now_ms: int, connection: Connection) -> _Read[T]:
        begun = self._monotonic()
        value = self._load(connection, now_ms)
        took_ms = (self._monotonic() - begun) * 1000
        return _Read(now_ms, max(FRESH_MS, _FRESH_TIMES * took_ms), value)
