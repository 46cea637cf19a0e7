"""Bulk revocations as rows that are their own queue, and the certificates that a filter finds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, insert, select, update

from certctl.domain.imports import IMPORTED_PROFILE_ID
from certctl.domain.revocations import RevocationReason
from certctl.storage.inventory import CertificateLine, inventory_line, inventory_query
from certctl.storage.leases import RELEASED, Leases, TakenOver
from certctl.storage.scopes import load_scope, scope_values, within
from certctl.storage.tables import bulk_revocations, certificate_names, certificates, versions

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Select
    from sqlalchemy import Row as SqlRow

    from certctl.domain.access import Scope
    from certctl.storage.database import Transaction

LEASES = Leases(bulk_revocations)


class BulkState(StrEnum):
    """Where a bulk revocation stands."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class RevocationFilter:
    """Which certificates: those that fit every part that is not None. Times in milliseconds.

    `name` is a canonical name, or the end of one with its dot in front where `below` is set.
    """

    issuer_id: str | None = None
    profile_id: str | None = None
    owner: str | None = None
    name: str | None = None
    below: bool = False
    issued_after: int | None = None
    issued_before: int | None = None
    #: Of the key that asked: nothing beyond it is found.
    scope: Scope | None = None


def _encode_filter(wanted: RevocationFilter) -> str:
    parts = asdict(replace(wanted, scope=None))
    del parts["scope"]
    if wanted.scope is not None:
        parts["scope"] = scope_values(wanted.scope)
    return json.dumps(parts)


def _decode_filter(text: str) -> RevocationFilter:
    parts = json.loads(text)
    scope = parts.pop("scope", None)
    return RevocationFilter(**parts, scope=None if scope is None else load_scope(scope))


@dataclass(slots=True)
class BulkRecord:
    """Many certificates revoked by one request. `position` is the last certificate looked at."""

    id: str
    filter: RevocationFilter
    reason: RevocationReason
    actor: str
    state: BulkState
    total: int
    done: int
    position: str
    due_at: int | None
    epoch: int
    created_at: int
    updated_at: int


def load_bulk(row: SqlRow[Any]) -> BulkRecord:
    """A bulk revocation from its row."""
    return BulkRecord(
        id=row.id,
        filter=_decode_filter(row.filter),
        reason=RevocationReason(row.reason),
        actor=row.actor,
        state=BulkState(row.state),
        total=row.total,
        done=row.done,
        position=row.position,
        due_at=row.due_at,
        epoch=row.epoch,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def insert_bulk(transaction: Transaction, record: BulkRecord) -> None:
    """Store a new one."""
    transaction.execute(
        insert(bulk_revocations),
        {
            "id": record.id,
            "filter": _encode_filter(record.filter),
            "reason": record.reason.value,
            "actor": record.actor,
            "state": record.state.value,
            "total": record.total,
            "done": record.done,
            "position": record.position,
            "due_at": record.due_at,
            "epoch": record.epoch,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        },
    )


_GET = select(bulk_revocations).where(bulk_revocations.c.id == bindparam("which"))


def get_bulk(connection: Connection, bulk_id: str) -> BulkRecord | None:
    """One of them, or None."""
    row = connection.execute(_GET, {"which": bulk_id}).first()
    return None if row is None else load_bulk(row)


def list_bulk(
    connection: Connection, *, limit: int, before: str | None, started_by: str | None
) -> list[BulkRecord]:
    """Those with ids below `before`, newest first; with `started_by` those of that key."""
    statement = select(bulk_revocations).order_by(bulk_revocations.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(bulk_revocations.c.id < before)
    if started_by is not None:
        statement = statement.where(bulk_revocations.c.actor == started_by)
    return [load_bulk(row) for row in connection.execute(statement)]


_STORE = (
    update(bulk_revocations)
    .where(
        bulk_revocations.c.id == bindparam("which"),
        bulk_revocations.c.epoch == bindparam("fence"),
    )
    .values(
        state=bindparam("new_state"),
        done=bindparam("new_done"),
        position=bindparam("new_position"),
        due_at=bindparam("new_due_at"),
        updated_at=bindparam("now"),
        **RELEASED,
    )
)


def store_bulk(transaction: Transaction, record: BulkRecord) -> None:
    """Write back how far it is, and release it. Raises TakenOver past its epoch."""
    values = {
        "which": record.id,
        "fence": record.epoch,
        "new_state": record.state.value,
        "new_done": record.done,
        "new_position": record.position,
        "new_due_at": record.due_at,
        "now": record.updated_at,
    }
    if not transaction.execute(_STORE, values).rowcount:
        raise TakenOver


_CANCEL = (
    update(bulk_revocations)
    .where(
        bulk_revocations.c.id == bindparam("which"),
        bulk_revocations.c.state == BulkState.RUNNING.value,
    )
    .values(
        state=BulkState.CANCELLED.value,
        due_at=None,
        epoch=bulk_revocations.c.epoch + 1,
        updated_at=bindparam("now"),
        **RELEASED,
    )
)


def cancel_bulk(transaction: Transaction, bulk_id: str, now_ms: int) -> bool:
    """Stop a running one where it is; False when it does not run."""
    return bool(transaction.execute(_CANCEL, {"which": bulk_id, "now": now_ms}).rowcount)


def _fitting(
    statement: Select[Any], wanted: RevocationFilter, now_ms: int, dialect: Dialect
) -> Select[Any]:
    """Certificates whose newest version is neither expired nor revoked, and that fit the filter.

    Archived ones too: whoever has their keys can use them. Not what was imported, which only its
    own CA can revoke.
    """
    statement = statement.where(
        certificates.c.status == "issued",
        certificates.c.not_after >= now_ms,
        certificates.c.profile_id != IMPORTED_PROFILE_ID,
    )
    for column in ("issuer_id", "profile_id", "owner"):
        value = getattr(wanted, column)
        if value is not None:
            statement = statement.where(certificates.c[column] == value)
    if wanted.name is not None:
        names = certificate_names.c
        fits = (
            and_(names.kind == "dns", names.value.endswith(wanted.name, autoescape=True))
            if wanted.below
            else names.value == wanted.name
        )
        statement = statement.where(certificates.c.id.in_(select(names.certificate_id).where(fits)))
    if wanted.issued_after is not None:
        statement = statement.where(versions.c.not_before >= wanted.issued_after)
    if wanted.issued_before is not None:
        statement = statement.where(versions.c.not_before < wanted.issued_before)
    return statement.where(*within(wanted.scope, dialect))


def count_fitting(connection: Connection, wanted: RevocationFilter, now_ms: int) -> int:
    """How many certificates a filter finds now."""
    joined = certificates.join(versions, versions.c.id == certificates.c.version_id)
    counted = select(func.count()).select_from(joined)
    statement = _fitting(counted, wanted, now_ms, connection.dialect)
    return int(connection.execute(statement).scalar_one())


def list_fitting(
    connection: Connection,
    wanted: RevocationFilter,
    *,
    now_ms: int,
    limit: int,
    before: str | None = None,
) -> list[CertificateLine]:
    """Certificates that a filter finds now, with ids below `before`, newest first."""
    statement = _fitting(inventory_query(limit), wanted, now_ms, connection.dialect)
    if before is not None:
        statement = statement.where(certificates.c.id < before)
    return [inventory_line(row) for row in connection.execute(statement)]
