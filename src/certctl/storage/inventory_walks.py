"""Steps along an index that has certificates in the order of a list.

A step examines a bounded number of index entries, whatever the filter: first it finds where the
last of them is, then it reads the rows up to there that fit. The index is chosen here, not by the
database: the order asks for it, and other conditions are written so that no index serves them (see
`inventory_sources`). Estimates go wrong just where it hurts, with values that lie close together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import merge
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import any_, literal, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import array

from certctl.storage.tables import certificate_names, certificates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Dialect, Select, TextClause

_c = certificates.c
#: Beyond all ids, which are lower-case letters, digits and hyphens, in every collation.
_LAST_ID = "zzzz"
_FIRST_MOMENT, _LAST_MOMENT = -(2**62), 2**62


def unserved(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A text as an expression that is in no index."""
    return column.concat(literal_column("''"))


#: The end of a certificate, likewise.
_MOMENT = _c.not_after + literal_column("0")


class Place(NamedTuple):
    """Where a certificate is in a list."""

    id: str
    not_after: int | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a list, in the order of one key, from above `low` to below `high`.

    A key is an id, or a moment and an id. Where `endless`, it is of certificates that have no end.
    """

    low: tuple[Any, ...]
    high: tuple[Any, ...]
    endless: bool = False
    with_low: bool = False
    with_high: bool = False

    @property
    def by_moment(self) -> bool:
        """Whether a moment comes first in the key."""
        return len(self.low) == 2  # noqa: PLR2004 - the moment and the id

    def key(self, place: Place) -> tuple[Any, ...]:
        """The key of a certificate in this stretch."""
        return (place.not_after, place.id) if self.by_moment else (place.id,)

    def between(self, *key: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """Conditions on a key."""

        def bound(values: tuple[Any, ...]) -> Any:
            parts = [literal(value, part.type) for part, value in zip(key, values, strict=True)]
            return parts[0] if len(parts) == 1 else tuple_(*parts)

        compared: Any = key[0] if len(key) == 1 else tuple_(*key)
        low, high = bound(self.low), bound(self.high)
        return [
            compared >= low if self.with_low else compared > low,
            compared <= high if self.with_high else compared < high,
        ]

    def among(self, statement: Select[Any], *, descending: bool) -> Select[Any]:
        """Of the certificates that a statement finds, those in this stretch, in its order.

        No index gives the order: the database would walk it, and look for what was found.
        """
        which = unserved(_c.id)
        key: tuple[ColumnElement[Any], ...] = (_MOMENT, which) if self.by_moment else (which,)
        if self.endless:
            statement = statement.where(_MOMENT.is_(None))
        order = [column.desc() if descending else column for column in key]
        return statement.where(*self.between(*key)).order_by(*order)


@dataclass(frozen=True, slots=True)
class Walk:
    """Entries of an index, in the order of the list: all, or those that fit `where`.

    `of` is an index's first column and its value. `id` is the column with the certificate's id: its
    own, or that of the index of names. Where the index has another order, `is_sorted` has the
    database sort what there is, which should not be much.
    """

    of: tuple[Column[str], str] | None = None
    where: tuple[TextClause | ColumnElement[bool], ...] = ()
    id: Column[str] = _c.id
    is_sorted: bool = False

    def entries(self, stretch: Stretch, dialect: Dialect, *, descending: bool) -> Select[Any]:
        """The keys in a stretch of the list, in its order."""
        which: ColumnElement[str] = unserved(self.id) if self.is_sorted else self.id
        moment = _MOMENT if self.is_sorted else _c.not_after
        key = (moment, which) if stretch.by_moment else (which,)
        conditions: list[Any] = [*stretch.between(*key), *self.where]
        order = key
        if stretch.endless:
            conditions.append(_c.not_after.is_(None))
            order = (moment, which)
        if self.of is not None:
            column, value = self.of
            order = (column, *order)
            conditions.append(_is(column, value, dialect))
        columns: list[Any] = [self.id.label("id")]
        if stretch.by_moment:
            columns.append(_c.not_after)
        return (
            select(*columns)
            .where(*conditions)
            .order_by(*[part.desc() if descending else part for part in order])
        )

    def certificates(self, entries: Select[Any], bound: int) -> Select[Any]:
        """Id and end of the certificates of the first entries, for conditions on them."""
        if self.is_sorted:
            first = entries.limit(bound).subquery()
            return select(_c.id, _c.not_after).where(_c.id.in_(select(first.c.id)))
        found = entries.with_only_columns(self.id.label("id"), _c.not_after)
        if self.id.table is certificate_names:
            found = found.select_from(certificate_names.join(certificates, _c.id == self.id))
        return found


def _is(column: Column[str], value: str, dialect: Dialect) -> ColumnElement[bool]:
    """That a column has a value, so that the index that begins with it gives the order.

    To PostgreSQL, a column that equals something is not worth sorting by: it would also walk the
    index of ids, and look for the value in each row. (A comparison of whole rows of the index would
    do as well, but it does not end a scan where it ceases to hold.)
    """
    if dialect.name == "sqlite":
        return column == value
    return column == any_(array([value]))


def stretches(
    *,
    by_not_after: bool,
    descending: bool,
    after: Place | None,
    first: int | None,
    before: int | None,
    endless: bool,
) -> list[Stretch]:
    """What is left of a list after a place.

    By `not_after`, it goes from the moment `first` to `before`, and what has no end comes last.
    """
    if not by_not_after:
        whole = Stretch(("",), (_LAST_ID,))
        return [whole if after is None else _cut(whole, whole.key(after), descending=descending)]
    ends = Stretch(
        (_FIRST_MOMENT if first is None else first, ""),
        (_LAST_MOMENT if before is None else before, ""),
    )
    rest = Stretch(("",), (_LAST_ID,), endless=True)
    if after is not None and after.not_after is None:
        return [_cut(rest, rest.key(after), descending=descending)] if endless else []
    if after is not None:
        ends = _cut(ends, ends.key(after), descending=descending)
    return [ends, rest] if endless else [ends]


def _cut(stretch: Stretch, key: tuple[Any, ...], *, descending: bool) -> Stretch:
    """What comes after a key."""
    if descending:
        return replace(stretch, high=min(stretch.high, key))
    return replace(stretch, low=max(stretch.low, key))


def _up_to(stretch: Stretch, key: tuple[Any, ...], *, descending: bool) -> Stretch:
    """What comes up to a key, it included."""
    if descending:
        return replace(stretch, low=key, with_low=True)
    return replace(stretch, high=key, with_high=True)


def step(
    connection: Connection,
    walks: Sequence[Walk],
    stretch: Stretch,
    conditions: Sequence[ColumnElement[bool]],
    *,
    descending: bool,
    limit: int,
    bound: int,
) -> tuple[list[Place], Place | None]:
    """The next certificates that fit, of all walks together, and where the step ended.

    At most `bound` entries are examined. The end is None where the stretch is at its end.
    """
    share = max(bound // len(walks), 1)

    def entries(walk: Walk, stretch: Stretch) -> Select[Any]:
        return walk.entries(stretch, connection.dialect, descending=descending)

    ends = [
        Place(row.id, row.not_after if stretch.by_moment else None)
        for walk in walks
        for row in connection.execute(entries(walk, stretch).limit(1).offset(share - 1))
    ]
    end = None
    if ends:
        end = max(ends, key=stretch.key) if descending else min(ends, key=stretch.key)
        stretch = _up_to(stretch, stretch.key(end), descending=descending)
    found = []
    for walk in walks:
        statement = walk.certificates(entries(walk, stretch), share)
        if walk.is_sorted:
            statement = stretch.among(statement, descending=descending)
        rows = connection.execute(statement.where(*conditions).limit(limit))
        found.append([Place(row.id, row.not_after) for row in rows])
    merged = merge(*found, key=stretch.key, reverse=descending)
    return list(dict.fromkeys(merged))[:limit], end
