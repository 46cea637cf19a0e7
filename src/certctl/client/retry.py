"""When a request that is safe to repeat is repeated: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `attempts` tries, with waits in seconds that double from `first` up to `longest`."""

    attempts: int = 4
    first: float = 0.25
    longest: float = 4.0
    longest_retry_after: float = 20.0

    def delay(self, failures: int, jitter: float, retry_after: float | None = None) -> float | None:
        """Seconds to wait after so many failures; None to give up.

        `jitter` in [0, 1) spreads clients that failed together. A longer `retry_after` wins; one
        longer than anybody waits at a terminal ends the tries.
        """
        if failures >= self.attempts:
            return None
        wait = min(self.first * 2.0 ** (failures - 1), self.longest) * (0.5 + jitter)
        if retry_after is None:
            return wait
        return max(wait, retry_after) if retry_after <= self.longest_retry_after else None


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 §10.2.3), None where it is absent."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
