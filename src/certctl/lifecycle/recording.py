"""What came of a step is written: order, attempt, certificate, events, the issuer's condition."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import structlog

from certctl.domain.errors import Unavailable
from certctl.domain.orders import OPEN_STATES, OrderState, may_follow
from certctl.lifecycle import outcomes
from certctl.lifecycle.conditions import Noted
from certctl.lifecycle.keeping import keep_newest
from certctl.lifecycle.outcomes import Outcome
from certctl.lifecycle.results import apply, audit_of, event_of
from certctl.storage.certificates import mark_failed
from certctl.storage.conditions import still_stands
from certctl.storage.database import Duplicate
from certctl.storage.leases import TakenOver
from certctl.storage.orders import add_attempt, get_order, store_order
from certctl.storage.versions import DUPLICATE_ID, DUPLICATE_SERIAL, version_of_serial

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.connectors.contract import Connector
    from certctl.domain.clock import Clock
    from certctl.lifecycle.conditions import Conditions
    from certctl.lifecycle.events import Events
    from certctl.lifecycle.late_answers import LateAnswers
    from certctl.lifecycle.results import StepResult
    from certctl.storage.conditions import ConditionRecord
    from certctl.storage.database import Connection, Database, Transaction
    from certctl.storage.orders import OrderRecord
    from certctl.storage.versions import VersionRecord

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: After a failure with settings that were changed meanwhile, in milliseconds, whatever the scale:
#: as long as the new ones may take to be known everywhere.
STALE_WAIT_MS = 1000
#: An answer in hand is worth more than one try to store it: seconds between them.
_STORE_AGAIN = (0.5, 1.0, 2.0, 4.0, 8.0)
_STOPPING = "server-stopping"


@dataclass(frozen=True, slots=True)
class Recording:
    """Writes what came of the steps of orders, fenced by the epochs they were claimed under."""

    database: Database
    clock: Clock
    conditions: Conditions
    late_answers: LateAnswers
    events: Events

    async def store(self, order: OrderRecord, *, release: bool = True) -> OrderRecord:
        """Write an order of which nobody was asked. Raises TakenOver past its epoch."""
        after = replace(order, updated_at=self.clock.now_ms())

        def write(transaction: Transaction) -> None:
            if not store_order(transaction, after, release=release):
                raise TakenOver

        await self.database.write(write)
        return after

    async def put_off(self, order: OrderRecord, because: ConditionRecord) -> OrderRecord:
        """Write an order that waits for a condition to end, until `due_at`. Raises TakenOver.

        Another process may have ended it a moment ago, and woken the order: then it is looked at
        again in a second, when this process has heard of it.
        """
        now = self.clock.now_ms()
        after = replace(order, updated_at=now)

        def write(transaction: Transaction) -> OrderRecord:
            stored = after
            if after.due_at is not None and not still_stands(transaction, because):
                stored = replace(after, due_at=min(after.due_at, now + STALE_WAIT_MS))
            if not store_order(transaction, stored, release=True):
                raise TakenOver
            return stored

        return await self.database.write(write)

    async def record(
        self,
        order: OrderRecord,
        connector: Connector | None,
        result: StepResult,
        *,
        release: bool = True,
    ) -> OrderRecord:
        """Write a step's result in one transaction, and return the order as it is stored.

        Past the order's epoch it is a late answer. Raises TakenOver then, unless the order takes
        it; Unavailable while the database is not there.
        """
        now = self.clock.now_ms()
        after = apply(order, result, now)
        if after.state is not order.state and not may_follow(order.state, after.state):
            raise AssertionError(f"an order cannot go from {order.state} to {after.state}")
        event = event_of(after, result)
        made_with = None if result.error is None else result.made_with
        files_changed = made_with is not None and self.conditions.files_changed(made_with)

        def write(transaction: Transaction) -> tuple[OrderRecord, Noted]:
            stored = after
            noted = self._note(transaction, result, files_changed=files_changed)
            if noted.is_stale and after.due_at is not None:
                stored = replace(after, due_at=min(after.due_at, now + STALE_WAIT_MS))
            if not store_order(transaction, stored, release=release):
                raise TakenOver
            _write_rest(transaction, order, stored, connector, result)
            if event is not None:
                self.events.record(transaction, event)
            return stored, noted

        try:
            stored, noted = await self._write(write)
        except TakenOver:
            if connector is None or result.outcome is Outcome.LOST:
                raise
            return await self.late_answers.take(order, result, connector.recovery)
        except Duplicate as duplicate:
            known = duplicate.constraint in {DUPLICATE_ID, DUPLICATE_SERIAL}
            if result.version is None or not known:
                raise
            return await self._record_known(order, connector, result, result.version)
        if event is not None:
            self.events.announce(event)
        if made_with is not None:
            await self.conditions.announce(noted, made_with)
        report = log.info if stored.state is not OrderState.UNCERTAIN else log.error
        report("order", order=stored.id, state=stored.state.value, problem=stored.problem)
        return stored

    def _note(self, transaction: Transaction, result: StepResult, *, files_changed: bool) -> Noted:
        if result.error is None or result.made_with is None:
            return Noted()
        return self.conditions.note(
            transaction, result.made_with, result.error, files_changed=files_changed
        )

    async def _record_known(
        self,
        order: OrderRecord,
        connector: Connector | None,
        result: StepResult,
        version: VersionRecord,
    ) -> OrderRecord:
        """Record an answer whose certificate is stored already.

        Either this very step has stored it, and did not hear of its commit; or the CA answered with
        the certificate of another order.
        """

        def load(connection: Connection) -> tuple[OrderRecord | None, VersionRecord | None]:
            known = version_of_serial(connection, version.issuer_id, version.serial)
            return get_order(connection, order.id), known

        present, known = await self.database.read(load)
        if present is not None and known is not None and present.version_id == known.id:
            return present
        return await self.record(
            order,
            connector,
            replace(
                result,
                outcome=Outcome.WRONG_CERTIFICATE,
                decision=outcomes.after_wrong_certificate(result.action),
                detail=f"the CA answered with a certificate of before (serial {version.serial})",
                answer=None,
                version=None,
            ),
        )

    async def _write(self, write: Callable[[Transaction], T]) -> T:
        """Store an answer, again and again while the database is away for a moment."""
        for pause in _STORE_AGAIN:
            try:
                return await self.database.write(write)
            except Unavailable as error:
                if error.code == _STOPPING:
                    raise
                log.warning("answer not stored yet", problem=error.detail)
            await asyncio.sleep(pause)
        return await self.database.write(write)


def _write_rest(
    transaction: Transaction,
    before: OrderRecord,
    after: OrderRecord,
    connector: Connector | None,
    result: StepResult,
) -> None:
    """Write what belongs to an order that was just stored."""
    add_attempt(transaction, after.id, result.attempt())
    if result.version is not None:
        keep_newest(transaction, connector, result.version, after.updated_at)
    elif after.state not in OPEN_STATES:
        mark_failed(transaction, after.certificate_id, after.updated_at)
    if after.state is not before.state:
        transaction.audit(audit_of(after, result.version))
