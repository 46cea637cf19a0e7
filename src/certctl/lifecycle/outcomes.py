"""What an answer, or a missing one, means for an order: decided here, purely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from certctl.connectors import errors
from certctl.domain.orders import OrderState, Recovery, recovered_state
from certctl.domain.revocations import RevocationState

if TYPE_CHECKING:
    from certctl.connectors.errors import IssuerError
    from certctl.domain.polling import PollSchedule

Action = Literal["submit", "poll", "lookup"]

_UNAUTHORIZED_WAIT = 60.0
_QUOTA_WAIT = 3600.0


@dataclass(frozen=True, slots=True)
class RevocationDecision:
    """Where the revocation goes, and in how many seconds the CA is told or asked again."""

    state: RevocationState
    wait: float | None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the order goes, and in how many seconds it is looked at again (None: never)."""

    state: OrderState
    wait: float | None
    counted: bool = True


def after_submission_error(
    error: IssuerError,
    *,
    recovery: Recovery,
    schedule: PollSchedule,
    attempt: int,
    jitter: float,
) -> Decision:
    """What a failed submission means. `attempt` counts the attempts before this one."""
    wait = schedule.delay(attempt, 0.0, jitter, error.retry_after)
    match error:
        case errors.Refused():
            return Decision(OrderState.REJECTED, None)
        case errors.Unauthorized() | errors.Misconfigured():
            return Decision(OrderState.READY, _UNAUTHORIZED_WAIT * schedule.scale, counted=False)
        case errors.QuotaExhausted():
            return Decision(OrderState.READY, _QUOTA_WAIT * schedule.scale, counted=False)
        case errors.RateLimited() | errors.Unavailable():
            return Decision(OrderState.READY, wait)
        case _:  # NoAnswer, BadAnswer: the CA may have acted
            state = recovered_state(recovery)
            return Decision(state, None if state is OrderState.UNCERTAIN else wait)


def after_poll_error(
    error: IssuerError, *, schedule: PollSchedule, attempt: int, age: float, jitter: float
) -> Decision:
    """What a failed poll means. `age` is the time since the CA took the order, in seconds."""
    if isinstance(error, errors.Refused):
        return Decision(OrderState.REJECTED, None)
    if schedule.is_too_old(age):
        return Decision(OrderState.EXPIRED, None)
    return Decision(OrderState.PENDING, schedule.delay(attempt, age, jitter, error.retry_after))


def after_lookup_error(
    error: IssuerError, *, schedule: PollSchedule, attempt: int, jitter: float
) -> Decision:
    """What a failed look-up means: the question is still open, whatever went wrong."""
    wait = schedule.delay(attempt, 0.0, jitter, error.retry_after)
    return Decision(OrderState.SUBMITTING, wait)


def while_pending(
    *, schedule: PollSchedule, attempt: int, age: float, jitter: float, retry_after: float | None
) -> Decision:
    """When a CA that works on an order is asked again."""
    if schedule.is_too_old(age):
        return Decision(OrderState.EXPIRED, None)
    return Decision(OrderState.PENDING, schedule.delay(attempt, age, jitter, retry_after))


def after_revocation_error(
    error: IssuerError,
    *,
    state: RevocationState,
    schedule: PollSchedule,
    attempt: int,
    age: float,
    jitter: float,
) -> RevocationDecision:
    """What a failed revocation means. `age` is the time since it was asked for, in seconds.

    Telling a CA twice does no harm, so whatever is not its final no is tried again, without end.
    """
    match error:
        case errors.Refused():
            return RevocationDecision(RevocationState.REFUSED, None)
        case errors.Unauthorized() | errors.Misconfigured():
            return RevocationDecision(state, _UNAUTHORIZED_WAIT * schedule.scale, counted=False)
        case errors.QuotaExhausted():
            return RevocationDecision(state, _QUOTA_WAIT * schedule.scale, counted=False)
        case _:
            wait = schedule.delay(attempt, age, jitter, error.retry_after)
            return RevocationDecision(state, wait)
