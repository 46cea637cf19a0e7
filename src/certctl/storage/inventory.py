"""The inventory as a list: filtered, in two orders, each page with a bound to its work.

A part of the filter that an index has few rows for is read whole and sorted. Where every part has
many, the list is walked in its order, along the best index there is, and a step ends after so many
entries: the page may then be short, or empty, with more to come.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, literal_column, select

from certctl.domain.inventory import InventoryStatus
from certctl.storage.inventory_sources import (
    best_source,
    conditions,
    moments,
    sources,
    whole_list,
)
from certctl.storage.inventory_walks import Place, step, stretches
from certctl.storage.tables import certificates, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from certctl.domain.access import Scope
    from certctl.domain.inventory import InventoryFilter, InventorySort
    from certctl.storage.inventory_sources import Source
    from certctl.storage.inventory_walks import Stretch, Walk

_c = certificates.c
#: Entries of an index that one page examines.
BOUND = 1_000
#: Of entries that were sorted first, this part: that has taken time, and all of them are examined.
_SORTED_SHARE = 3


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """A certificate as the inventory lists it."""

    id: str
    issuer_id: str
    profile_id: str
    owner: str | None
    common_name: str | None
    names: list[str]
    status: str
    not_after: int | None
    renew_at: int | None
    archived_at: int | None
    created_at: int
    serial: str | None


@dataclass(frozen=True, slots=True)
class InventoryPage:
    """Some certificates, and where to go on; None at the end of the list."""

    lines: list[CertificateLine]
    next: Place | None


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What is listed, in which order, and how much of it from where on."""

    wanted: InventoryFilter
    sort: InventorySort
    scope: Scope | None
    limit: int
    after: Place | None = None


def list_certificates(
    connection: Connection, query: ListQuery, now_ms: int, *, bound: int | None = None
) -> InventoryPage:
    """One page. Fewer lines than `limit`, even none, do not say that it is the last: `next` does.

    `bound` is the number of entries that a step along an index examines.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(_OWN_PLANS)
    places, following = _places(connection, query, now_ms, BOUND if bound is None else bound)
    lines = _lines(connection, [place.id for place in places])
    return InventoryPage(lines, following)


# PostgreSQL would weigh its estimates against each other, and read all of a table or an index where
# they are wrong; they are where values lie close together. So it takes an index that has the order,
# and sorts only where none has. To compile a plan takes longer than to run it.
_OWN_PLANS = select(
    *[
        func.set_config(name, "off", literal_column("true"))
        for name in (
            "enable_seqscan",
            "enable_bitmapscan",
            "enable_sort",
            "enable_hashjoin",
            "enable_mergejoin",
            "jit",
        )
    ],
    func.set_config("plan_cache_mode", "force_custom_plan", literal_column("true")),
)


def _places(
    connection: Connection, query: ListQuery, now_ms: int, bound: int
) -> tuple[list[Place], Place | None]:
    wanted, sort = query.wanted, query.sort
    first, before = moments(wanted, now_ms)
    endless = first is None and before is None
    if wanted.status is InventoryStatus.ISSUED:
        # Else a list by `not_after` would begin with all that has expired.
        first = now_ms if first is None else max(first, now_ms)
    rest = stretches(
        by_not_after=sort.by_not_after,
        descending=sort.is_descending,
        after=query.after,
        first=first,
        before=before,
        endless=endless,
    )
    fitting = conditions(wanted, query.scope, now_ms, connection.dialect)
    search = _Search(connection, query, fitting, rest)
    found = sources(wanted, query.scope, now_ms, by_not_after=sort.by_not_after)
    best = best_source(connection, found)
    if best is None:
        return search.along([whole_list(by_not_after=sort.by_not_after)], bound)
    source, is_small = best
    if source.walks:
        return search.along(source.walks, bound)
    if is_small:
        return search.through_all(source)
    return search.along(source.sorted_walks, max(bound // _SORTED_SHARE, 1))


@dataclass(frozen=True, slots=True)
class _Search:
    """One page of what fits, in the stretches that are left of the list."""

    connection: Connection
    query: ListQuery
    fitting: Sequence[ColumnElement[bool]]
    rest: Sequence[Stretch]

    def through_all(self, source: Source) -> tuple[list[Place], Place | None]:
        """Look at all that a source has."""
        limit = self.query.limit
        places: list[Place] = []
        for stretch in self.rest:
            statement: Select[Any] = select(_c.id, _c.not_after)
            statement = stretch.among(
                statement.where(source.condition, *self.fitting),
                descending=self.query.sort.is_descending,
            ).limit(limit + 1 - len(places))
            places += [Place(row.id, row.not_after) for row in self.connection.execute(statement)]
            if len(places) > limit:
                return places[:limit], places[limit - 1]
        return places, None

    def along(self, walks: Sequence[Walk], bound: int) -> tuple[list[Place], Place | None]:
        """Take a step along walks, or one to the end of a stretch and one into the next."""
        limit = self.query.limit
        places: list[Place] = []
        for stretch in self.rest:
            more, end = step(
                self.connection,
                walks,
                stretch,
                self.fitting,
                descending=self.query.sort.is_descending,
                limit=limit + 1 - len(places),
                bound=bound,
            )
            places += more
            if len(places) > limit:
                return places[:limit], places[limit - 1]
            if end is not None:
                return places, end
        return places, None


_COLUMNS = (
    _c.id,
    _c.issuer_id,
    _c.profile_id,
    _c.owner,
    _c.common_name,
    _c.names,
    _c.status,
    _c.not_after,
    _c.renew_at,
    _c.archived_at,
    _c.created_at,
    versions.c.serial,
)
_INVENTORY = select(*_COLUMNS).select_from(
    certificates.outerjoin(versions, versions.c.id == _c.version_id)
)
_LINES = _INVENTORY.where(_c.id.in_(bindparam("ids", expanding=True)))


def _lines(connection: Connection, ids: list[str]) -> list[CertificateLine]:
    if not ids:
        return []
    rows = {row.id: inventory_line(row) for row in connection.execute(_LINES, {"ids": ids})}
    return [rows[which] for which in ids]


def inventory_query(limit: int) -> Select[Any]:
    """Lines of the inventory, newest first, for others to narrow down."""
    return _INVENTORY.order_by(_c.id.desc()).limit(limit)


def inventory_line(row: Any) -> CertificateLine:
    """A line from a row (SQLAlchemy's) of such a query."""
    return CertificateLine(
        id=row.id,
        issuer_id=row.issuer_id,
        profile_id=row.profile_id,
        owner=row.owner,
        common_name=row.common_name,
        names=json.loads(row.names),
        status=row.status,
        not_after=row.not_after,
        renew_at=row.renew_at,
        archived_at=row.archived_at,
        created_at=row.created_at,
        serial=row.serial,
    )
