"""Many certificates revoked by one request: some at a time, and on after a restart."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict, InvalidInput, NotFound
from certctl.domain.ids import new_id
from certctl.domain.imports import EXTERNAL_TYPE
from certctl.domain.revocations import RevocationReason
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.revocations import Recorder
from certctl.storage.bulk_revocations import (
    BulkRecord,
    BulkState,
    cancel_bulk,
    count_fitting,
    get_bulk,
    insert_bulk,
    list_bulk,
    list_fitting,
    load_bulk,
    store_bulk,
)
from certctl.storage.database import Duplicate
from certctl.storage.revocations import count_by_state, revoked_among
from certctl.storage.scopes import scope_values
from certctl.storage.versions import valid_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from certctl.domain.clock import Clock
    from certctl.domain.revocations import RevocationState
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.scheduler import Scheduler
    from certctl.storage.bulk_revocations import RevocationFilter
    from certctl.storage.database import Connection, Database, SqlRow, Transaction
    from certctl.storage.inventory import CertificateLine

log = structlog.get_logger(__name__)

#: Certificates revoked in one transaction.
BATCH = 100

Progress = tuple[BulkRecord, "dict[RevocationState, int]"]


class BulkRevocations:
    """Takes bulk revocations, and tells how far they are."""

    def __init__(
        self, database: Database, catalog: Catalog, clock: Clock, scheduler: Scheduler
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._scheduler = scheduler

    async def preview(
        self, actor: Actor, wanted: RevocationFilter, *, limit: int, before: str | None
    ) -> tuple[list[CertificateLine], int]:
        """What a filter finds now, newest first, and how many in all; nothing is changed.

        Nothing beyond the caller's scope is found, nor counted.
        """
        now = self._clock.now_ms()
        wanted = replace(wanted, scope=actor.scope)

        def load(connection: Connection) -> tuple[list[CertificateLine], int]:
            lines = list_fitting(connection, wanted, now_ms=now, limit=limit, before=before)
            return lines, count_fitting(connection, wanted, now)

        return await self._database.read(load)

    async def start(
        self, actor: Actor, wanted: RevocationFilter, reason: RevocationReason, expected: int
    ) -> Progress:
        """Revoke what a filter finds within the caller's scope.

        Raises Conflict when that is another number than expected.
        """
        wanted = replace(wanted, scope=actor.scope)
        self._check_hold(wanted, reason)
        now = self._clock.now_ms()
        bulk_id = new_id("bulk", now)

        def write(transaction: Transaction) -> BulkRecord:
            total = count_fitting(transaction.connection, wanted, now)
            if total != expected:
                raise Conflict(
                    "bulk-count-changed",
                    f"the filter finds another number of certificates now: {total}",
                    field="expected",
                    hint="look at the preview again, then try again with its total",
                )
            newest = list_fitting(transaction.connection, wanted, now_ms=now, limit=1)
            record = BulkRecord(
                id=bulk_id,
                filter=wanted,
                reason=reason,
                actor=actor.id,
                state=BulkState.RUNNING,
                total=total,
                done=0,
                # Ids sort by time: from the newest one counted, it included, to the oldest.
                position=f"{newest[0].id}z" if newest else "",
                due_at=now,
                epoch=0,
                created_at=now,
                updated_at=now,
            )
            insert_bulk(transaction, record)
            detail: dict[str, Any] = {
                "filter": _told(wanted),
                "reason": reason.value,
                "total": total,
            }
            if wanted.scope is not None:
                detail["scope"] = scope_values(wanted.scope)
            transaction.audit(_event(record, actor.id, "bulk_revocation.started", now, detail))
            return record

        record = await self._database.write(write)
        self._scheduler.wake()
        return record, {}

    async def get(self, bulk_id: str) -> Progress:
        """One of them; NotFound if there is none."""

        def load(connection: Connection) -> Progress:
            record = get_bulk(connection, bulk_id)
            if record is None:
                raise bulk_not_found()
            return record, count_by_state(connection, [bulk_id])[bulk_id]

        return await self._database.read(load)

    async def list(self, actor: Actor, *, limit: int, before: str | None) -> Sequence[Progress]:
        """Those with ids below `before`, newest first; with a scope, those that the caller began.

        Others may have found what is out of it, and their numbers would tell.
        """
        started_by = None if actor.scope is None else actor.id

        def load(connection: Connection) -> Sequence[Progress]:
            records = list_bulk(connection, limit=limit, before=before, started_by=started_by)
            counts = count_by_state(connection, [record.id for record in records])
            return [(record, counts[record.id]) for record in records]

        return await self._database.read(load)

    async def cancel(self, actor: Actor, bulk_id: str) -> Progress:
        """Stop one where it is; what it has revoked stays revoked. Conflict once it is done."""
        now = self._clock.now_ms()

        def write(transaction: Transaction) -> None:
            record = get_bulk(transaction.connection, bulk_id)
            if record is None:
                raise bulk_not_found()
            if record.state is BulkState.CANCELLED:
                return
            if not cancel_bulk(transaction, bulk_id, now):
                raise Conflict(
                    "bulk-revocation-done",
                    "it is done: there is nothing left to stop",
                    hint="a revocation cannot be taken back; a hold can, one by one",
                )
            detail = {"done": record.done, "total": record.total}
            transaction.audit(_event(record, actor.id, "bulk_revocation.cancelled", now, detail))

        await self._database.write(write)
        return await self.get(bulk_id)

    def _check_hold(self, wanted: RevocationFilter, reason: RevocationReason) -> None:
        if reason is not RevocationReason.CERTIFICATE_HOLD:
            return
        for issuer in self._catalog.issuers():
            issuer_id = issuer.record.id
            meant = (
                issuer.record.type != EXTERNAL_TYPE  # whose certificates no filter finds
                and wanted.issuer_id in {None, issuer_id}
                and (wanted.scope is None or wanted.scope.admits_issuer(issuer_id))
            )
            if meant and (issuer.connector is None or not issuer.connector.abilities.hold):
                raise InvalidInput(
                    "hold-not-supported",
                    "not every issuer that the filter reaches can put a certificate on hold",
                    field="reason",
                    hint="name one issuer that can, or revoke for good, with another reason",
                )


class BulkStep:
    """Carries a bulk revocation on by one batch. `forget_answers` drops the kept OCSP answers."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        forget_answers: Callable[[], None],
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._forget_answers = forget_answers

    async def step(self, row: SqlRow[Any]) -> bool:
        """Revoke the next batch of a claimed row; whether it is at its end.

        Raises TakenOver if it was cancelled or claimed by another process meanwhile.
        """
        record = load_bulk(row)
        if record.state is not BulkState.RUNNING:
            await self._database.write(partial(_store, record=replace(record, due_at=None)))
            return True
        now = self._clock.now_ms()
        lines = await self._database.read(
            lambda connection: list_fitting(
                connection, record.filter, now_ms=now, limit=BATCH, before=record.position
            )
        )
        done = len(lines) < BATCH
        after = replace(
            record,
            state=BulkState.DONE if done else BulkState.RUNNING,
            done=record.done + len(lines),
            position=lines[-1].id if lines else record.position,
            due_at=None if done else now,
            updated_at=now,
        )
        write = partial(self._write, record=after, lines=lines)
        try:
            await self._database.write(write)
        except Duplicate:  # one of them was revoked by somebody else at the same moment
            await self._database.write(write)
        self._forget_answers()
        log.info("bulk revocation", bulk=record.id, done=after.done, total=after.total)
        return done

    def _write(
        self, transaction: Transaction, *, record: BulkRecord, lines: Sequence[CertificateLine]
    ) -> None:
        now = record.updated_at
        store_bulk(transaction, record)
        ids = [line.id for line in lines]
        revoked = revoked_among(transaction.connection, ids)
        found = valid_versions(transaction.connection, ids, now)
        by_issuer: dict[str, list[Any]] = {}
        for version in found:
            if version.id not in revoked:
                by_issuer.setdefault(version.issuer_id, []).append(version)
        for issuer_id, versions in by_issuer.items():
            connector = self._catalog.issuer(issuer_id).connector
            recorder = Recorder(record.actor, record.reason, now, connector, record.id)
            recorder.revoke_versions(transaction, versions)
            own = [line.id for line in lines if line.issuer_id == issuer_id]
            recorder.end_renewal(transaction, own)
        if record.state is BulkState.DONE:
            detail = {"done": record.done}
            transaction.audit(_event(record, SYSTEM.id, "bulk_revocation.done", now, detail))


def _store(transaction: Transaction, record: BulkRecord) -> None:
    store_bulk(transaction, record)


def _told(wanted: RevocationFilter) -> dict[str, Any]:
    told = asdict(replace(wanted, scope=None))
    return {name: value for name, value in told.items() if value not in {None, False}}


def _event(
    record: BulkRecord, actor: str, action: str, now_ms: int, detail: dict[str, Any]
) -> AuditEvent:
    return AuditEvent(now_ms, actor, action, "bulk_revocation", record.id, detail)


def bulk_not_found() -> NotFound:
    """There is no bulk revocation of that id."""
    return NotFound(
        "bulk-revocation-not-found",
        "there is no bulk revocation of that id",
        hint="list them: GET /api/v1/bulk-revocations, or `certctl revocations bulk`",
    )
