"""A clock that tests turn."""

from __future__ import annotations

from dataclasses import dataclass

#: 2026-01-01T00:00:00Z
START_MS = 1_767_225_600_000


@dataclass
class TurnableClock:
    """Stands still until it is turned."""

    ms: int = START_MS

    def now_ms(self) -> int:
        """The time it shows."""
        return self.ms

    def turn(self, *, seconds: float = 0, days: float = 0) -> None:
        """Turn it forward."""
        self.ms += int(seconds * 1000 + days * 86_400_000)
