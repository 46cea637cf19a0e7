"""Failed attempts: a burst, then slowly, and no more sources than fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.attempts import Attempts, source_of


def test_a_burst_then_one_at_a_time() -> None:
    attempts = Attempts(burst=3, seconds=2.0, sources=10)
    assert [attempts.take("a", 0.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert attempts.wait("a", 0.0) == 2.0
    assert attempts.take("a", 1.9) is None
    assert attempts.take("a", 2.0) == 3, "so many were turned away since"
    assert attempts.take("a", 2.0) is None
    assert attempts.take("b", 2.0) == 0, "others are not held up"
    assert [attempts.take("a", 1000.0) for _ in range(4)] == [1, 0, 0, None]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_never_more_than_the_burst_and_what_came_in(times: list[float]) -> None:
    attempts = Attempts(burst=3, seconds=2.0, sources=10)
    ordered = sorted(times)
    taken = sum(attempts.take("a", at) is not None for at in ordered)
    assert taken <= 3 + (ordered[-1] - ordered[0]) / 2.0 + 1e-6


@given(st.lists(st.integers(0, 50), max_size=300))
def test_the_memory_is_bounded(sources: list[int]) -> None:
    attempts = Attempts(burst=1, seconds=1.0, sources=8)
    for at, source in enumerate(sources):
        attempts.take(str(source), float(at))
        assert len(attempts) <= 8


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    attempts = Attempts(burst=1, seconds=2.0, sources=10)
    assert attempts.take("a", 10_000.0) == 0
    assert attempts.take("a", 0.0) is None
    assert attempts.take("a", 2.0) is not None


def test_what_was_given_back_can_be_taken_again() -> None:
    attempts = Attempts(burst=1, seconds=2.0, sources=10)
    attempts.take("a", 0.0)
    attempts.give_back("a")
    attempts.give_back("nobody")
    assert attempts.take("a", 0.0) == 0
    attempts.give_back("a")
    attempts.give_back("a")
    assert [attempts.take("a", 0.0), attempts.take("a", 0.0)] == [0, None], "never beyond the burst"


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        (None, "local"),
    ],
)
def test_whom_an_address_stands_for(host: str | None, source: str) -> None:
    assert source_of(host) == source
