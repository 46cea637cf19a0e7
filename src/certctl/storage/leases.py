"""Rows that are their own queue: `due_at, lease_owner, lease_until, epoch`, whatever the table.

A row is claimed by raising its epoch and taking a lease; what is written back later is fenced by
that epoch, so that a process whose lease ran out changes nothing. When a process dies, its rows are
free again once their leases end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, or_, select, update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy import Row as SqlRow

    from certctl.storage.database import Transaction

#: What a finished step writes beside its own columns.
RELEASED: dict[str, None] = {"lease_owner": None, "lease_until": None}


class TakenOver(Exception):
    """The lease ran out and another process has the row now: what was to be written is not."""


class Leases:
    """Claims rows of one table, which has a single column as its primary key."""

    def __init__(self, table: Table) -> None:
        (self._key,) = table.primary_key.columns
        self._table = table
        columns = table.c
        free = and_(
            columns.due_at <= bindparam("now"),
            or_(columns.lease_until.is_(None), columns.lease_until <= bindparam("now")),
        )
        due = (
            select(self._key)
            .where(free)
            .order_by(columns.due_at)
            .limit(bindparam("limit"))
            .with_for_update(skip_locked=True)
        )
        self._any_due = select(self._key).where(free).limit(1)
        self._claim = (
            update(table)
            .where(self._key.in_(due))
            .values(
                lease_owner=bindparam("owner"),
                lease_until=bindparam("until"),
                epoch=columns.epoch + 1,
            )
            .returning(table)
        )
        self._release_all = update(table).where(columns.lease_until.is_not(None)).values(**RELEASED)

    def key(self, row: SqlRow[Any]) -> str:
        """The id of a claimed row."""
        found: str = row._mapping[self._key.name]  # noqa: SLF001 - public, despite its name
        return found

    def any_due(self, connection: Connection, now_ms: int) -> bool:
        """Whether there is a row to claim: a look at one index, without a write."""
        return connection.execute(self._any_due, {"now": now_ms}).first() is not None

    def claim(
        self, transaction: Transaction, *, owner: str, now_ms: int, lease_ms: int, limit: int
    ) -> Sequence[SqlRow[Any]]:
        """Take up to `limit` due rows that nobody holds; each gets a new epoch."""
        return transaction.execute(
            self._claim, {"owner": owner, "now": now_ms, "until": now_ms + lease_ms, "limit": limit}
        ).all()

    def extend(
        self, transaction: Transaction, owner: str, keys: Sequence[str], until_ms: int
    ) -> None:
        """Hold on to rows that are still being worked on."""
        transaction.execute(
            update(self._table)
            .where(self._key.in_(keys), self._table.c.lease_owner == owner)
            .values(lease_until=until_ms)
        )

    def release_all(self, transaction: Transaction) -> None:
        """Free every lease: for the one process of an embedded database, at its start."""
        transaction.execute(self._release_all)
