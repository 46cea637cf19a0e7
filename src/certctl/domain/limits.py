"""How much may run at a time: fair parts of a queue's room, of an issuer's limits, of a minute.

Pure decisions; times are seconds of a clock that only goes forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Stands for "no limit" where a number is needed.
UNLIMITED = 2**31 - 1

#: So many times the room that it leaves may one issuer have: of 32 places, 24 for itself.
_CROWD = 3

_MINUTE = 60.0


def share(
    room: int,
    waiting: Sequence[str],
    *,
    running: Mapping[str, int],
    most: Mapping[str, int],
) -> dict[str, int]:
    """Parts of a queue's room for those with something due, first come first.

    `running` says how many each has under way already, `most` how many more its own limits allow.
    Whoever has nothing under way gets one while there is room. Nobody takes all: an issuer whose
    calls hang leaves room for the others', and a second one that hangs leaves some of that.
    """
    given = dict.fromkeys(waiting, 0)
    asking = list(given)
    while room and asking:
        for which in tuple(asking):
            busy = running.get(which, 0) + given[which]
            if not room or given[which] >= most[which] or (busy and busy >= _CROWD * room):
                asking.remove(which)  # for good: room only shrinks
                continue
            given[which] += 1
            room -= 1
    return given


@dataclass(frozen=True, slots=True)
class Slice:
    """A process's part of a limit. `usable` may be used at a time; `held` is kept from others.

    `held` is more than `usable` while calls that began under a larger part come to their end;
    `fair` is more than that while others still hold it.
    """

    usable: int
    held: int
    fair: int


def next_slice(
    limit: int, *, owner: str, mine: int, in_use: int, wanted: bool, others: Mapping[str, int]
) -> Slice:
    """What a process's part of a limit is from now on.

    `mine` is what it holds, `in_use` how much of that it cannot give back yet, `others` what each
    of the others holds. All parts together never exceed the limit, as long as one process at a time
    decides; each gets its fair part as the others come down to theirs. Where the limit cannot be
    divided, those who have more already keep one more: what moves is lost for a while. A process
    that does not want its part gives it up.
    """
    kept = min(mine, in_use)
    if not wanted:
        return Slice(kept, kept, kept)
    ranked = sorted([(-mine, owner), *((-held, other) for other, held in others.items())])
    whole, rest = divmod(limit, len(ranked))
    fair = whole + (ranked.index((-mine, owner)) < rest)
    free = max(limit - sum(others.values()), 0)
    usable = min(fair, free)
    return Slice(usable, max(usable, kept), fair)


@dataclass(slots=True)
class Bucket:
    """Tokens for calls: never more than `rate` of them in any minute.

    They come in evenly. What was not taken at once is still there later, up to a second's worth,
    and one at least.
    """

    rate: int = 0
    tokens: float = 0.0
    at: float = 0.0

    def refill(self, now: float) -> None:
        """Put in what has come since the last time."""
        self.tokens = min(self.tokens + max(now - self.at, 0.0) * self._per_second, self._most)
        self.at = max(self.at, now)

    def set_rate(self, rate: int, now: float) -> None:
        """Let them come in faster or slower from now on."""
        if rate != self.rate:
            self.refill(now)
            self.rate = rate

    @property
    def whole(self) -> int:
        """How many can be taken."""
        return int(self.tokens + 1e-9)  # sums of fractions come out a little short

    def take(self) -> None:
        """Take one that is there."""
        self.tokens -= 1

    def wait(self) -> float:
        """Seconds, from the last refill, until there is one; infinite where none will come."""
        if self.whole:
            return 0.0
        return (1 - self.tokens) / self._per_second if self.rate else float("inf")

    @property
    def _most(self) -> int:
        return max(1, self.rate // 60) if self.rate else 0

    @property
    def _per_second(self) -> float:
        # A full bucket and what comes in during a minute are the rate, together.
        return (self.rate - self._most + 1) / _MINUTE if self.rate else 0.0
