"""Time comes from one place, so that tests can turn it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The current time. One is made by the composition root and passed to whoever needs it."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch: the unit of every stored time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000


def from_ms(milliseconds: int) -> datetime:
    """Turn a stored time into an aware UTC datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """Turn an aware datetime into a stored time."""
    return int(moment.timestamp() * 1000)
