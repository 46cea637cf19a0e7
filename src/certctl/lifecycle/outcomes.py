"""What an answer, or a missing one, means for an order: decided here, purely."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Literal

from certctl.connectors import errors
from certctl.domain.events import EventKind
from certctl.domain.orders import OrderState, Recovery, recovered_state
from certctl.domain.revocations import RevocationState

if TYPE_CHECKING:
    from certctl.connectors.errors import IssuerError
    from certctl.domain.polling import PollSchedule

Action = Literal["submit", "poll", "lookup"]

#: Waits in seconds, shortened by the schedule's scale: until a CA whose circuit opened is tried
#: again, or one whose quota is exhausted (with up to so much more, so that orders come apart).
CIRCUIT_WAIT = 60.0
QUOTA_WAIT = 3600.0
QUOTA_SPREAD = 300.0
#: So long a CA may say that it does not know an order before a person is asked.
UNKNOWN_WAIT = 3600.0
#: So long a request may still be on its way to the CA: an order that a look-up does not find is not
#: submitted again before. Connectors may ask for more.
SETTLE_WAIT = 60.0
#: Operators hear of every so many attempts in a row that told nothing.
FAILURES_PER_EVENT = 5
#: Within a window for repeating, the last attempts are this far apart at least.
_CLOSEST = 5.0


class Outcome(StrEnum):
    """The class of an answer, as an order's history names it; `meaning` in words."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Outcome:
        """Make a member that is the first of its two words."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    ISSUED = "issued", "the certificate came, and is what was asked for"
    PENDING = "pending", "the CA took the order and works on it"
    NOT_FOUND = "not_found", "asked whether it has the order, the CA said no"
    REFUSED = "refused", "the CA's final no"
    UNAUTHORIZED = "unauthorized", "the CA does not accept the issuer's credentials"
    MISCONFIGURED = "misconfigured", "the issuer's own settings or files do not work"
    QUOTA_EXHAUSTED = "quota_exhausted", "the account at the CA has nothing left to issue"
    RATE_LIMITED = "rate_limited", "asked too often"
    UNAVAILABLE = "unavailable", "the CA was not reached, or said that nothing happened"
    NO_ANSWER = "no_answer", "sent, and no answer came: the CA may have acted"
    BAD_ANSWER = "bad_answer", "an answer came and cannot be used: the CA may have acted"
    UNKNOWN_ORDER = "unknown_order", "the CA says that it does not know the order"
    WRONG_CERTIFICATE = "wrong_certificate", "a certificate came that is not what was asked for"
    LOST = "lost", "the process that waited for the answer ended; the CA may have acted"
    LATE = "late", "an answer came to a process that no longer had the order"
    DOUBLED = "doubled", "such an answer, and the CA has made a second one beside it"
    PERHAPS_DOUBLED = (
        "perhaps_doubled",
        "one of two submissions was never answered: the CA may have a second order",
    )
    RESOLVED = "resolved", "a person said what became of the order"


#: Of attempts that did not bring the order on: the error classes of the metrics.
FAILURES = frozenset(
    {
        Outcome.REFUSED,
        Outcome.UNAUTHORIZED,
        Outcome.MISCONFIGURED,
        Outcome.QUOTA_EXHAUSTED,
        Outcome.RATE_LIMITED,
        Outcome.UNAVAILABLE,
        Outcome.NO_ANSWER,
        Outcome.BAD_ANSWER,
        Outcome.UNKNOWN_ORDER,
        Outcome.WRONG_CERTIFICATE,
        Outcome.LOST,
    }
)

_OUTCOMES: dict[type[IssuerError], Outcome] = {
    errors.Refused: Outcome.REFUSED,
    errors.Unauthorized: Outcome.UNAUTHORIZED,
    errors.Misconfigured: Outcome.MISCONFIGURED,
    errors.QuotaExhausted: Outcome.QUOTA_EXHAUSTED,
    errors.RateLimited: Outcome.RATE_LIMITED,
    errors.Unavailable: Outcome.UNAVAILABLE,
    errors.NoAnswer: Outcome.NO_ANSWER,
    errors.UnknownOrder: Outcome.UNKNOWN_ORDER,
}
#: Attempts that told nothing about the order.
_UNSURE = frozenset({Outcome.UNAVAILABLE, Outcome.NO_ANSWER, Outcome.BAD_ANSWER})


def outcome_of(error: IssuerError) -> Outcome:
    """The class of an error; one that fits none cannot be used, whatever it is."""
    for kind, outcome in _OUTCOMES.items():
        if isinstance(error, kind):
            return outcome
    return Outcome.BAD_ANSWER


class Doubt(Enum):
    """What an answer does to the doubt whether the CA has the order."""

    STAYS = auto()
    BEGINS = auto()  # unless it began earlier
    ENDS = auto()


@dataclass(frozen=True, slots=True)
class RevocationDecision:
    """Where the revocation goes, and in how many seconds the CA is told or asked again."""

    state: RevocationState
    wait: float | None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the order goes, and in how many seconds it is looked at again (None: never).

    `failures` is how many attempts in a row have told nothing now.
    """

    state: OrderState
    wait: float | None
    counted: bool = True
    doubt: Doubt = Doubt.STAYS
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an order when an answer comes.

    `attempts` and `failures` (in a row) are those before. In seconds: `age` since the CA took it,
    `doubt` since it is open whether it has it (None: it is not), `window` in which asking a CA
    again is safe (None: always), `settle` after which what is not found is not there. `jitter` is
    a number in [0, 1).
    """

    recovery: Recovery
    attempts: int = 0
    failures: int = 0
    age: float = 0.0
    doubt: float | None = None
    window: float | None = None
    settle: float = SETTLE_WAIT
    jitter: float = 0.5


def after_submission_error(error: IssuerError, order: Standing, schedule: PollSchedule) -> Decision:
    """What a failed submission means."""
    if (paused := _paused(error, OrderState.READY, order, schedule)) is not None:
        return paused
    wait = schedule.delay(order.attempts, 0.0, order.jitter, error.retry_after)
    match error:
        case errors.Refused():
            return Decision(OrderState.REJECTED, None, doubt=Doubt.ENDS)
        case errors.RateLimited():
            return Decision(OrderState.READY, wait, failures=order.failures)
        case errors.Unavailable():
            return Decision(OrderState.READY, wait, failures=order.failures + 1)
        case _:  # NoAnswer, BadAnswer: the CA may have acted
            return _unsure(wait, order, schedule)


def _unsure(wait: float, order: Standing, schedule: PollSchedule) -> Decision:
    state = recovered_state(order.recovery)
    failures = order.failures + 1
    if state is OrderState.SUBMITTING:
        wait = schedule.next_poll(order.doubt or 0.0, order.jitter)
    elif state is OrderState.READY and order.window is not None:
        left = order.window - (order.doubt or 0.0)
        if wait >= left:
            wait = left / 2
        if wait < _CLOSEST * schedule.scale / 2:
            state = OrderState.UNCERTAIN
    if state is OrderState.UNCERTAIN:
        return Decision(state, None, doubt=Doubt.BEGINS, failures=failures)
    return Decision(state, wait, doubt=Doubt.BEGINS, failures=failures)


def window_is_over(order: Standing) -> bool:
    """Whether an order that may have been sent can no longer be sent a second time."""
    return order.window is not None and order.doubt is not None and order.doubt >= order.window


def after_loss(order: Standing) -> Decision:
    """What becomes of an order whose process ended between sending it and recording an answer.

    `doubt` of `order` is the time since it was sent.
    """
    state = recovered_state(order.recovery)
    if state is OrderState.READY and window_is_over(order):
        state = OrderState.UNCERTAIN
    wait = None if state is OrderState.UNCERTAIN else 0.0
    return Decision(state, wait, doubt=Doubt.BEGINS, failures=order.failures + 1)


def after_poll_error(error: IssuerError, order: Standing, schedule: PollSchedule) -> Decision:
    """What a failed poll means."""
    if isinstance(error, errors.Refused):
        return Decision(OrderState.REJECTED, None, doubt=Doubt.ENDS)
    if schedule.is_too_old(order.age):
        return Decision(OrderState.EXPIRED, None, failures=order.failures)
    if isinstance(error, errors.UnknownOrder):
        return _unknown(error, order, schedule)
    if (paused := _paused(error, OrderState.PENDING, order, schedule)) is not None:
        return paused
    failures = order.failures + (not isinstance(error, errors.RateLimited))
    wait = schedule.next_poll(order.age, order.jitter, error.retry_after)
    return Decision(OrderState.PENDING, wait, failures=failures)


def _unknown(error: IssuerError, order: Standing, schedule: PollSchedule) -> Decision:
    left = UNKNOWN_WAIT * schedule.scale - (order.doubt or 0.0)
    if left <= 0:
        return Decision(OrderState.UNCERTAIN, None)
    wait = min(schedule.next_poll(order.age, order.jitter, error.retry_after), left)
    return Decision(OrderState.PENDING, wait, doubt=Doubt.BEGINS)


def after_lookup_error(error: IssuerError, order: Standing, schedule: PollSchedule) -> Decision:
    """What a failed look-up means: the question is still open, unless the CA will not answer it."""
    doubt = order.doubt or 0.0
    if isinstance(error, errors.UnknownOrder):
        return after_not_found(order, schedule)
    if isinstance(error, errors.Refused) or schedule.is_too_old(doubt):
        return Decision(OrderState.UNCERTAIN, None, failures=order.failures)
    if (paused := _paused(error, OrderState.SUBMITTING, order, schedule)) is not None:
        return paused
    failures = order.failures + (not isinstance(error, errors.RateLimited))
    # The look-up that would settle it may be the one that fails: it is not put off for an hour.
    patient = replace(schedule, max_wait=max(schedule.max_wait, 2 * order.settle))
    wait = patient.next_poll(doubt, order.jitter, error.retry_after)
    return Decision(OrderState.SUBMITTING, wait, failures=failures)


def after_not_found(order: Standing, schedule: PollSchedule) -> Decision:
    """What a look-up means that found nothing: the CA never had it, or does not have it yet."""
    doubt = order.doubt or 0.0
    left = order.settle * schedule.scale - doubt
    if left <= 0:
        return Decision(OrderState.READY, 0.0, doubt=Doubt.ENDS)
    wait = min(schedule.next_poll(doubt, order.jitter), left)
    return Decision(OrderState.SUBMITTING, wait)


def after_wrong_certificate(action: Action) -> Decision:
    """What a certificate means that is not what was asked for: asking again would not mend it.

    A look-up may have found another order's, so that a person has to look.
    """
    state = OrderState.UNCERTAIN if action == "lookup" else OrderState.REJECTED
    return Decision(state, None)


def while_pending(
    order: Standing, schedule: PollSchedule, retry_after: float | None = None
) -> Decision:
    """When a CA that works on an order is asked again."""
    if schedule.is_too_old(order.age):
        return Decision(OrderState.EXPIRED, None, doubt=Doubt.ENDS)
    wait = schedule.next_poll(order.age, order.jitter, retry_after)
    return Decision(OrderState.PENDING, wait, doubt=Doubt.ENDS)


def _paused(
    error: IssuerError, state: OrderState, order: Standing, schedule: PollSchedule
) -> Decision | None:
    """What an answer means that is about the account, and says nothing of the order."""
    wait = pause_for(error, schedule, order.jitter)
    return None if wait is None else Decision(state, wait, counted=False, failures=order.failures)


def pause_for(error: IssuerError, schedule: PollSchedule, jitter: float) -> float | None:
    """How long an issuer is left alone after such an answer, in seconds; None for any other."""
    match error:
        case errors.Unauthorized() | errors.Misconfigured():
            return CIRCUIT_WAIT * schedule.scale
        case errors.QuotaExhausted():
            return quota_pause(schedule, jitter)
        case _:
            return None


def quota_pause(schedule: PollSchedule, jitter: float) -> float:
    """How long an order waits when the quota is exhausted, in seconds."""
    return (QUOTA_WAIT + QUOTA_SPREAD * jitter) * schedule.scale


def news(action: Action, outcome: Outcome, decision: Decision) -> EventKind | None:
    """What operators are told of an attempt: its order's end or doubt, or that it failed.

    Of attempts in a row that tell nothing they hear once in five, and of the first submission.
    """
    match decision.state:
        case OrderState.UNCERTAIN:
            return EventKind.ORDER_UNCERTAIN
        case OrderState.EXPIRED:
            return EventKind.ORDER_EXPIRED
        case OrderState.REJECTED:
            return EventKind.ATTEMPT_FAILED
    if outcome not in _UNSURE or not decision.failures:
        return None
    first = action == "submit" and decision.failures == 1
    fifth = decision.failures % FAILURES_PER_EVENT == 0
    return EventKind.ATTEMPT_FAILED if first or fifth else None


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
    if isinstance(error, errors.Refused):
        return RevocationDecision(RevocationState.REFUSED, None)
    if (wait := pause_for(error, schedule, jitter)) is not None:
        return RevocationDecision(state, wait, counted=False)
    wait = schedule.delay(attempt, age, jitter, error.retry_after)
    return RevocationDecision(state, wait)
