"""Steps along an index that has certificates in the order of a list.

A step examines a bounded number of index entries, whatever the filter: first it finds where the
last of them is, then it reads the rows up to there that fit. The index is chosen here, not by the
database: ranges compare whole rows of it, and other conditions are written so that no index serves
them (see `inventory_conditions`). Estimates go wrong just where it hurts, with values that lie
close together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import merge
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import literal, literal_column, select, tuple_

from certctl.storage.tables import certificate_names, certificates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Select, TextClause

_c = certificates.c
#: Beyond all ids, which are lower-case letters, digits and hyphens, in every collation.
_LAST_ID = "zzzz"
_FIRST_MOMENT, _LAST_MOMENT = -(2**62), 2**62


def unserved(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A text as an expression that is in no index."""
    return column.concat(literal_column("''"))


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

    def between(
        self, *key: ColumnElement[Any], above: tuple[str, ...] = ()
    ) -> list[ColumnElement[bool]]:
        """Conditions on a key that has the values `above` before it; one column is as it is."""

        def bound(values: tuple[Any, ...]) -> Any:
            parts = [literal(value, part.type) for part, value in zip(key, values, strict=True)]
            return parts[0] if len(parts) == 1 else tuple_(*parts)

        compared: Any = key[0] if len(key) == 1 else tuple_(*key)
        low, high = bound((*above, *self.low)), bound((*above, *self.high))
        return [
            compared >= low if self.with_low else compared > low,
            compared <= high if self.with_high else compared < high,
        ]

    def among(self, statement: Select[Any], *, descending: bool) -> Select[Any]:
        """Of the certificates that a statement finds, those in this stretch, in its order.

        No index gives the order: the database would walk it, and look for what was found.
        """
        which, moment = unserved(_c.id), _c.not_after + literal_column("0")
        key: tuple[ColumnElement[Any], ...] = (moment, which) if self.by_moment else (which,)
        if self.endless:
            statement = statement.where(moment.is_(None))
        order = [column.desc() if descending else column for column in key]
        return statement.where(*self.between(*key)).order_by(*order)


@dataclass(frozen=True, slots=True)
class Walk:
    """What an index has below `head`; `where` is the condition of a partial one.

    `id` is the column with the certificate's id: its own, or that of the index of names.
    """

    head: tuple[tuple[Column[Any], str], ...] = ()
    where: tuple[TextClause | ColumnElement[bool], ...] = ()
    id: Column[str] = _c.id

    def _key(self, stretch: Stretch) -> tuple[Column[Any], ...]:
        columns = tuple(column for column, _ in self.head)
        return (*columns, _c.not_after, self.id) if stretch.by_moment else (*columns, self.id)

    def _range(self, stretch: Stretch) -> list[Any]:
        if stretch.endless:
            # Below NULL there is nothing to compare: the parts before the id are equal one by one.
            equal = [column == value for column, value in self.head]
            equal.append(_c.not_after.is_(None))
            return [*equal, *stretch.between(self.id), *self.where]
        above = tuple(value for _, value in self.head)
        return [*stretch.between(*self._key(stretch), above=above), *self.where]

    def _order(self, stretch: Stretch, *, descending: bool) -> list[Any]:
        key = self._key(stretch)
        if stretch.endless:
            key = (*key[:-1], _c.not_after, key[-1])
        return [column.desc() if descending else column for column in key]

    def frontier(self, stretch: Stretch, *, descending: bool, bound: int) -> Select[Any]:
        """The key of the last entry to examine; no row where there are fewer."""
        key = self._key(stretch)[len(self.head) :]
        return (
            select(*key)
            .where(*self._range(stretch))
            .order_by(*self._order(stretch, descending=descending))
            .limit(1)
            .offset(bound - 1)
        )

    def fitting(
        self, stretch: Stretch, conditions: Sequence[ColumnElement[bool]], *, descending: bool
    ) -> Select[Any]:
        """Id and end of the certificates in a stretch that fit."""
        statement = select(self.id.label("id"), _c.not_after)
        if self.id.table is certificate_names:
            joined = certificate_names.join(certificates, _c.id == self.id)
            statement = statement.select_from(joined)
        return statement.where(*self._range(stretch), *conditions).order_by(
            *self._order(stretch, descending=descending)
        )


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
        return [whole if after is None else _cut(whole, (after.id,), descending=descending)]
    ends = Stretch(
        (_FIRST_MOMENT if first is None else first, ""),
        (_LAST_MOMENT if before is None else before, ""),
    )
    rest = Stretch(("",), (_LAST_ID,), endless=True)
    if after is not None and after.not_after is None:
        return [_cut(rest, (after.id,), descending=descending)] if endless else []
    if after is not None:
        ends = _cut(ends, (after.not_after, after.id), descending=descending)
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
    ends = [
        tuple(row)
        for walk in walks
        for row in connection.execute(walk.frontier(stretch, descending=descending, bound=share))
    ]
    end = None
    if ends:
        end = max(ends) if descending else min(ends)
        stretch = _up_to(stretch, end, descending=descending)
    found = [
        [
            Place(row.id, row.not_after)
            for row in connection.execute(
                walk.fitting(stretch, conditions, descending=descending).limit(limit)
            )
        ]
        for walk in walks
    ]

    def key(place: Place) -> tuple[Any, ...]:
        return (place.not_after, place.id) if stretch.by_moment else (place.id,)

    places = list(merge(*found, key=key, reverse=descending))[:limit]
    if end is None:
        return places, None
    return places, Place(end[-1], end[0] if stretch.by_moment else None)
