"""What an order waits for, in words for a person."""

from __future__ import annotations

from dataclasses import dataclass

from certctl.domain.clock import from_ms
from certctl.domain.orders import OPEN_STATES, OrderState

S = OrderState

_NEVER = {
    S.AWAITING_CSR: "a CSR with a new key (certctl renew)",
    S.UNCERTAIN: "a person: nobody knows whether the CA has the order; look there, then say so "
    "(certctl orders resolve)",
}


@dataclass(frozen=True, slots=True)
class Standstill:
    """Why the issuer's CA is left alone: an open circuit, or (`quota`) an exhausted account."""

    is_quota: bool
    problem: str
    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What decides about the words. Times in milliseconds, `burst` in seconds.

    `hindrance` says why the issuer takes no orders, None where it does; `is_held` whether a process
    is at work on the order now.
    """

    state: OrderState
    now: int
    due_at: int | None
    problem: str | None = None
    accepted_at: int | None = None
    unknown_since: int | None = None
    is_held: bool = False
    burst: float = 600.0
    unknown_for: float = 3600.0
    hindrance: str | None = None
    standstill: Standstill | None = None


def waits_for(order: Waiting) -> str | None:
    """What the order waits for; None once it has come to its end."""
    if order.state not in OPEN_STATES:
        return None
    if order.state in _NEVER:
        return _NEVER[order.state]
    if order.hindrance is not None:
        return order.hindrance
    stop = order.standstill
    if stop is not None and not stop.is_quota:
        words = f"the issuer's circuit is open since {moment(stop.since)}: {stop.problem}"
        return words if stop.until is None else f"{words}; tried again at {moment(stop.until)}"
    return _BY_STATE[order.state](order)


def due_at(due: int | None, state: OrderState, stop: Standstill | None) -> int | None:
    """When the CA is asked next, given that nobody asks while it is left alone."""
    if due is None or stop is None or stop.until is None or (stop.is_quota and state != S.READY):
        return due
    return max(due, stop.until)


def moment(ms: int) -> str:
    """A time for people, in UTC."""
    return from_ms(ms).strftime("%Y-%m-%d %H:%M:%S UTC")


def _ready(order: Waiting) -> str:
    stop = order.standstill
    if stop is not None:
        words = f"the issuer's quota, exhausted since {moment(stop.since)}: {stop.problem}"
        return words if stop.until is None else f"{words}; asked again from {moment(stop.until)}"
    if order.due_at is None or order.due_at <= order.now or order.problem is None:
        return "its turn"
    return f"the next attempt, at {moment(order.due_at)}: {order.problem}"


def _submitting(order: Waiting) -> str:
    if order.unknown_since is not None:
        return "a look at the CA, whether it has the order: no answer came when it was sent"
    if order.is_held:
        return "the CA's answer: it is being asked"
    return "its turn: the process that asked the CA is gone, what came of it is found out"


def _pending(order: Waiting) -> str:
    if order.unknown_since is not None:
        until = moment(order.unknown_since + round(order.unknown_for * 1000))
        return (
            f"the CA to know the order again, which it does not since "
            f"{moment(order.unknown_since)}; from {until} on it is a person's turn"
        )
    accepted = order.now if order.accepted_at is None else order.accepted_at
    parks_at = accepted + round(order.burst * 1000)
    if order.now >= parks_at:
        return "parked: the CA is asked once an hour"
    return f"the CA's answer: asked every few minutes until {moment(parks_at)}, then once an hour"


_BY_STATE = {S.READY: _ready, S.SUBMITTING: _submitting, S.PENDING: _pending}
