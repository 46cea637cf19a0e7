"""Revocations as rows that are their own queue, one for each version that was declared invalid."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from certctl.domain.revocations import RevocationAction, RevocationReason, RevocationState
from certctl.storage.leases import RELEASED, Leases, TakenOver
from certctl.storage.scopes import within_certificate
from certctl.storage.tables import revocations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection
    from sqlalchemy import Row as SqlRow

    from certctl.domain.access import Scope
    from certctl.storage.database import Transaction

LEASES = Leases(revocations, group=revocations.c.issuer_id)


@dataclass(slots=True)
class RevocationRecord:
    """A version declared invalid. Times in milliseconds; `requested_at` is when the CA was to be
    told what it is told now, `revoked_at` the date that CRL and OCSP give."""

    id: str
    version_id: str
    certificate_id: str
    issuer_id: str
    serial: str
    not_after: int
    reason: RevocationReason
    action: RevocationAction
    state: RevocationState
    problem: str | None
    reference: dict[str, Any] | None
    attempts: int
    bulk_id: str | None
    revoked_at: int
    requested_at: int
    due_at: int | None
    epoch: int
    created_at: int
    updated_at: int


def _values(record: RevocationRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "version_id": record.version_id,
        "certificate_id": record.certificate_id,
        "issuer_id": record.issuer_id,
        "serial": record.serial,
        "not_after": record.not_after,
        "reason": record.reason.value,
        "action": record.action.value,
        "state": record.state.value,
        "problem": record.problem,
        "reference": None if record.reference is None else json.dumps(record.reference),
        "attempts": record.attempts,
        "bulk_id": record.bulk_id,
        "revoked_at": record.revoked_at,
        "requested_at": record.requested_at,
        "due_at": record.due_at,
        "epoch": record.epoch,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def load_revocation(row: SqlRow[Any]) -> RevocationRecord:
    """A revocation from its row."""
    return RevocationRecord(
        id=row.id,
        version_id=row.version_id,
        certificate_id=row.certificate_id,
        issuer_id=row.issuer_id,
        serial=row.serial,
        not_after=row.not_after,
        reason=RevocationReason(row.reason),
        action=RevocationAction(row.action),
        state=RevocationState(row.state),
        problem=row.problem,
        reference=None if row.reference is None else json.loads(row.reference),
        attempts=row.attempts,
        bulk_id=row.bulk_id,
        revoked_at=row.revoked_at,
        requested_at=row.requested_at,
        due_at=row.due_at,
        epoch=row.epoch,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


_INSERT = insert(revocations)


def insert_revocations(transaction: Transaction, records: Sequence[RevocationRecord]) -> None:
    """Store new revocations. Two for one version are a Duplicate."""
    if records:
        transaction.execute(_INSERT, [_values(record) for record in records])


_OF_CERTIFICATE = select(revocations).where(revocations.c.certificate_id == bindparam("which"))
_LOCK_OF_CERTIFICATE = _OF_CERTIFICATE.with_for_update()


def revocations_of(connection: Connection, certificate_id: str) -> dict[str, RevocationRecord]:
    """The revocations of a certificate's versions, by version id."""
    rows = connection.execute(_OF_CERTIFICATE, {"which": certificate_id})
    return {row.version_id: load_revocation(row) for row in rows}


def lock_revocations_of(
    transaction: Transaction, certificate_id: str
) -> dict[str, RevocationRecord]:
    """The same, held until the transaction ends, so that a step under way cannot change them."""
    rows = transaction.execute(_LOCK_OF_CERTIFICATE, {"which": certificate_id})
    return {row.version_id: load_revocation(row) for row in rows}


_AMONG = select(revocations.c.version_id).where(
    revocations.c.certificate_id.in_(bindparam("ids", expanding=True))
)


def revoked_among(connection: Connection, certificate_ids: Sequence[str]) -> set[str]:
    """The ids of those versions of these certificates that have a revocation."""
    return set(connection.execute(_AMONG, {"ids": list(certificate_ids)}).scalars())


_STORE = (
    update(revocations)
    .where(revocations.c.id == bindparam("which"), revocations.c.epoch == bindparam("fence"))
    .values(
        reason=bindparam("new_reason"),
        action=bindparam("new_action"),
        state=bindparam("new_state"),
        problem=bindparam("new_problem"),
        reference=bindparam("new_reference"),
        attempts=bindparam("new_attempts"),
        requested_at=bindparam("new_requested_at"),
        due_at=bindparam("new_due_at"),
        updated_at=bindparam("new_updated_at"),
        **RELEASED,
    )
)
_RESTART = _STORE.values(epoch=revocations.c.epoch + 1)


def _changes(record: RevocationRecord) -> dict[str, Any]:
    return {
        "which": record.id,
        "fence": record.epoch,
        "new_reason": record.reason.value,
        "new_action": record.action.value,
        "new_state": record.state.value,
        "new_problem": record.problem,
        "new_reference": None if record.reference is None else json.dumps(record.reference),
        "new_attempts": record.attempts,
        "new_requested_at": record.requested_at,
        "new_due_at": record.due_at,
        "new_updated_at": record.updated_at,
    }


def store_revocation(transaction: Transaction, record: RevocationRecord) -> None:
    """Write back what a step came to, and release it. Raises TakenOver past its epoch."""
    if not transaction.execute(_STORE, _changes(record)).rowcount:
        raise TakenOver


def restart_revocation(transaction: Transaction, record: RevocationRecord) -> None:
    """Write what the CA is to be told from now on; a step under way changes nothing any more."""
    if not transaction.execute(_RESTART, _changes(record)).rowcount:
        raise TakenOver


_POSTPONED = (
    select(revocations.c.id)
    .where(
        revocations.c.issuer_id == bindparam("issuer"),
        revocations.c.due_at > bindparam("now"),
        revocations.c.due_at <= bindparam("until"),
    )
    .with_for_update(skip_locked=True)
)
_WAKE = update(revocations).where(revocations.c.id.in_(_POSTPONED)).values(due_at=bindparam("now"))


def wake_revocations(transaction: Transaction, issuer_id: str, now_ms: int, until_ms: int) -> None:
    """Make due now what an issuer's CA was to be told until then. Rows in use stay as they are."""
    transaction.execute(_WAKE, {"issuer": issuer_id, "now": now_ms, "until": until_ms})


_DELETE = delete(revocations).where(
    revocations.c.id == bindparam("which"), revocations.c.epoch == bindparam("fence")
)


def delete_revocation(transaction: Transaction, record: RevocationRecord) -> None:
    """Forget a hold that has ended. Raises TakenOver when its epoch has passed."""
    if not transaction.execute(_DELETE, {"which": record.id, "fence": record.epoch}).rowcount:
        raise TakenOver


def list_revocations(
    connection: Connection,
    *,
    limit: int,
    before: str | None,
    state: RevocationState | None,
    bulk_id: str | None,
    scope: Scope | None,
) -> list[RevocationRecord]:
    """Revocations within a scope with ids below `before`, newest first.

    Of one state or bulk where given.
    """
    statement = select(revocations).order_by(revocations.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(revocations.c.id < before)
    if state is not None:
        statement = statement.where(revocations.c.state == state.value)
    if bulk_id is not None:
        statement = statement.where(revocations.c.bulk_id == bulk_id)
    statement = statement.where(
        *within_certificate(revocations.c.certificate_id, scope, connection.dialect)
    )
    return [load_revocation(row) for row in connection.execute(statement)]


_COUNTS = (
    select(revocations.c.bulk_id, revocations.c.state, func.count().label("rows"))
    .where(revocations.c.bulk_id.in_(bindparam("bulk_ids", expanding=True)))
    .group_by(revocations.c.bulk_id, revocations.c.state)
)


def count_by_state(
    connection: Connection, bulk_ids: Sequence[str]
) -> dict[str, dict[RevocationState, int]]:
    """How many revocations of each bulk stand where."""
    counts: dict[str, dict[RevocationState, int]] = {bulk_id: {} for bulk_id in bulk_ids}
    for row in connection.execute(_COUNTS, {"bulk_ids": list(bulk_ids)}):
        counts[row.bulk_id][RevocationState(row.state)] = row.rows
    return counts
