"""Where certificates that fit may be found: what an index has for one part of a filter.

A source gives all that fit its part, perhaps more, never less. Whether it is used is decided by how
much it has; each row is held against the whole filter whatever source it came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, literal_column, or_, select, union_all

from certctl.domain.inventory import InventoryStatus, NameMatch
from certctl.storage.inventory_walks import Walk, unserved
from certctl.storage.name_conditions import (
    fits_filter,
    names_of_row,
    ranges_of_filter,
    ranges_of_patterns,
)
from certctl.storage.scopes import names_within
from certctl.storage.tables import ARCHIVED, LISTED, UNUSUAL, certificate_names, certificates

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Dialect, Select

    from certctl.domain.access import Scope, ScopeName
    from certctl.domain.inventory import InventoryFilter, NameFilter
    from certctl.domain.names import NameKind

_c = certificates.c
_n = certificate_names.c
#: So many rows are read and sorted where they do not come in order. Each costs a look at its row.
SMALL = 2_000
#: So many entries of an index are sorted for a page, where they alone have all that it takes.
MIDDLING = 6_000
#: So many values, each with a walk of its own, are merged.
_WALKS = 8
#: So many ranges of names are looked into.
_RANGES = 16
UNUSUAL_STATUSES = frozenset(
    {InventoryStatus.PENDING, InventoryStatus.FAILED, InventoryStatus.REVOKED}
)


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of `certificates` that an index finds, and walks that have them in the list's order.

    `probe` gives a row for each entry of the index. `sorted_walks` have them in no order.
    """

    condition: ColumnElement[bool]
    probe: Select[Any]
    walks: tuple[Walk, ...] = ()
    sorted_walks: tuple[Walk, ...] = ()

    def count(self, connection: Connection) -> int:
        """How many entries it has, up to one more than matters."""
        most = MIDDLING if self.sorted_walks else SMALL
        counted = select(func.count()).select_from(self.probe.limit(most + 1).subquery())
        return int(connection.execute(counted).scalar_one())


def best_source(connection: Connection, found: Sequence[Source]) -> tuple[Source, bool] | None:
    """The first that is small, else the first with walks that are worth it; and which it is."""
    counts = []
    for source in found:
        count = source.count(connection)
        if count <= SMALL:
            return source, True
        counts.append((source, count))
    for source, count in counts:
        if source.walks or (source.sorted_walks and count <= MIDDLING):
            return source, False
    return None


def whole_list(*, by_not_after: bool) -> Walk:
    """The walk through everything that is not archived, for which there always is a source."""
    return Walk(where=(LISTED,)) if by_not_after else Walk()


def sources(
    wanted: InventoryFilter, scope: Scope | None, now_ms: int, *, by_not_after: bool
) -> list[Source]:
    """What the parts of a filter and of a scope offer; what is likely to have least comes first."""
    found: list[Source] = []
    if wanted.name is not None:
        found.append(_of_name(wanted.name, by_not_after=by_not_after))
    if wanted.owner is not None:
        found.append(_of_column(_c.owner, [wanted.owner], by_not_after=by_not_after))
    if wanted.status in UNUSUAL_STATUSES:
        found.append(_of_status(wanted.status))
    if wanted.status is InventoryStatus.ARCHIVED:
        found.append(_of_archived())
    if scope is not None and scope.names is not None:
        found += _of_patterns(scope.names, by_not_after=by_not_after)
    for column, one, several in (
        (_c.profile_id, wanted.profile_id, None if scope is None else scope.profiles),
        (_c.issuer_id, wanted.issuer_id, None if scope is None else scope.issuers),
    ):
        values = several if one is None else [one]
        if values is not None:
            found.append(_of_column(column, values, by_not_after=by_not_after))
    first, before = moments(wanted, now_ms)
    if not by_not_after and wanted.status is not InventoryStatus.ARCHIVED and (first or before):
        found.append(_of_moments(first, before))
    return found


def moments(wanted: InventoryFilter, now_ms: int) -> tuple[int | None, int | None]:
    """From which moment on, and before which, certificates that fit end; None: any.

    What is `issued` may have no end, and is not bounded here.
    """
    first, before = wanted.expires_after, wanted.expires_before
    if wanted.status is InventoryStatus.EXPIRED:
        before = now_ms if before is None else min(before, now_ms)
    return first, before


def _of_column(column: Column[str], values: Collection[str], *, by_not_after: bool) -> Source:
    condition = column.in_(sorted(values))
    walks: tuple[Walk, ...] = ()
    if 0 < len(values) <= _WALKS:
        walks = tuple(Walk(of=(column, value), is_sorted=by_not_after) for value in sorted(values))
    probe = select(_c.id).where(condition)
    if by_not_after:
        return Source(condition, probe, sorted_walks=walks)
    return Source(condition, probe, walks)


def _of_status(status: InventoryStatus) -> Source:
    condition = and_(_c.status == status.value, UNUSUAL)
    walk = Walk(of=(_c.status, status.value), where=(UNUSUAL,))
    return Source(condition, select(_c.id).where(condition), (walk,))


def _of_archived() -> Source:
    condition = _c.archived_at.is_not(None)
    # In the order of the index that has them and nothing besides: else that of all ids would do.
    probe = select(_c.id).where(condition, _c.id > "").order_by(_c.id)
    return Source(condition, probe, (Walk(where=(ARCHIVED,)),))


def _of_moments(first: int | None, before: int | None) -> Source:
    parts: list[ColumnElement[bool]] = []
    if first is not None:
        parts.append(_c.not_after >= first)
    if before is not None:
        parts.append(_c.not_after < before)
    condition = and_(LISTED, *parts)
    return Source(condition, select(_c.id).where(condition))


def _of_name(wanted: NameFilter, *, by_not_after: bool) -> Source:
    walks: tuple[Walk, ...] = ()
    if wanted.match is NameMatch.EXACT and wanted.kind is not None and not by_not_after:
        walks = tuple(_of_one_name(wanted.kind, text) for text in wanted.texts)
    return _of_names(ranges_of_filter(wanted), walks, by_not_after=by_not_after)


def _of_patterns(patterns: Sequence[ScopeName], *, by_not_after: bool) -> list[Source]:
    ranges = ranges_of_patterns(patterns)
    if len(ranges) > _RANGES:
        return []
    walks: tuple[Walk, ...] = ()
    is_exact = not any(pattern.below for pattern in patterns)
    if is_exact and len(patterns) <= _WALKS and not by_not_after:
        walks = tuple(_of_one_name(pattern.kind, pattern.value) for pattern in patterns)
    return [_of_names(ranges, walks, by_not_after=by_not_after)]


def _of_one_name(kind: NameKind, value: str) -> Walk:
    """The index has the certificates of one name in the order of their ids."""
    return Walk((_n.value, value), (_n.kind == kind.value,), _n.certificate_id)


def _of_names(
    ranges: Sequence[ColumnElement[bool]], walks: tuple[Walk, ...] = (), *, by_not_after: bool
) -> Source:
    parts = [select(_n.certificate_id.label("id")).where(each) for each in ranges]
    # Limited one by one: the merging would have each range read to its end.
    limited = [select(part.limit(MIDDLING + 1).subquery()) for part in parts]
    sorted_walks: tuple[Walk, ...] = ()
    if not (walks or by_not_after) and len(ranges) <= _WALKS:
        sorted_walks = tuple(
            Walk(where=(each,), id=_n.certificate_id, is_sorted=True) for each in ranges
        )
    condition = _c.id.in_(union_all(*parts))
    return Source(condition, select(union_all(*limited).subquery()), walks, sorted_walks)


# Conditions on each row.


def conditions(
    wanted: InventoryFilter, scope: Scope | None, now_ms: int, dialect: Dialect
) -> list[ColumnElement[bool]]:
    """The whole filter and the scope, as conditions that no index serves.

    Else a database might find by one of them, where there is no bound to what it reads.
    """
    is_archived = wanted.status is InventoryStatus.ARCHIVED
    archived_at = _c.archived_at + literal_column("0")
    found: list[ColumnElement[bool]] = [
        archived_at.is_not(None) if is_archived else archived_at.is_(None)
    ]
    for column, value in (
        (_c.issuer_id, wanted.issuer_id),
        (_c.profile_id, wanted.profile_id),
        (_c.owner, wanted.owner),
    ):
        if value is not None:
            found.append(unserved(column) == value)
    found += _status_conditions(wanted.status, now_ms)
    end = _c.not_after + literal_column("0")
    if wanted.expires_after is not None:
        found.append(end >= wanted.expires_after)
    if wanted.expires_before is not None:
        found.append(end < wanted.expires_before)
    if wanted.name is not None:
        name = names_of_row(dialect)
        fits = fits_filter(name.c.value, wanted.name)
        found.append(select(1).select_from(name).where(fits).exists())
    return found + _scope_conditions(scope, dialect)


def _status_conditions(status: InventoryStatus | None, now_ms: int) -> list[ColumnElement[bool]]:
    stored = unserved(_c.status)
    end = _c.not_after + literal_column("0")
    if status is None or status is InventoryStatus.ARCHIVED:
        return []
    if status is InventoryStatus.EXPIRED:
        return [stored == InventoryStatus.ISSUED.value, end < now_ms]
    if status is InventoryStatus.ISSUED:
        return [stored == status.value, or_(_c.not_after.is_(None), end >= now_ms)]
    return [stored == status.value]


def _scope_conditions(scope: Scope | None, dialect: Dialect) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if scope is None:
        return found
    if scope.issuers is not None:
        found.append(unserved(_c.issuer_id).in_(sorted(scope.issuers)))
    if scope.profiles is not None:
        found.append(unserved(_c.profile_id).in_(sorted(scope.profiles)))
    if scope.names is not None:
        found += names_within(scope.names, dialect)
    return found
