"""The states of an order and the schedule of polls: pure, so properties rather than examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.connectors import errors
from certctl.domain.orders import (
    CANCELLABLE,
    OPEN_STATES,
    TRANSITIONS,
    OrderState,
    Recovery,
    may_follow,
    recovered_state,
)
from certctl.domain.polling import PollSchedule
from certctl.lifecycle import outcomes

JITTER = st.floats(0, 1, exclude_max=True)
ERRORS = st.sampled_from(
    [
        errors.Refused,
        errors.Unauthorized,
        errors.Misconfigured,
        errors.QuotaExhausted,
        errors.RateLimited,
        errors.Unavailable,
        errors.NoAnswer,
        errors.BadAnswer,
    ]
)


def test_closed_states_are_final() -> None:
    assert set(OrderState) - OPEN_STATES == {
        OrderState.ISSUED,
        OrderState.REJECTED,
        OrderState.EXPIRED,
        OrderState.CANCELLED,
    }


def test_only_what_the_ca_may_not_have_can_be_taken_back() -> None:
    assert {OrderState.READY, OrderState.AWAITING_CSR, OrderState.UNCERTAIN} == CANCELLABLE


def test_every_open_state_leads_to_an_end() -> None:
    for start in OPEN_STATES:
        reached, frontier = {start}, [start]
        while frontier:
            for following in TRANSITIONS[frontier.pop()] - reached:
                reached.add(following)
                frontier.append(following)
        assert OrderState.ISSUED in reached


@given(
    kind=ERRORS,
    recovery=st.sampled_from(Recovery),
    attempt=st.integers(0, 1000),
    jitter=JITTER,
    retry_after=st.none() | st.floats(0, 1e9),
)
def test_whatever_goes_wrong_with_a_submission_has_a_place_in_the_table(
    kind: type[errors.IssuerError],
    recovery: Recovery,
    attempt: int,
    jitter: float,
    retry_after: float | None,
) -> None:
    decision = outcomes.after_submission_error(
        kind("no", retry_after=retry_after),
        recovery=recovery,
        schedule=PollSchedule(),
        attempt=attempt,
        jitter=jitter,
    )
    state = decision.state
    assert state is OrderState.SUBMITTING or may_follow(OrderState.SUBMITTING, state)
    waits = state in {OrderState.READY, OrderState.SUBMITTING}
    assert (decision.wait is not None) == waits


@pytest.mark.parametrize("kind", [errors.NoAnswer, errors.BadAnswer])
def test_a_ca_of_class_ask_is_never_asked_twice(kind: type[errors.IssuerError]) -> None:
    decision = outcomes.after_submission_error(
        kind("?"), recovery=Recovery.ASK, schedule=PollSchedule(), attempt=0, jitter=0.5
    )
    assert decision.state is OrderState.UNCERTAIN
    assert recovered_state(Recovery.ASK) is OrderState.UNCERTAIN


@given(
    attempt=st.integers(0, 10_000),
    waited=st.floats(0, 1e8),
    jitter=JITTER,
    retry_after=st.none() | st.floats(0, 1e9),
)
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


@given(age=st.floats(0, 1e8), kind=ERRORS, jitter=JITTER)
def test_a_pending_order_is_given_up_at_its_greatest_age_only(
    age: float, kind: type[errors.IssuerError], jitter: float
) -> None:
    schedule = PollSchedule()
    decision = outcomes.after_poll_error(
        kind("no"), schedule=schedule, attempt=3, age=age, jitter=jitter
    )
    if kind is errors.Refused:
        assert decision.state is OrderState.REJECTED
    else:
        too_old = age >= schedule.order_max_age
        assert decision.state is (OrderState.EXPIRED if too_old else OrderState.PENDING)
