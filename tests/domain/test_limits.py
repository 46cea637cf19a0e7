"""Fair parts: of a queue's room, of an issuer's limits, of a minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from certctl.domain.limits import UNLIMITED, Bucket, next_slice, share

ISSUERS = ("iss-a", "iss-b", "iss-c", "iss-d")
PROCESSES = ("p", "q", "r", "s")


@st.composite
def crowds(draw: st.DrawFn) -> tuple[int, list[str], dict[str, int], dict[str, int]]:
    room = draw(st.integers(0, 64))
    waiting = draw(st.lists(st.sampled_from(ISSUERS), unique=True))
    running = draw(st.dictionaries(st.sampled_from(ISSUERS), st.integers(0, 40)))
    few = st.integers(0, 10) | st.just(UNLIMITED)
    return room, waiting, running, {which: draw(few) for which in waiting}


@given(crowds())
def test_a_share_is_within_the_room_and_within_the_issuers_limits(
    crowd: tuple[int, list[str], dict[str, int], dict[str, int]],
) -> None:
    room, waiting, running, most = crowd
    given_ = share(room, waiting, running=running, most=most)
    assert given_.keys() == set(waiting)
    assert sum(given_.values()) <= room
    assert all(0 <= part <= most[which] for which, part in given_.items())


@given(crowds())
def test_whoever_has_nothing_under_way_gets_one_while_there_is_room(
    crowd: tuple[int, list[str], dict[str, int], dict[str, int]],
) -> None:
    room, waiting, running, most = crowd
    given_ = share(room, waiting, running=running, most=most)
    for which in waiting:
        if given_[which] == 0 and most[which] and not running.get(which):
            assert sum(given_.values()) == room, "there was room"
            before = waiting[: waiting.index(which)]
            assert sum(given_[other] for other in before) == room, "who came later went first"


@given(crowds())
def test_room_is_left_only_where_everybody_has_what_it_may_have(
    crowd: tuple[int, list[str], dict[str, int], dict[str, int]],
) -> None:
    room, waiting, running, most = crowd
    given_ = share(room, waiting, running=running, most=most)
    left = room - sum(given_.values())
    for which in waiting:
        has = running.get(which, 0) + given_[which]
        assert not left or given_[which] == most[which] or has >= 3 * left


def test_thousands_of_one_issuer_leave_room_for_another() -> None:
    most = dict.fromkeys(ISSUERS, UNLIMITED)
    alone = share(32, ["iss-a"], running={}, most=most)
    assert alone == {"iss-a": 24}
    together = share(32, ISSUERS, running={}, most=most)
    assert sorted(together.values()) == [7, 7, 8, 8]
    # The first one's calls hang; so do a second one's; a third and a fourth still get through.
    second = share(8, ["iss-a", "iss-b"], running={"iss-a": 24}, most=most)
    assert second == {"iss-a": 0, "iss-b": 6}
    third = share(2, ISSUERS, running={"iss-a": 24, "iss-b": 6}, most=most)
    assert third == {"iss-a": 0, "iss-b": 0, "iss-c": 1, "iss-d": 1}


@dataclass
class Process:
    """What one process believes; a slice that is not live holds nothing."""

    held: int = 0
    usable: int = 0
    running: int = 0
    live: bool = False
    wants: bool = True


class Slices(RuleBasedStateMachine):
    """Processes that come, work, stand still, die, and divide one limit among themselves."""

    @initialize(limit=st.integers(0, 12))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.processes: dict[str, Process] = {}
        self.lowered = False

    def live(self) -> dict[str, int]:
        return {name: one.held for name, one in self.processes.items() if one.live}

    def renew(self, name: str) -> None:
        one = self.processes[name]
        others = {other: held for other, held in self.live().items() if other != name}
        part = next_slice(
            self.limit,
            owner=name,
            mine=one.held if one.live else 0,
            in_use=one.running,
            wanted=one.wants,
            others=others,
        )
        one.usable, one.held = part.usable, part.held
        one.live = one.wants or bool(one.running)

    @rule(name=st.sampled_from(PROCESSES))
    def someone_renews(self, name: str) -> None:
        self.processes.setdefault(name, Process())
        self.renew(name)

    @rule(name=st.sampled_from(PROCESSES), count=st.integers(1, 12))
    def someone_calls(self, name: str, count: int) -> None:
        one = self.processes.get(name)
        if one is not None and one.live:
            one.running += max(0, min(count, one.usable - one.running))

    @rule(name=st.sampled_from(PROCESSES), count=st.integers(1, 12))
    def calls_end(self, name: str, count: int) -> None:
        if name in self.processes:
            one = self.processes[name]
            one.running = max(0, one.running - count)

    @rule(name=st.sampled_from(PROCESSES), wants=st.booleans())
    def work_comes_or_goes(self, name: str, wants: bool) -> None:
        if name in self.processes:
            self.processes[name].wants = wants

    @rule(name=st.sampled_from(PROCESSES))
    def someone_dies(self, name: str) -> None:
        self.processes.pop(name, None)

    @rule(name=st.sampled_from(PROCESSES))
    def someone_stands_still_past_its_slice(self, name: str) -> None:
        """Its calls are over by then, or nobody could hold the limit."""
        if name in self.processes:
            self.processes[name].live = False
            self.processes[name].running = 0

    @rule(limit=st.integers(0, 12))
    def the_limit_is_changed(self, limit: int) -> None:
        self.lowered = self.lowered or limit < self.limit
        self.limit = limit

    @precondition(lambda self: self.processes)
    @rule()
    def all_have_work_and_renew(self) -> None:
        for one in self.processes.values():
            one.running, one.wants = 0, True
        # All are there after the first time; then who has too much comes down; then others go up.
        for _ in range(3):
            for name in self.processes:
                self.renew(name)
        self.lowered = False
        held = sorted(one.held for one in self.processes.values())
        assert sum(held) == self.limit, "all of it is used"
        assert held[-1] - held[0] <= 1, "nobody has less than a fair part"
        before = self.live()
        for name in self.processes:
            self.renew(name)
        assert self.live() == before, "and it stays so"

    @precondition(lambda self: self.processes)
    @rule(name=st.sampled_from(PROCESSES))
    def only_one_has_work(self, name: str) -> None:
        self.processes.setdefault(name, Process())
        for other, one in self.processes.items():
            one.running, one.wants = 0, other == name
        for _ in range(2):
            for other in self.processes:
                self.renew(other)
        self.lowered = False
        assert self.live() == {name: self.limit}, "who has no work gives up what it has"

    @invariant()
    def the_limit_holds(self) -> None:
        if not getattr(self, "processes", None) or self.lowered:
            return
        assert sum(self.live().values()) <= self.limit
        assert sum(one.running for one in self.processes.values() if one.live) <= self.limit
        for one in self.processes.values():
            if one.live:
                assert one.running <= one.held


Slices.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestSlices = Slices.TestCase


def test_a_busy_process_comes_down_to_its_part_as_its_calls_end() -> None:
    part = next_slice(10, owner="p", mine=10, in_use=8, wanted=True, others={"q": 0})
    assert (part.usable, part.held, part.fair) == (5, 8, 5)
    newcomer = next_slice(10, owner="q", mine=0, in_use=0, wanted=True, others={"p": 8})
    assert (newcomer.usable, newcomer.held, newcomer.fair) == (2, 2, 5)


def test_who_wants_no_more_keeps_what_its_calls_need() -> None:
    part = next_slice(10, owner="p", mine=8, in_use=2, wanted=False, others={"q": 2})
    assert (part.usable, part.held) == (2, 2)


def test_a_lowered_limit_is_kept_to_as_calls_end() -> None:
    part = next_slice(2, owner="p", mine=5, in_use=5, wanted=True, others={"q": 5})
    assert (part.usable, part.held) == (0, 5)


def test_what_cannot_be_divided_stays_where_it_is() -> None:
    """A rate that moves to and fro would never let anybody call."""
    assert next_slice(1, owner="q", mine=1, in_use=0, wanted=True, others={"p": 0}).held == 1
    assert next_slice(1, owner="p", mine=0, in_use=0, wanted=True, others={"q": 1}).held == 0


def most_in_a_minute(times: list[float]) -> int:
    most, window = 0, deque[float]()
    for time in times:
        window.append(time)
        while window[0] <= time - 60:
            window.popleft()
        most = max(most, len(window))
    return most


@given(
    rate=st.integers(1, 600),
    pauses=st.lists(st.floats(0.0, 90.0) | st.floats(0.0, 0.5), min_size=1, max_size=300),
)
def test_no_minute_sees_more_calls_than_the_rate(rate: int, pauses: list[float]) -> None:
    bucket = Bucket(rate, at=-1000.0)
    now, times = 0.0, []
    for pause in pauses:
        now += pause
        bucket.refill(now)
        for _ in range(bucket.whole):
            bucket.take()
            times.append(now)
    assert most_in_a_minute(times) <= rate


@given(rate=st.integers(1, 6000))
def test_who_waits_as_long_as_told_gets_nearly_the_rate(rate: int) -> None:
    bucket = Bucket(rate, at=-1000.0)
    now, taken = 0.0, 0
    while now < 120:
        bucket.refill(now)
        for _ in range(bucket.whole):
            bucket.take()
            taken += 1
        now += max(bucket.wait(), 0.1)  # nobody looks more often
    assert 0.95 * rate * 2 <= taken <= rate * 2 + 1  # the last may come as the time is up


@given(
    rates=st.lists(st.integers(0, 120), min_size=1, max_size=20),
    step=st.floats(0.1, 20.0),
)
def test_a_changing_rate_makes_no_tokens(rates: list[int], step: float) -> None:
    bucket = Bucket()
    bucket.set_rate(rates[0], 0.0)
    came, now = 0.0, 0.0
    taken = 0
    for before, rate in zip(rates, [*rates[1:], rates[-1]], strict=True):
        now += step
        came += before * step / 60
        bucket.set_rate(rate, now)
        bucket.refill(now)
        taken += bucket.whole
        for _ in range(bucket.whole):
            bucket.take()
        assert taken <= came + 1e-6


def test_no_rate_lets_nothing_in() -> None:
    bucket = Bucket()
    bucket.set_rate(0, 0.0)
    bucket.refill(1e6)
    assert bucket.whole == 0
    assert bucket.wait() == float("inf")


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = Bucket()
    bucket.set_rate(60, 5.0)
    for _ in range(100):
        bucket.refill(5.0)
    assert bucket.whole == 0
    bucket.refill(4.0)
    bucket.refill(6.0)
    assert bucket.whole == 1
