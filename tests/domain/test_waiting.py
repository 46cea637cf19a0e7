"""What an order waits for, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.orders import OPEN_STATES, OrderState
from certctl.domain.waiting import Standstill, Waiting, due_at, waits_for

#: 2026-01-01T12:00:00Z
NOON = 1_767_268_800_000
MINUTE = 60_000
S = OrderState
CIRCUIT = Standstill(False, "wrong password", NOON - MINUTE, NOON + MINUTE)
QUOTA = Standstill(True, "nothing left", NOON - MINUTE, NOON + MINUTE)


def waiting(state: OrderState, **changes: object) -> Waiting:
    order = Waiting(state=state, now=NOON, due_at=NOON + MINUTE, accepted_at=NOON - MINUTE)
    return replace(order, **changes)  # type: ignore[arg-type] # each test names its own


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (waiting(S.AWAITING_CSR), "a CSR with a new key (certctl renew)"),
        (
            waiting(S.UNCERTAIN),
            (
                "a person: nobody knows whether the CA has the order; look there, then say so "
                "(certctl orders resolve)"
            ),
        ),
        (
            waiting(S.PENDING),
            (
                "the CA's answer: asked every few minutes until 2026-01-01 12:09:00 UTC, then "
                "once an hour"
            ),
        ),
        (waiting(S.PENDING, burst=60.0), "parked: the CA is asked once an hour"),
        (
            waiting(S.PENDING, unknown_since=NOON - MINUTE),
            (
                "the CA to know the order again, which it does not since 2026-01-01 11:59:00 UTC; "
                "from 2026-01-01 12:59:00 UTC on it is a person's turn"
            ),
        ),
        (
            waiting(S.PENDING, standstill=CIRCUIT),
            (
                "the issuer's circuit is open since 2026-01-01 11:59:00 UTC: wrong password; tried "
                "again at 2026-01-01 12:01:00 UTC"
            ),
        ),
        (
            waiting(S.READY, standstill=QUOTA),
            (
                "the issuer's quota, exhausted since 2026-01-01 11:59:00 UTC: nothing left; asked "
                "again from 2026-01-01 12:01:00 UTC"
            ),
        ),
        (waiting(S.READY, hindrance="the issuer is disabled"), "the issuer is disabled"),
        (waiting(S.READY, due_at=NOON), "its turn"),
        (waiting(S.READY), "its turn"),
        (
            waiting(S.READY, problem="connection refused"),
            "the next attempt, at 2026-01-01 12:01:00 UTC: connection refused",
        ),
        (waiting(S.SUBMITTING, is_held=True), "the CA's answer: it is being asked"),
        (
            waiting(S.SUBMITTING),
            "its turn: the process that asked the CA is gone, what came of it is found out",
        ),
        (
            waiting(S.SUBMITTING, unknown_since=NOON),
            "a look at the CA, whether it has the order: no answer came when it was sent",
        ),
    ],
)
def test_the_words(order: Waiting, words: str) -> None:
    assert waits_for(order) == words


def test_polls_go_on_while_the_account_is_exhausted() -> None:
    assert "asked every few minutes" in (waits_for(waiting(S.PENDING, standstill=QUOTA)) or "")


@given(
    state=st.sampled_from(OrderState),
    stop=st.sampled_from([None, CIRCUIT, QUOTA]),
    due=st.none() | st.just(NOON),
)
def test_an_open_order_always_waits_for_something_and_a_closed_one_for_nothing(
    state: OrderState, stop: Standstill | None, due: int | None
) -> None:
    words = waits_for(waiting(state, standstill=stop, due_at=due))
    assert (words is not None) == (state in OPEN_STATES)


@pytest.mark.parametrize(
    ("state", "stop", "due"),
    [
        (S.PENDING, None, NOON),
        (S.PENDING, CIRCUIT, NOON + MINUTE),
        (S.PENDING, QUOTA, NOON),
        (S.READY, QUOTA, NOON + MINUTE),
    ],
)
def test_the_time_shown_is_the_time_when_the_ca_is_asked(
    state: OrderState, stop: Standstill | None, due: int
) -> None:
    assert due_at(NOON, state, stop) == due
    assert due_at(None, state, stop) is None
    assert due_at(NOON + 2 * MINUTE, state, stop) == NOON + 2 * MINUTE
