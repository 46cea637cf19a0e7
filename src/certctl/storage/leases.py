"""Rows that are their own queue: `due_at, lease_owner, lease_until, epoch`, whatever the table.

A row is claimed by raising its epoch and taking a lease; what is written back later is fenced by
that epoch, so that a process whose lease ran out changes nothing. When a process dies, its rows are
free again once their leases end.

Rows may belong to groups (an order to its issuer): each is then looked at and claimed from by
itself, so that a group that is to be left alone costs nothing, however many of its rows are due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, or_, select, update

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Column, Connection, Table
    from sqlalchemy import Row as SqlRow

    from certctl.storage.database import Transaction

#: What a finished step writes beside its own columns.
RELEASED: dict[str, None] = {"lease_owner": None, "lease_until": None}


class TakenOver(Exception):
    """The lease ran out and another process has the row now: what was to be written is not."""


class Leases:
    """Claims rows of one table, which has a single column as its primary key.

    `group` is the column that says whose a row is: it refers to the table of the groups, and comes
    first in an index with `due_at`.
    """

    def __init__(self, table: Table, group: Column[Any] | None = None) -> None:
        (self._key,) = table.primary_key.columns
        self._table = table
        self._group = group
        columns = table.c
        unleased = or_(columns.lease_until.is_(None), columns.lease_until <= bindparam("now"))
        first = select(columns.due_at).where(columns.due_at.is_not(None), unleased)
        first = first.order_by(columns.due_at).limit(1)
        due = (
            select(self._key)
            .where(and_(columns.due_at <= bindparam("now"), unleased))
            .order_by(columns.due_at)
            .limit(bindparam("limit"))
            .with_for_update(skip_locked=True)
        )
        claim = update(table).values(
            lease_owner=bindparam("owner"),
            lease_until=bindparam("until"),
            epoch=columns.epoch + 1,
        )
        claim = claim.returning(table)
        self._first = first
        self._claim = claim.where(self._key.in_(due))
        if group is not None:
            (reference,) = group.foreign_keys
            groups = reference.column
            of_group = first.where(group == groups).correlate(groups.table).scalar_subquery()
            self._firsts = select(groups, of_group).where(
                groups.not_in(bindparam("without", expanding=True))
            )
            self._claim_of = claim.where(self._key.in_(due.where(group == bindparam("of"))))
        self._release_all = update(table).where(columns.lease_until.is_not(None)).values(**RELEASED)

    @property
    def grouped(self) -> bool:
        """Whether rows belong to groups."""
        return self._group is not None

    def key(self, row: SqlRow[Any]) -> str:
        """The id of a claimed row."""
        found: str = row._mapping[self._key.name]  # noqa: SLF001 - public, despite its name
        return found

    def group(self, row: SqlRow[Any]) -> str | None:
        """Whose a claimed row is; None where there are no groups."""
        if self._group is None:
            return None
        found: str = row._mapping[self._group.name]  # noqa: SLF001 - public, despite its name
        return found

    def first_due(
        self, connection: Connection, now_ms: int, without: Collection[str] = ()
    ) -> dict[str | None, int]:
        """When the first row that nobody holds is due, or was, for each group that has one.

        A look at one index for each group, without a write; nothing of the groups `without`. Where
        there are no groups, None is the only one.
        """
        if self._group is None:
            first = connection.execute(self._first, {"now": now_ms}).scalar()
            return {} if first is None else {None: first}
        parameters = {"now": now_ms, "without": list(without)}
        rows = connection.execute(self._firsts, parameters)
        return {group: first for group, first in rows if first is not None}

    def claim(
        self,
        transaction: Transaction,
        *,
        owner: str,
        now_ms: int,
        lease_ms: int,
        limit: int,
        group: str | None = None,
    ) -> Sequence[SqlRow[Any]]:
        """Take up to `limit` due rows that nobody holds; each gets a new epoch.

        Of one group where it is given, else of any.
        """
        parameters: dict[str, Any] = {
            "owner": owner,
            "now": now_ms,
            "until": now_ms + lease_ms,
            "limit": limit,
        }
        if group is None:
            return transaction.execute(self._claim, parameters).all()
        return transaction.execute(self._claim_of, {**parameters, "of": group}).all()

    def extend(
        self, transaction: Transaction, owner: str, keys: Sequence[str], until_ms: int
    ) -> None:
        """Hold on to rows that are still being worked on."""
        self._change(transaction, owner, keys, {"lease_until": until_ms})

    def give_back(self, transaction: Transaction, owner: str, keys: Sequence[str]) -> None:
        """Free rows that were claimed and not begun."""
        self._change(transaction, owner, keys, RELEASED)

    def _change(
        self, transaction: Transaction, owner: str, keys: Sequence[str], values: dict[str, Any]
    ) -> None:
        transaction.execute(
            update(self._table)
            .where(self._key.in_(keys), self._table.c.lease_owner == owner)
            .values(**values)
        )

    def release_all(self, transaction: Transaction) -> None:
        """Free every lease: for the one process of an embedded database, at its start."""
        transaction.execute(self._release_all)
