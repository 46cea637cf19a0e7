"""The states of an order, and what each answer means for it: properties rather than examples."""

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
from certctl.lifecycle.outcomes import Decision, Doubt, Outcome, Standing, outcome_of

JITTER = st.floats(0, 1, exclude_max=True)
ERRORS = st.sampled_from(
    [
        errors.Refused,
        errors.Unauthorized,
        errors.Misconfigured,
        errors.QuotaExhausted,
        errors.RateLimited,
        errors.Unavailable,
        errors.UnknownOrder,
        errors.NoAnswer,
        errors.BadAnswer,
    ]
)
FAILURES = st.builds(
    lambda kind, wait: kind("no", retry_after=wait), ERRORS, st.none() | st.floats(0, 1e9)
)
STANDINGS = st.builds(
    Standing,
    recovery=st.sampled_from(Recovery),
    attempts=st.integers(0, 1000),
    failures=st.integers(0, 1000),
    age=st.floats(0, 1e8),
    doubt=st.none() | st.floats(0, 1e8),
    window=st.none() | st.floats(0, 1e4),
    settle=st.sampled_from([60.0, 600.0]),
    jitter=JITTER,
)
SCHEDULES = st.builds(PollSchedule, scale=st.sampled_from([1.0, 0.1, 0.01]))
#: About the account, and so nothing about the order.
PAUSES = (errors.Unauthorized, errors.Misconfigured, errors.QuotaExhausted)


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


def holds_together(decision: Decision, before: OrderState) -> None:
    """It is a way that the table has, and whoever waits has a time."""
    state = decision.state
    assert state is before or may_follow(before, state)
    waits = state in {OrderState.READY, OrderState.SUBMITTING, OrderState.PENDING}
    assert (decision.wait is not None) == waits
    assert decision.wait is None or 0 <= decision.wait <= 86_400


@given(error=FAILURES, order=STANDINGS, schedule=SCHEDULES)
def test_whatever_goes_wrong_with_a_submission_has_a_place_in_the_table(
    error: errors.IssuerError, order: Standing, schedule: PollSchedule
) -> None:
    decision = outcomes.after_submission_error(error, order, schedule)
    holds_together(decision, OrderState.SUBMITTING)
    if isinstance(error, PAUSES):
        assert (decision.state, decision.counted) == (OrderState.READY, False)
        assert decision.doubt is Doubt.STAYS
    unsure = isinstance(error, errors.NoAnswer | errors.BadAnswer | errors.UnknownOrder)
    assert (decision.doubt is Doubt.BEGINS) == unsure
    assert (decision.failures > order.failures) == (unsure or isinstance(error, errors.Unavailable))
    if decision.state is OrderState.READY:  # a CA that failed is not sent to again at once
        assert decision.wait


@given(error=FAILURES, order=STANDINGS, schedule=SCHEDULES)
def test_a_ca_of_class_ask_is_never_asked_twice(
    error: errors.IssuerError, order: Standing, schedule: PollSchedule
) -> None:
    from dataclasses import replace

    order = replace(order, recovery=Recovery.ASK)
    decision = outcomes.after_submission_error(error, order, schedule)
    if decision.doubt is Doubt.BEGINS:
        assert decision.state is OrderState.UNCERTAIN
    assert recovered_state(Recovery.ASK) is OrderState.UNCERTAIN


@given(error=FAILURES, order=STANDINGS, schedule=SCHEDULES)
def test_a_repeated_submission_stays_within_its_window(
    error: errors.IssuerError, order: Standing, schedule: PollSchedule
) -> None:
    from dataclasses import replace

    order = replace(order, recovery=Recovery.IDEMPOTENT)
    decision = outcomes.after_submission_error(error, order, schedule)
    if decision.doubt is Doubt.BEGINS and decision.state is OrderState.READY and order.window:
        assert decision.wait is not None
        assert (order.doubt or 0) + decision.wait < order.window


@given(error=FAILURES, order=STANDINGS, schedule=SCHEDULES)
def test_a_pending_order_ends_by_a_no_by_its_age_or_as_a_person_s(
    error: errors.IssuerError, order: Standing, schedule: PollSchedule
) -> None:
    decision = outcomes.after_poll_error(error, order, schedule)
    holds_together(decision, OrderState.PENDING)
    too_old = order.age >= schedule.order_max_age
    forgotten = (order.doubt or 0) >= 3600 * schedule.scale
    if isinstance(error, errors.Refused):
        assert decision.state is OrderState.REJECTED
    elif too_old:
        assert decision.state is OrderState.EXPIRED
    elif isinstance(error, errors.UnknownOrder) and forgotten:
        assert decision.state is OrderState.UNCERTAIN
    else:
        assert decision.state is OrderState.PENDING


@given(error=FAILURES, order=STANDINGS, schedule=SCHEDULES)
def test_a_look_up_that_fails_sends_nothing(
    error: errors.IssuerError, order: Standing, schedule: PollSchedule
) -> None:
    decision = outcomes.after_lookup_error(error, order, schedule)
    holds_together(decision, OrderState.SUBMITTING)
    if not isinstance(error, errors.UnknownOrder):
        assert decision.state is not OrderState.READY
    is_unsure = isinstance(error, errors.Unavailable | errors.NoAnswer | errors.BadAnswer)
    if is_unsure and error.retry_after is None and (order.doubt or 0) < order.settle:
        assert decision.wait is not None
        assert decision.wait <= 360 * schedule.scale, "no hour is lost where it would be settled"


@given(order=STANDINGS, schedule=SCHEDULES)
def test_what_is_not_found_is_sent_again_only_after_the_first_has_settled(
    order: Standing, schedule: PollSchedule
) -> None:
    decision = outcomes.after_not_found(order, schedule)
    holds_together(decision, OrderState.SUBMITTING)
    settled = (order.doubt or 0) >= order.settle * schedule.scale
    assert decision.state is (OrderState.READY if settled else OrderState.SUBMITTING)


@given(order=STANDINGS)
def test_a_loss_is_recovered_by_class(order: Standing) -> None:
    decision = outcomes.after_loss(order)
    holds_together(decision, OrderState.SUBMITTING)
    if order.recovery is Recovery.ASK:
        assert decision.state is OrderState.UNCERTAIN


@given(order=STANDINGS, schedule=SCHEDULES, retry_after=st.none() | st.floats(0, 1e9))
def test_a_ca_that_works_on_it_ends_every_doubt(
    order: Standing, schedule: PollSchedule, retry_after: float | None
) -> None:
    decision = outcomes.while_pending(order, schedule, retry_after)
    holds_together(decision, OrderState.PENDING)
    assert (decision.doubt, decision.failures) == (Doubt.ENDS, 0)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_class_of_an_answer_fits_its_column(outcome: Outcome) -> None:
    assert len(outcome.value) <= 24


def test_an_error_of_no_known_kind_is_one_that_cannot_be_used() -> None:
    assert outcome_of(errors.IssuerError("?")) is Outcome.BAD_ANSWER
