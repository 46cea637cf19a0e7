"""The states of an order, and which changes are possible (a table, and nothing beside it)."""

from __future__ import annotations

from enum import StrEnum


class OrderState(StrEnum):
    """Where an order stands."""

    AWAITING_CSR = "awaiting_csr"
    READY = "ready"
    SUBMITTING = "submitting"
    PENDING = "pending"
    UNCERTAIN = "uncertain"
    ISSUED = "issued"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Recovery(StrEnum):
    """How a connector finds out about a submission whose answer was lost."""

    INTERNAL = "internal"  # nothing outside this database: order and version are one transaction
    IDEMPOTENT = "idempotent"  # asking again (with the same key) returns the same certificate
    LOOKUP = "lookup"  # the CA can be asked whether it has the order
    REPEATABLE = "repeatable"  # asking again may make a spare certificate, which is recorded
    ASK = "ask"  # only a person can tell


S = OrderState

TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    S.AWAITING_CSR: frozenset({S.READY, S.CANCELLED}),
    # To `uncertain` when it may have been sent before, and the CA no longer tells a second time.
    S.READY: frozenset({S.SUBMITTING, S.CANCELLED, S.ISSUED, S.UNCERTAIN}),
    S.SUBMITTING: frozenset({S.ISSUED, S.PENDING, S.REJECTED, S.READY, S.UNCERTAIN}),
    S.PENDING: frozenset({S.ISSUED, S.PENDING, S.REJECTED, S.UNCERTAIN, S.EXPIRED}),
    S.UNCERTAIN: frozenset({S.READY, S.PENDING, S.ISSUED, S.REJECTED, S.CANCELLED}),
    S.ISSUED: frozenset(),
    S.REJECTED: frozenset(),
    S.EXPIRED: frozenset(),
    S.CANCELLED: frozenset(),
}

#: States in which an order still stands in the way of another one for the same certificate.
OPEN_STATES = frozenset(state for state, following in TRANSITIONS.items() if following)
#: States in which the CA was not asked, or nobody knows, so that an order can be taken back.
CANCELLABLE = frozenset(state for state, after in TRANSITIONS.items() if S.CANCELLED in after)


def may_follow(before: OrderState, after: OrderState) -> bool:
    """Whether an order may go from one state to another."""
    return after in TRANSITIONS[before]


def recovered_state(recovery: Recovery) -> OrderState:
    """Where an order found in `submitting` goes when nobody knows whether the CA was asked.

    `lookup` stays in `submitting`: the CA is asked first, and its answer decides.
    """
    match recovery:
        case Recovery.INTERNAL | Recovery.IDEMPOTENT | Recovery.REPEATABLE:
            return S.READY
        case Recovery.LOOKUP:
            return S.SUBMITTING
        case Recovery.ASK:
            return S.UNCERTAIN


#: How long a client's Idempotency-Key stands for the order it led to, in milliseconds.
IDEMPOTENCY_MS = 24 * 3600 * 1000
