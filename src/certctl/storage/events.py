"""What the webhook is still to be told: rows that are their own queue, deleted once delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from certctl.storage.leases import RELEASED, Leases
from certctl.storage.tables import events

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy import Row as SqlRow

    from certctl.storage.database import Transaction

LEASES = Leases(events)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event that was not delivered yet. Times in milliseconds; `body` is sent as it is."""

    id: str
    kind: str
    body: str
    attempts: int
    problem: str | None
    due_at: int | None
    epoch: int
    created_at: int


def load_event(row: SqlRow[Any]) -> EventRecord:
    """An event from its row."""
    return EventRecord(
        id=row.id,
        kind=row.kind,
        body=row.body,
        attempts=row.attempts,
        problem=row.problem,
        due_at=row.due_at,
        epoch=row.epoch,
        created_at=row.created_at,
    )


_INSERT = insert(events)


def insert_event(
    transaction: Transaction, *, event_id: str, kind: str, body: str, now_ms: int
) -> None:
    """Have an event delivered, beginning now."""
    row = {
        "id": event_id,
        "kind": kind,
        "body": body,
        "attempts": 0,
        "due_at": now_ms,
        "epoch": 0,
        "created_at": now_ms,
        "updated_at": now_ms,
    }
    transaction.execute(_INSERT, row)


_IS_CLAIM = (events.c.id == bindparam("which")) & (events.c.epoch == bindparam("claimed"))
_DELETE = delete(events).where(_IS_CLAIM)
_POSTPONE = (
    update(events)
    .where(_IS_CLAIM)
    .values(
        attempts=bindparam("tried"),
        problem=bindparam("why"),
        due_at=bindparam("due"),
        updated_at=bindparam("now"),
        **RELEASED,
    )
)


def delete_event(transaction: Transaction, record: EventRecord) -> bool:
    """Be done with an event; False when it was claimed anew or dropped meanwhile."""
    values = {"which": record.id, "claimed": record.epoch}
    return transaction.execute(_DELETE, values).rowcount == 1


def postpone_event(
    transaction: Transaction, record: EventRecord, *, problem: str, due_at: int, now_ms: int
) -> bool:
    """Count a failed attempt; False when it was claimed anew or dropped meanwhile."""
    values = {
        "which": record.id,
        "claimed": record.epoch,
        "tried": record.attempts + 1,
        "why": problem,
        "due": due_at,
        "now": now_ms,
    }
    return transaction.execute(_POSTPONE, values).rowcount == 1


_TOO_MANY = (
    select(events.c.id).order_by(events.c.id.desc()).limit(1).offset(bindparam("keep"))
).scalar_subquery()
_DROP = delete(events).where(events.c.id <= _TOO_MANY)


def drop_oldest_events(transaction: Transaction, keep: int) -> int:
    """Drop the oldest events beyond the newest `keep`, and say how many."""
    return transaction.execute(_DROP, {"keep": keep}).rowcount


_COUNT = select(func.count()).select_from(events)


def count_events(connection: Connection) -> int:
    """How many events were not delivered yet."""
    return int(connection.execute(_COUNT).scalar_one())
