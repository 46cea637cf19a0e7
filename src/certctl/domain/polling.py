"""When a slow certificate authority is asked again: a pure schedule, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

#: Waits between the first attempts, then the one of every later attempt, then the one of an order
#: that is parked.
STEPS = (5.0, 15.0, 45.0, 120.0)
STEADY = 300.0
PARKED = 3600.0
#: A wait may be this part of itself shorter or longer.
JITTER = 0.2
LONGEST_RETRY_AFTER = 86_400.0

# A poll is made at the earliest when each wait before it was as short as it can be.
_EARLIEST = tuple(wait * (1 - JITTER) for wait in accumulate(STEPS))


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How often a pending order is asked for.

    A burst of polls lasts `max_wait` seconds; after it the order is parked and asked hourly until
    it is `order_max_age` seconds old. `scale` shortens every wait but that last one (tests run at a
    tenth).
    """

    max_wait: float = 600.0
    order_max_age: float = 30 * 86_400.0
    scale: float = 1.0

    @property
    def burst(self) -> float:
        """How long a burst lasts."""
        return self.max_wait * self.scale

    def delay(
        self, attempt: int, waited: float, jitter: float, retry_after: float | None = None
    ) -> float:
        """Seconds until the next attempt.

        `attempt` counts attempts already made (0 for the first), `waited` is the order's age in
        seconds, `jitter` a number in [0, 1) that moves the wait by up to 20 % either way. A longer
        `retry_after` from the CA wins, clamped to a day.
        """
        if waited >= self.burst:
            step = PARKED
        elif attempt < len(STEPS):
            step = STEPS[attempt]
        else:
            step = STEADY
        wait = step * (1 - JITTER + 2 * JITTER * jitter) * self.scale
        if retry_after is not None:
            wait = max(wait, min(retry_after, LONGEST_RETRY_AFTER))
        return wait

    def next_poll(self, age: float, jitter: float, retry_after: float | None = None) -> float:
        """Seconds until an order that the CA accepted `age` seconds ago is asked for again.

        The age tells how many polls there were, so that neither what went before the CA's yes nor
        an outage counts. An order is asked for at the end of its greatest age, and not later.
        """
        polls = sum(1 for earliest in _EARLIEST if age >= earliest * self.scale)
        wait = self.delay(polls, age, jitter, retry_after)
        return min(wait, max(self.order_max_age - age, 0.0))

    def is_too_old(self, age: float) -> bool:
        """Whether an order that was accepted `age` seconds ago is given up."""
        return age >= self.order_max_age
