"""What came of one step of an order, and the order after it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from certctl.connectors.contract import Pending
from certctl.domain.audit import AuditEvent
from certctl.domain.events import Event, EventKind
from certctl.domain.orders import OrderState
from certctl.lifecycle import outcomes
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.outcomes import Doubt
from certctl.storage.orders import AttemptRecord

if TYPE_CHECKING:
    from certctl.connectors.contract import IssuedCertificate
    from certctl.connectors.errors import IssuerError
    from certctl.lifecycle.conditions import Circumstances
    from certctl.lifecycle.outcomes import Action, Decision, Outcome
    from certctl.storage.orders import OrderRecord
    from certctl.storage.versions import VersionRecord

_WORDS = {
    EventKind.ORDER_UNCERTAIN: "nobody knows whether the CA has the order",
    EventKind.ORDER_EXPIRED: "the CA did not finish the order in time",
    EventKind.ATTEMPT_FAILED: "the attempt failed",
}


@dataclass(frozen=True, slots=True)
class StepResult:
    """One answer, or the lack of one, and what was decided. Times in milliseconds.

    `version` is there with a certificate that was held against the request; `error` and
    `made_with` with a call that failed.
    """

    action: Action
    outcome: Outcome
    decision: Decision
    started_at: int
    duration_ms: int = 0
    detail: str | None = None
    answer: IssuedCertificate | Pending | None = None
    version: VersionRecord | None = None
    error: IssuerError | None = None
    made_with: Circumstances | None = None

    def attempt(self) -> AttemptRecord:
        """Its line in the order's history."""
        return AttemptRecord(
            action=self.action,
            outcome=self.outcome.value,
            detail=self.detail,
            started_at=self.started_at,
            duration_ms=self.duration_ms,
            code=None if self.error is None else self.error.code,
        )


def apply(order: OrderRecord, result: StepResult, now_ms: int) -> OrderRecord:
    """The order after a step."""
    decision, answer = result.decision, result.answer
    reference, accepted_at = order.reference, order.accepted_at
    if answer is not None:
        accepted_at = accepted_at or now_ms
        reference = reference or answer.reference
        if isinstance(answer, Pending):  # some CAs rename an order while they work on it
            reference = answer.reference or reference
    unknown_since = order.unknown_since
    if decision.doubt is Doubt.ENDS:
        unknown_since = None
    elif decision.doubt is Doubt.BEGINS and unknown_since is None:
        unknown_since = result.started_at
    problem = result.detail
    if decision.state is OrderState.EXPIRED:
        problem = problem or _WORDS[EventKind.ORDER_EXPIRED]
    return replace(
        order,
        state=decision.state,
        due_at=None if decision.wait is None else now_ms + round(decision.wait * 1000),
        problem=problem,
        attempts=order.attempts + decision.counted,
        failures=decision.failures,
        reference=reference,
        accepted_at=accepted_at,
        unknown_since=unknown_since,
        version_id=order.version_id if result.version is None else result.version.id,
        updated_at=now_ms,
    )


def event_of(order: OrderRecord, result: StepResult) -> Event | None:
    """What operators are told about the step that led to this order; None for nothing."""
    kind = outcomes.news(result.action, result.outcome, result.decision)
    if kind is None:
        return None
    return order_event(kind, order, order.problem or _WORDS[kind])


def order_event(kind: EventKind, order: OrderRecord, words: str) -> Event:
    """An event about an order."""
    return Event(
        kind,
        order.updated_at,
        order.issuer_id,
        words,
        order_id=order.id,
        certificate_id=order.certificate_id,
    )


def audit_of(
    order: OrderRecord, version: VersionRecord | None = None, actor: str = SYSTEM.id
) -> AuditEvent:
    """The audit event of an order that has come to another state."""
    detail = {"order_id": order.id, "issuer_id": order.issuer_id}
    if version is not None:
        detail["serial"] = version.serial
    return AuditEvent(
        at_ms=order.updated_at,
        actor=actor,
        action="certificate.issued" if version is not None else f"order.{order.state.value}",
        object_type="certificate",
        object_id=order.certificate_id,
        detail=detail,
    )
