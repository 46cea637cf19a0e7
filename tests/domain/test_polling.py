"""The schedule of polls: pure, so properties rather than examples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.polling import PollSchedule

JITTER = st.floats(0, 1, exclude_max=True)
WAITED = st.floats(0, 1e8)
RETRY_AFTER = st.none() | st.floats(0, 1e9)


@given(attempt=st.integers(0, 10_000), waited=WAITED, jitter=JITTER, retry_after=RETRY_AFTER)
def test_waits_are_bounded(
    attempt: int, waited: float, jitter: float, retry_after: float | None
) -> None:
    wait = PollSchedule().delay(attempt, waited, jitter, retry_after)
    assert 4 <= wait <= 86_400
    if retry_after is not None:
        assert wait >= min(retry_after, 86_400)


def test_the_schedule_in_its_middle() -> None:
    waits = [PollSchedule().delay(attempt, 0, 0.5) for attempt in range(6)]
    assert waits == [5, 15, 45, 120, 300, 300]
    assert PollSchedule().delay(3, 601, 0.5) == 3600


@given(jitters=st.lists(JITTER, min_size=8, max_size=8), scale=st.sampled_from([1.0, 0.1, 0.01]))
def test_the_age_of_an_order_tells_which_poll_is_the_next(
    jitters: list[float], scale: float
) -> None:
    schedule = PollSchedule(scale=scale)
    age = 0.0
    for number, jitter in enumerate(jitters):
        wait = schedule.next_poll(age, jitter)
        assert wait == schedule.delay(number, age, jitter)
        age += wait + 0.01 * scale  # a poll takes a moment


@given(age=WAITED, jitter=JITTER, retry_after=RETRY_AFTER, max_age=st.floats(1, 1e7))
def test_an_order_is_asked_for_when_its_time_is_over_and_not_later(
    age: float, jitter: float, retry_after: float | None, max_age: float
) -> None:
    schedule = PollSchedule(order_max_age=max_age)
    wait = schedule.next_poll(age, jitter, retry_after)
    assert wait >= 0
    assert schedule.is_too_old(age) == (age >= max_age)
    if not schedule.is_too_old(age):
        assert wait <= max_age - age


@given(age=WAITED, jitter=JITTER, max_wait=st.floats(1, 86_400))
def test_a_burst_is_as_long_as_it_is_said_to_be(age: float, jitter: float, max_wait: float) -> None:
    schedule = PollSchedule(max_wait=max_wait, order_max_age=1e12)
    assert (schedule.next_poll(age, jitter) >= 0.8 * 3600) == (age >= max_wait)
