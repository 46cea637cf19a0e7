"""`advance`: one idempotent step of one order, fenced by the epoch it was claimed under."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from certctl.connectors.contract import IssuedCertificate, Lookup, Pending, Polls
from certctl.connectors.errors import IssuerError, Misconfigured
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import CertctlError
from certctl.domain.orders import OPEN_STATES, OrderState, Recovery, may_follow, recovered_state
from certctl.domain.renewal import renewal_time
from certctl.domain.revocations import RevocationReason
from certctl.lifecycle import outcomes
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.requests import decode_request
from certctl.lifecycle.revocations import Recorder
from certctl.lifecycle.versions import version_record
from certctl.pki.certificates import WrongCertificate, check_issued
from certctl.storage.certificates import add_version, lock_certificate, mark_failed
from certctl.storage.leases import TakenOver
from certctl.storage.orders import AttemptRecord, add_attempt, load_order, store_order
from certctl.storage.revocations import revocations_of

if TYPE_CHECKING:
    from certctl.connectors.contract import Connector, IssuanceRequest
    from certctl.domain.clock import Clock
    from certctl.domain.polling import PollSchedule
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.outcomes import Action, Decision
    from certctl.storage.database import Database, SqlRow, Transaction
    from certctl.storage.orders import OrderRecord
    from certctl.storage.versions import VersionRecord

log = structlog.get_logger(__name__)

_ISSUER_NOT_READY_WAIT = 60.0

Answer = IssuedCertificate | Pending | None


@dataclass(frozen=True, slots=True)
class Advance:
    """Carries orders one step further."""

    database: Database
    catalog: Catalog
    clock: Clock
    schedule: PollSchedule

    async def step(self, row: SqlRow[Any]) -> bool:
        """Take one step with a claimed row; whether its order is closed."""
        after = await self(load_order(row))
        return after.state not in OPEN_STATES

    async def __call__(self, order: OrderRecord) -> OrderRecord:
        """Take one step with a claimed order and return it as stored.

        Nothing here is remembered between steps: whatever a crash leaves behind is a row that the
        next claim reads. Raises TakenOver if another process claimed the order meanwhile, and
        Unavailable if the database is not there.
        """
        try:
            record, connector = self.catalog.usable_issuer(order.issuer_id)
        except CertctlError as error:
            return await self._postpone(order, error.detail)
        log.debug("advancing", order=order.id, state=order.state.value, issuer=record.id)
        request = decode_request(order)
        match order.state:
            case OrderState.READY:
                order = await self._mark_submitting(order)
                return await self._step(order, request, connector, "submit")
            case OrderState.SUBMITTING:
                return await self._recover(order, request, connector)
            case OrderState.PENDING:
                return await self._step(order, request, connector, "poll")
            case _:
                return await self._store(replace(order, due_at=None))

    async def _recover(
        self, order: OrderRecord, request: IssuanceRequest, connector: Connector
    ) -> OrderRecord:
        """Go on with an order whose submission nobody knows the end of."""
        if connector.recovery is Recovery.LOOKUP:
            return await self._step(order, request, connector, "lookup")
        state = recovered_state(connector.recovery)
        decision = outcomes.Decision(state, None if state is OrderState.UNCERTAIN else 0.0)
        lost = AttemptRecord(
            action="submit",
            outcome="lost",
            detail="the process that sent the order ended before an answer was recorded",
            started_at=order.updated_at,
            duration_ms=0,
        )
        return await self._record(order, decision, lost, None)

    async def _mark_submitting(self, order: OrderRecord) -> OrderRecord:
        return await self._store(replace(order, state=OrderState.SUBMITTING), release=False)

    async def _step(
        self, order: OrderRecord, request: IssuanceRequest, connector: Connector, action: Action
    ) -> OrderRecord:
        started = self.clock.now_ms()
        begun = time.monotonic()
        version: VersionRecord | None = None
        decision: Decision
        detail: str | None = None
        try:
            answer = await _ask(connector, request, order, action)
            if isinstance(answer, IssuedCertificate):
                check_issued(
                    answer.certificate,
                    answer.chain,
                    spki=request.csr.spki,
                    names=request.names,
                    now_ms=self.clock.now_ms(),
                )
                version = version_record(
                    answer,
                    certificate_id=order.certificate_id,
                    issuer_id=order.issuer_id,
                    order_id=order.id,
                    now_ms=self.clock.now_ms(),
                )
            outcome, decision = self._after(order, answer)
            order = self._with_answer(order, answer)
        except WrongCertificate as error:
            # The CA's last word, and not what was asked for: asking again would not mend it.
            outcome, detail = "wrong_certificate", str(error)
            decision = outcomes.Decision(OrderState.REJECTED, None)
        except IssuerError as error:
            outcome, detail = type(error).__name__, error.detail
            decision = self._after_error(order, connector, action, error)
        attempt = AttemptRecord(
            action=action,
            outcome=outcome,
            detail=detail,
            started_at=started,
            duration_ms=round((time.monotonic() - begun) * 1000),
        )
        return await self._record(order, decision, attempt, version)

    def _after(self, order: OrderRecord, answer: Answer) -> tuple[str, Decision]:
        if isinstance(answer, IssuedCertificate):
            return "issued", outcomes.Decision(OrderState.ISSUED, None)
        if answer is None:  # a look-up that found nothing: the CA never had it
            return "not_found", outcomes.Decision(OrderState.READY, 0.0)
        decision = outcomes.while_pending(
            schedule=self.schedule,
            attempt=order.attempts,
            age=self._age(order),
            jitter=random.random(),  # noqa: S311 - spreads load, protects nothing
            retry_after=answer.retry_after,
        )
        return "pending", decision

    def _with_answer(self, order: OrderRecord, answer: Answer) -> OrderRecord:
        """The order with what the CA calls it, from the first time the CA took it."""
        if answer is None:
            return order
        accepted_at = order.accepted_at or self.clock.now_ms()
        reference = order.reference or answer.reference
        if isinstance(answer, Pending):  # some CAs rename an order while they work on it
            reference = answer.reference or reference
        return replace(order, reference=reference, accepted_at=accepted_at)

    def _after_error(
        self, order: OrderRecord, connector: Connector, action: Action, error: IssuerError
    ) -> Decision:
        jitter = random.random()  # noqa: S311 - spreads load, protects nothing
        match action:
            case "submit":
                return outcomes.after_submission_error(
                    error,
                    recovery=connector.recovery,
                    schedule=self.schedule,
                    attempt=order.attempts,
                    jitter=jitter,
                )
            case "poll":
                return outcomes.after_poll_error(
                    error,
                    schedule=self.schedule,
                    attempt=order.attempts,
                    age=self._age(order),
                    jitter=jitter,
                )
            case "lookup":
                return outcomes.after_lookup_error(
                    error, schedule=self.schedule, attempt=order.attempts, jitter=jitter
                )

    def _age(self, order: OrderRecord) -> float:
        accepted = order.accepted_at or self.clock.now_ms()
        return (self.clock.now_ms() - accepted) / 1000

    async def _postpone(self, order: OrderRecord, problem: str) -> OrderRecord:
        wait = _ISSUER_NOT_READY_WAIT * self.schedule.scale
        due_at = self.clock.now_ms() + round(wait * 1000)
        return await self._store(replace(order, due_at=due_at, problem=problem))

    async def _record(
        self,
        order: OrderRecord,
        decision: Decision,
        attempt: AttemptRecord,
        version: VersionRecord | None,
    ) -> OrderRecord:
        """Write a step's result: order, attempt, version and audit event in one transaction."""
        now = self.clock.now_ms()
        before = order.state
        if decision.state is not before and not may_follow(before, decision.state):
            raise AssertionError(f"an order cannot go from {before} to {decision.state}")
        after = replace(
            order,
            state=decision.state,
            due_at=None if decision.wait is None else now + round(decision.wait * 1000),
            problem=attempt.detail,
            attempts=order.attempts + decision.counted,
            version_id=None if version is None else version.id,
            updated_at=now,
        )
        event = self._event(after, version) if decision.state is not before else None

        def write(transaction: Transaction) -> None:
            if not store_order(transaction, after, release=True):
                raise TakenOver
            add_attempt(transaction, after.id, attempt)
            if version is not None:
                self._store_version(transaction, version, now)
            elif after.state not in OPEN_STATES:
                mark_failed(transaction, after.certificate_id, now)
            if event is not None:
                transaction.audit(event)

        await self.database.write(write)
        report = log.info if after.state is not OrderState.UNCERTAIN else log.error
        report("order", order=after.id, state=after.state.value, problem=after.problem)
        return after

    def _store_version(self, transaction: Transaction, version: VersionRecord, now_ms: int) -> None:
        """Make it the newest; where the certificate was revoked meanwhile, revoke it as well.

        A certificate on hold keeps the new version on hold, so that one release ends both.
        """
        certificate = lock_certificate(transaction, version.certificate_id)
        renew_at = renewal_time(version.certificate_id, version.not_before, version.not_after)
        add_version(transaction, version, renew_at, now_ms)
        if certificate is None or certificate.status != "revoked":
            return
        connector = self.catalog.issuer(version.issuer_id).connector
        before = revocations_of(transaction.connection, version.certificate_id)
        revoked = before.get(certificate.version_id or "")
        reason = RevocationReason.CESSATION_OF_OPERATION
        if revoked is not None and revoked.reason is RevocationReason.CERTIFICATE_HOLD:
            reason = RevocationReason.CERTIFICATE_HOLD
        Recorder(SYSTEM.id, reason, now_ms, connector).revoke(
            transaction, version.certificate_id, version.id, version.id
        )

    def _event(self, order: OrderRecord, version: VersionRecord | None) -> AuditEvent:
        detail = {"order_id": order.id, "issuer_id": order.issuer_id}
        if version is not None:
            detail["serial"] = version.serial
        return AuditEvent(
            at_ms=self.clock.now_ms(),
            actor=SYSTEM.id,
            action="certificate.issued" if version is not None else f"order.{order.state.value}",
            object_type="certificate",
            object_id=order.certificate_id,
            detail=detail,
        )

    async def _store(self, order: OrderRecord, *, release: bool = True) -> OrderRecord:
        after = replace(order, updated_at=self.clock.now_ms())

        def write(transaction: Transaction) -> None:
            if not store_order(transaction, after, release=release):
                raise TakenOver

        await self.database.write(write)
        return after


async def _ask(
    connector: Connector, request: IssuanceRequest, order: OrderRecord, action: Action
) -> Answer:
    match action:
        case "submit":
            return await connector.issue(request)
        case "poll" if isinstance(connector, Polls) and order.reference is not None:
            return await connector.poll(request, order.reference)
        case "lookup" if isinstance(connector, Lookup):
            return await connector.lookup(request)
        case _:
            raise Misconfigured(f"this type of issuer cannot {action}")
