"""What the stand-in is told to do wrong: the next N requests of a kind, or some by chance."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from tests.conformance.mischief import Mischief, Operation


@dataclass(slots=True)
class Misbehaviour:
    """One instruction. `times` None: until told otherwise; `on` None: whatever is asked."""

    mischief: Mischief
    on: Operation | None
    times: int | None
    #: How slow SLOW is, and what Retry-After says.
    seconds: float

    def fits(self, operation: Operation) -> bool:
        """Whether it is meant for that request."""
        return self.times != 0 and self.on in {None, operation}


@dataclass(frozen=True, slots=True)
class Chaos:
    """A share of all requests that goes wrong, and in which ways."""

    share: float
    chance: random.Random
    ways: Mapping[Operation, tuple[Mischief, ...]]
    seconds: float


class Script:
    """Instructions in the order in which they were given; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instructions: list[Misbehaviour] = []
        self._chaos: Chaos | None = None

    def add(self, instruction: Misbehaviour) -> None:
        """Add one."""
        with self._lock:
            self._instructions.append(instruction)

    def set_chaos(self, chaos: Chaos | None) -> None:
        """Let chance decide about requests that no instruction is meant for."""
        with self._lock:
            self._chaos = chaos

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._instructions.clear()
            self._chaos = None

    def next_for(self, operation: Operation) -> Misbehaviour | None:
        """What to do wrong about a request, used up by asking."""
        with self._lock:
            for instruction in self._instructions:
                if instruction.fits(operation):
                    if instruction.times is not None:
                        instruction.times -= 1
                    return instruction
            chaos = self._chaos
            if chaos is None or chaos.chance.random() >= chaos.share:
                return None
            ways = chaos.ways.get(operation, ())
            if not ways:
                return None
            return Misbehaviour(chaos.chance.choice(ways), operation, 1, chaos.seconds)
