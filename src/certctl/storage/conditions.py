"""Issuers' conditions: why a CA is left alone for now, as rows that are due when it is tried again.

A condition that has ended by itself is remembered for a while, so that one that comes back at once
is the same one, and nobody is alarmed a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, select, text, update

from certctl.storage.leases import RELEASED, Leases, TakenOver
from certctl.storage.tables import issuer_conditions, issuers

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy import Row as SqlRow

    from certctl.storage.database import Transaction

LEASES = Leases(issuer_conditions)

_TRIES = 3


class ConditionState(StrEnum):
    """Why."""

    OPEN = "open"  # the circuit is open: credentials or settings do not work
    QUOTA = "quota"  # the account has nothing left to issue
    CLOSED = "closed"  # the CA took its test: remembered, until the next orders have shown it
    REFILLED = "refilled"  # the quota's hour is over: remembered, until the next orders have asked


#: The conditions in which the CA is left alone.
STANDING = frozenset({ConditionState.OPEN, ConditionState.QUOTA})


@dataclass(frozen=True, slots=True)
class ConditionRecord:
    """One issuer's condition. Times in milliseconds; `due_at` is when the CA is tried again."""

    issuer_id: str
    state: ConditionState
    problem: str
    since: int
    #: Of the issuer's settings, when this began.
    revision: int
    due_at: int | None
    #: How often the circuit has opened since then.
    openings: int = 1
    epoch: int = 0


def load_condition(row: SqlRow[Any]) -> ConditionRecord:
    """A condition from its row."""
    return ConditionRecord(
        issuer_id=row.issuer_id,
        state=ConditionState(row.state),
        problem=row.problem,
        since=row.since,
        revision=row.revision,
        due_at=row.due_at,
        openings=row.openings or 1,
        epoch=row.epoch,
    )


_STANDING = select(issuer_conditions).where(
    issuer_conditions.c.state.in_(sorted(state.value for state in STANDING))
)


def list_conditions(connection: Connection) -> dict[str, ConditionRecord]:
    """The condition of every issuer whose CA is left alone, by the issuer's id."""
    return {row.issuer_id: load_condition(row) for row in connection.execute(_STANDING)}


# Both databases spell it so.
_INSERT = text(
    "INSERT INTO issuer_conditions (issuer_id, state, problem, since, revision, openings,"
    " due_at, epoch, created_at, updated_at)"
    " VALUES (:issuer_id, :state, :problem, :since, :revision, :openings, :due_at, 0, :now, :now)"
    " ON CONFLICT (issuer_id) DO NOTHING"
)
_GET = select(issuer_conditions).where(issuer_conditions.c.issuer_id == bindparam("which"))
_LOCK = _GET.with_for_update()


def begin_condition(
    transaction: Transaction, record: ConditionRecord, now_ms: int
) -> ConditionRecord | None:
    """Store a condition where the issuer has none; else the one it has, held by this transaction.

    None says that it was stored. Raises TakenOver when others keep coming in between.
    """
    values = {
        "issuer_id": record.issuer_id,
        "state": record.state.value,
        "problem": record.problem,
        "since": record.since,
        "revision": record.revision,
        "openings": record.openings,
        "due_at": record.due_at,
        "now": now_ms,
    }
    for _ in range(_TRIES):
        if transaction.execute(_INSERT, values).rowcount == 1:
            return None
        row = transaction.execute(_LOCK, {"which": record.issuer_id}).first()
        if row is not None:  # else it ended between the two statements
            return load_condition(row)
    raise TakenOver


def get_condition(connection: Connection, issuer_id: str) -> ConditionRecord | None:
    """The condition of an issuer, standing or remembered, or None."""
    row = connection.execute(_GET, {"which": issuer_id}).first()
    return None if row is None else load_condition(row)


def still_stands(transaction: Transaction, record: ConditionRecord) -> bool:
    """Whether an issuer has the condition that a process knows of.

    It is held until the end of the transaction: who ends it then finds what this one has put off.
    """
    row = transaction.execute(_LOCK, {"which": record.issuer_id}).first()
    if row is None:
        return False
    present = load_condition(row)
    known = (record.state, record.since, record.revision)
    return (present.state, present.since, present.revision) == known


_STORE = (
    update(issuer_conditions)
    .where(
        issuer_conditions.c.issuer_id == bindparam("which"),
        issuer_conditions.c.epoch == bindparam("fence"),
    )
    .values(
        state=bindparam("new_state"),
        problem=bindparam("new_problem"),
        since=bindparam("new_since"),
        revision=bindparam("new_revision"),
        openings=bindparam("new_openings"),
        due_at=bindparam("new_due_at"),
        epoch=issuer_conditions.c.epoch + 1,
        updated_at=bindparam("now"),
        **RELEASED,
    )
)


def store_condition(transaction: Transaction, record: ConditionRecord, now_ms: int) -> None:
    """Write back a condition that was claimed or is held, and release it.

    Whoever claimed it before changes nothing any more. Raises TakenOver past its epoch.
    """
    values = {
        "which": record.issuer_id,
        "fence": record.epoch,
        "new_state": record.state.value,
        "new_problem": record.problem,
        "new_since": record.since,
        "new_revision": record.revision,
        "new_openings": record.openings,
        "new_due_at": record.due_at,
        "now": now_ms,
    }
    if not transaction.execute(_STORE, values).rowcount:
        raise TakenOver


_END = delete(issuer_conditions).where(
    issuer_conditions.c.issuer_id == bindparam("which"),
    issuer_conditions.c.state == bindparam("which_state"),
    issuer_conditions.c.since == bindparam("which_since"),
    func.coalesce(issuer_conditions.c.openings, 1) == bindparam("which_openings"),
)


def end_condition(transaction: Transaction, record: ConditionRecord) -> bool:
    """Forget a condition; False when it is another one by now, or gone."""
    values = {
        "which": record.issuer_id,
        "which_state": record.state.value,
        "which_since": record.since,
        "which_openings": record.openings,
    }
    return bool(transaction.execute(_END, values).rowcount)


_REVISION = select(issuers.c.revision).where(issuers.c.id == bindparam("which"))


def revision_of(connection: Connection, issuer_id: str) -> int | None:
    """The present revision of an issuer's settings; None if there is no such issuer."""
    found: int | None = connection.execute(_REVISION, {"which": issuer_id}).scalar()
    return found
