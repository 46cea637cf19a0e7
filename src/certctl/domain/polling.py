"""When a slow certificate authority is asked again: a pure schedule, in seconds."""

from __future__ import annotations

from dataclasses import dataclass

_STEPS = (5.0, 15.0, 45.0, 120.0)
_STEADY = 300.0
_PARKED = 3600.0
_LONGEST_RETRY_AFTER = 86_400.0


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How often a pending order is asked for.

    A burst of polls lasts `max_wait` seconds; after it the order is parked and asked hourly until
    it is `order_max_age` seconds old. `scale` shortens every wait (tests run at a tenth).
    """

    max_wait: float = 600.0
    order_max_age: float = 30 * 86_400.0
    scale: float = 1.0

    def delay(
        self, attempt: int, waited: float, jitter: float, retry_after: float | None = None
    ) -> float:
        """Seconds until the next poll.

        `attempt` counts polls already made (0 for the first), `waited` is the order's age in
        seconds, `jitter` a number in [0, 1) that moves the wait by up to 20 % either way. A longer
        `retry_after` from the CA wins, clamped to a day.
        """
        if waited >= self.max_wait * self.scale:
            step = _PARKED
        elif attempt < len(_STEPS):
            step = _STEPS[attempt]
        else:
            step = _STEADY
        wait = step * (0.8 + 0.4 * jitter) * self.scale
        if retry_after is not None:
            wait = max(wait, min(retry_after, _LONGEST_RETRY_AFTER))
        return wait

    def is_too_old(self, age: float) -> bool:
        """Whether an order that was accepted `age` seconds ago is given up."""
        return age >= self.order_max_age
