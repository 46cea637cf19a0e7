"""`tell`: one step of one revocation, fenced by the epoch it was claimed under.

A CA may be told twice about the same certificate (a process died between sending and recording);
connectors answer for that. It is never forgotten: the row stays due until the CA has answered.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from cryptography import x509

from certctl.connectors.contract import (
    PollsRevocations,
    ReleasesHolds,
    RevocationPending,
    RevocationRequest,
    Revoked,
    SignsStatus,
)
from certctl.connectors.errors import IssuerError, RateLimited, Refused
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import NotFound
from certctl.domain.events import Event, EventKind
from certctl.domain.renewal import renewal_time
from certctl.domain.revocations import (
    CRL_DELAY_MS,
    OPEN_STATES,
    RevocationAction,
    RevocationState,
    may_follow,
)
from certctl.lifecycle import outcomes
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.advance import schedule_for
from certctl.lifecycle.calls import call
from certctl.lifecycle.conditions import Noted
from certctl.lifecycle.recording import STALE_WAIT_MS
from certctl.storage.certificates import mark_released
from certctl.storage.conditions import ConditionState
from certctl.storage.crls import mark_crl_due
from certctl.storage.revocations import delete_revocation, load_revocation, store_revocation
from certctl.storage.versions import get_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.connectors.contract import Connector
    from certctl.domain.clock import Clock
    from certctl.domain.polling import PollSchedule
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.conditions import Circumstances, Conditions
    from certctl.lifecycle.events import Events
    from certctl.lifecycle.tally import Tally
    from certctl.storage.database import Connection, Database, SqlRow, Transaction
    from certctl.storage.revocations import RevocationRecord
    from certctl.storage.versions import VersionRecord

log = structlog.get_logger(__name__)

_ISSUER_NOT_READY_WAIT = 60.0


class _Failed(NamedTuple):
    """A call that failed, and with what it was made."""

    error: IssuerError
    made_with: Circumstances


@dataclass(frozen=True, slots=True)
class Tell:
    """Carries revocations to their CAs. `forget_answers` drops the OCSP answers kept here."""

    database: Database
    catalog: Catalog
    clock: Clock
    schedule: PollSchedule
    forget_answers: Callable[[], None]
    conditions: Conditions
    events: Events
    tally: Tally

    async def step(self, row: SqlRow[Any]) -> bool:
        """Take one step with a claimed row; whether its revocation needs nothing more.

        Raises TakenOver if the row was claimed or changed meanwhile, Unavailable if the database is
        not there.
        """
        record = load_revocation(row)
        if record.state not in OPEN_STATES:
            await self._store(replace(record, due_at=None))
            return True
        try:
            issuer = self.catalog.issuer(record.issuer_id)
        except NotFound:
            issuer = None
        if issuer is None or issuer.connector is None:
            await self._postpone(record, "the issuer's settings do not work")
            return False
        condition = self.conditions.standing(record.issuer_id)
        if condition is not None and condition.state is ConditionState.OPEN:
            await self._postpone(record, condition.problem)
            return False
        connector = issuer.connector
        version = await self._version(record)
        made_with = self.conditions.circumstances(issuer)
        failed: _Failed | None = None
        try:
            answer = await call(issuer.record, _tell(connector, record, version))
        except IssuerError as error:
            failed = _Failed(error, made_with)
            after = self._after_error(record, connector, error)
        else:
            after = self._after_answer(record, connector, answer)
        await self._record(record, after, version, connector, failed)
        return after.state not in OPEN_STATES

    def _after_error(
        self, record: RevocationRecord, connector: Connector, error: IssuerError
    ) -> RevocationRecord:
        decision = outcomes.after_revocation_error(
            error,
            state=record.state,
            schedule=schedule_for(self.schedule, connector),
            attempt=record.attempts,
            age=self._age(record),
            jitter=random.random(),  # noqa: S311 - spreads load, protects nothing
        )
        after = self._after(record, decision.state, decision.wait, error.detail)
        return after if decision.counted else replace(after, attempts=record.attempts)

    def _after_answer(
        self,
        record: RevocationRecord,
        connector: Connector,
        answer: Revoked | RevocationPending,
    ) -> RevocationRecord:
        reference = answer.reference or record.reference
        if isinstance(answer, Revoked):
            after = self._after(record, RevocationState.CONFIRMED, None, None)
        else:
            wait = schedule_for(self.schedule, connector).delay(
                record.attempts,
                self._age(record),
                random.random(),  # noqa: S311 - spreads load, protects nothing
                answer.retry_after,
            )
            after = self._after(record, RevocationState.TOLD, wait, None)
        return replace(after, reference=reference)

    def _after(
        self,
        record: RevocationRecord,
        state: RevocationState,
        wait: float | None,
        problem: str | None,
    ) -> RevocationRecord:
        if not may_follow(record.state, state):
            raise AssertionError(f"a revocation cannot go from {record.state} to {state}")
        now = self.clock.now_ms()
        return replace(
            record,
            state=state,
            problem=problem,
            attempts=record.attempts + 1,
            due_at=None if wait is None else now + round(wait * 1000),
            updated_at=now,
        )

    async def _record(
        self,
        before: RevocationRecord,
        after: RevocationRecord,
        version: VersionRecord,
        connector: Connector,
        failed: _Failed | None,
    ) -> None:
        """Write a step's result and its events in one transaction."""
        released = after.action is RevocationAction.RELEASE
        ended = released and after.state is RevocationState.CONFIRMED
        if released and after.state is RevocationState.REFUSED:
            # The hold stands: it is what it was before somebody wanted to take it back.
            stored = replace(after, action=RevocationAction.REVOKE, state=RevocationState.CONFIRMED)
        else:
            stored = after
        now = after.updated_at
        event = _news(before, after, failed)
        files_changed = failed is not None and self.conditions.files_changed(failed.made_with)

        def write(transaction: Transaction) -> Noted:
            noted = Noted()
            if failed is not None:
                noted = self.conditions.note(
                    transaction, failed.made_with, failed.error, files_changed=files_changed
                )
            if ended:
                delete_revocation(transaction, after)
                renew_at = renewal_time(after.certificate_id, version.not_before, version.not_after)
                mark_released(transaction, after.certificate_id, version.id, renew_at, now)
            elif noted.is_stale and stored.due_at is not None:
                due_at = min(stored.due_at, now + STALE_WAIT_MS)
                store_revocation(transaction, replace(stored, due_at=due_at))
            else:
                store_revocation(transaction, stored)
            if event is not None:
                self.events.record(transaction, event)
            if after.state is not before.state:
                transaction.audit(_event(after, now))
                if isinstance(connector, SignsStatus):
                    mark_crl_due(transaction, after.issuer_id, now + CRL_DELAY_MS)
                    transaction.changed()
            return noted

        noted = await self.database.write(write)
        self.forget_answers()
        self.tally.revocation(after.issuer_id, before.state, after.state)
        if event is not None:
            self.events.announce(event)
        if failed is not None:
            await self.conditions.announce(noted, failed.made_with)
        report = log.warning if after.state is RevocationState.REFUSED else log.info
        report(
            "revocation",
            revocation=after.id,
            action=after.action.value,
            state=after.state.value,
            problem=after.problem,
        )

    async def _version(self, record: RevocationRecord) -> VersionRecord:
        def load(connection: Connection) -> VersionRecord:
            found = get_version(connection, record.certificate_id, record.version_id)
            if found is None:
                raise AssertionError("a revocation's version is never removed before it")
            return found

        return await self.database.read(load)

    def _age(self, record: RevocationRecord) -> float:
        return (self.clock.now_ms() - record.requested_at) / 1000

    async def _postpone(self, record: RevocationRecord, problem: str) -> None:
        wait = _ISSUER_NOT_READY_WAIT * self.schedule.scale
        due_at = self.clock.now_ms() + round(wait * 1000)
        await self._store(replace(record, due_at=due_at, problem=problem))

    async def _store(self, record: RevocationRecord) -> None:
        after = replace(record, updated_at=self.clock.now_ms())
        await self.database.write(lambda transaction: store_revocation(transaction, after))


async def _tell(
    connector: Connector, record: RevocationRecord, version: VersionRecord
) -> Revoked | RevocationPending:
    request = RevocationRequest(
        certificate=x509.load_der_x509_certificate(version.der),
        reference={} if version.reference is None else json.loads(version.reference),
        reason=record.reason,
    )
    told = record.state is RevocationState.TOLD and record.reference is not None
    if told and record.reference is not None and isinstance(connector, PollsRevocations):
        return await connector.poll_revocation(request, record.reference)
    if record.action is RevocationAction.REVOKE:
        return await connector.revoke(request)
    if isinstance(connector, ReleasesHolds):
        return await connector.release(request)
    raise Refused("this type of issuer cannot take back a hold")


def _news(
    before: RevocationRecord, after: RevocationRecord, failed: _Failed | None
) -> Event | None:
    """What operators are told: a final no, and every fifth time in a row that nothing was heard."""
    if failed is None:
        return None
    if after.state is RevocationState.REFUSED:
        kind = EventKind.REVOCATION_REFUSED
    elif (
        after.attempts > before.attempts
        and after.attempts % outcomes.FAILURES_PER_EVENT == 0
        and not isinstance(failed.error, RateLimited)
    ):
        kind = EventKind.ATTEMPT_FAILED
    else:
        return None
    return Event(
        kind,
        after.updated_at,
        after.issuer_id,
        failed.error.detail,
        certificate_id=after.certificate_id,
        revocation_id=after.id,
    )


def _event(record: RevocationRecord, now_ms: int) -> AuditEvent:
    noun = "revocation" if record.action is RevocationAction.REVOKE else "release"
    return AuditEvent(
        at_ms=now_ms,
        actor=SYSTEM.id,
        action=f"{noun}.{record.state.value}",
        object_type="certificate",
        object_id=record.certificate_id,
        detail={
            "version_id": record.version_id,
            "issuer_id": record.issuer_id,
            "serial": record.serial,
            "reason": record.reason.value,
        },
    )
