"""The inventory's list: what a filter finds, in order, page by page, and by which index."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, insert, text

from certctl.domain.access import Scope, parse_scope_name
from certctl.domain.inventory import (
    InventoryFilter,
    InventorySort,
    InventoryStatus,
    parse_name_filter,
)
from certctl.domain.names import decode_stored, parse_name
from certctl.storage import inventory_sources, tables
from certctl.storage.inventory import InventoryPage, ListQuery, list_certificates
from certctl.storage.inventory_walks import Place

if TYPE_CHECKING:
    from certctl.storage.database import Connection, Database, Transaction

pytestmark = pytest.mark.anyio

NOW = 1_000_000
EXAMPLES = 60
ISSUERS = ("iss-a", "iss-b", "iss-c")
PROFILES = ("prof-a", "prof-b")
OWNERS = (None, "web", "Web", "ünïcode")
NAMES = (
    ("a.example.org",),
    ("shop.example.org", "www.shop.example.org"),
    ("*.example.org",),
    ("notexample.org",),
    ("ip:10.0.0.1", "a.example.org"),
    ("email:Shop@example.org",),
    ("uri:spiffe://example.org/shop", "uri:http://x/y.example.org"),
    (),
)
STATUSES = ("issued", "revoked", "pending", "failed", "issued")
ENDS = (NOW - 5, NOW - 1, NOW, NOW + 1, NOW + 1, NOW + 9)
FILTERS = (
    "a.example.org", "A.example.org.", "shop*", "Shop*", "dns:s*", "email:Shop*", "*.example.org",
    "*.*", "dns:*.shop.example.org", "ip:10.0.0.1", "10.*", "uri:spiffe://example.org/shop", "%*",
)  # fmt: skip
PATTERNS = ("*.example.org", "a.example.org", "*.org", "ip:10.0.0.1", "email:Shop@example.org")


@dataclass(frozen=True, slots=True)
class Row:
    """A certificate that was stored."""

    id: str
    issuer_id: str
    profile_id: str
    owner: str | None
    names: tuple[str, ...]
    status: str
    not_after: int | None
    archived: bool

    @property
    def place(self) -> Place:
        return Place(self.id, self.not_after)


def make_rows(count: int, first: int = 0) -> list[Row]:
    """Every value beside every other, by strides that have no divisor in common."""
    rows = []
    for number in range(first, first + count):
        status = STATUSES[number % 5]
        is_issued = status in {"issued", "revoked"}
        rows.append(
            Row(
                f"cert-{number * 7919 % 100_000:05}",
                ISSUERS[number // 2 % 3],
                PROFILES[number // 3 % 2],
                OWNERS[number // 5 % 4],
                NAMES[number // 4 % 8],
                status,
                ENDS[number // 7 % 6] if is_issued else None,
                archived=number % 11 == 0,
            )
        )
    return rows


def store(transaction: Transaction, rows: list[Row]) -> None:
    for row in rows:
        names = [parse_name(name, "names") for name in row.names]
        transaction.execute(
            insert(tables.certificates),
            {
                "id": row.id,
                "issuer_id": row.issuer_id,
                "profile_id": row.profile_id,
                "owner": row.owner,
                "names": json.dumps([str(name) for name in names]),
                "status": row.status,
                "not_after": row.not_after,
                "archived_at": NOW if row.archived else None,
                "created_at": 1,
                "updated_at": 1,
            },
        )
        for name in names:
            transaction.execute(
                insert(tables.certificate_names),
                {
                    "value": name.value,
                    "certificate_id": row.id,
                    "kind": name.kind.value,
                    "reversed": name.value[::-1],
                },
            )


def seed(transaction: Transaction, rows: list[Row]) -> None:
    common = {"enabled": True, "revision": 1, "created_at": 1, "updated_at": 1}
    own = {"type": "T", "config": "{}", "source": "env"}
    for which in ISSUERS:
        transaction.execute(insert(tables.issuers), {**common, **own, "id": which, "name": which})
    for which in PROFILES:
        profile = {**common, "id": which, "name": which, "rules": "{}"}
        transaction.execute(insert(tables.profiles), profile)
    store(transaction, rows)


def fits(row: Row, wanted: InventoryFilter, scope: Scope | None) -> bool:
    """The filter and the scope in other words."""
    names = [decode_stored(str(parse_name(name, "names"))) for name in row.names]
    end = row.not_after
    status = "archived" if row.archived else row.status
    if status == "issued" and end is not None and end < NOW:
        status = "expired"
    return (
        (status != "archived" if wanted.status is None else status == wanted.status.value)
        and wanted.issuer_id in {None, row.issuer_id}
        and wanted.profile_id in {None, row.profile_id}
        and wanted.owner in {None, row.owner}
        and (wanted.name is None or any(wanted.name.admits(n.kind, n.value) for n in names))
        and (wanted.expires_after is None or (end is not None and end >= wanted.expires_after))
        and (wanted.expires_before is None or (end is not None and end < wanted.expires_before))
        and (
            scope is None
            or (
                scope.admits_issuer(row.issuer_id)
                and scope.admits_profile(row.profile_id)
                and scope.admits_names(names, None)
            )
        )
    )


def in_order(rows: list[Row], sort: InventorySort) -> list[str]:
    """Ids as the list has them."""
    if not sort.by_not_after:
        return sorted((row.id for row in rows), reverse=sort.is_descending)
    ends = [row.place for row in rows if row.not_after is not None]
    ends.sort(key=lambda place: (place.not_after, place.id), reverse=sort.is_descending)
    rest = sorted((row.id for row in rows if row.not_after is None), reverse=sort.is_descending)
    return [place.id for place in ends] + rest


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


def a_name() -> st.SearchStrategy[Any]:
    readable = [each for each in FILTERS if each not in {"*.*", "%*"}]
    return maybe(*[parse_name_filter(each, "name") for each in readable])


filters = st.builds(
    InventoryFilter,
    status=maybe(*InventoryStatus),
    issuer_id=maybe(*ISSUERS, "iss-none"),
    profile_id=maybe(*PROFILES),
    owner=maybe("web", "Web", "ünïcode", "nobody"),
    name=a_name(),
    expires_after=maybe(0, NOW, NOW + 1),
    expires_before=maybe(NOW, NOW + 1, NOW + 100),
)
scopes = st.none() | st.builds(
    Scope,
    issuers=maybe(frozenset({"iss-a"}), frozenset({"iss-a", "iss-c"}), frozenset()),
    profiles=maybe(frozenset({"prof-a"}), frozenset(PROFILES)),
    names=st.none()
    | st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True).map(
        lambda texts: tuple(parse_scope_name(text, "names") for text in texts)
    ),
)


WHOLE = InventoryFilter()
SOME_ISSUERS = Scope(issuers=frozenset({"iss-a", "iss-b"}))
SOME_NAMES = Scope(
    names=tuple(
        parse_scope_name(each, "names") for each in ("*.org", "a.example.org", "ip:10.0.0.1")
    )
)
TWO_NAMES = Scope(
    names=tuple(parse_scope_name(each, "names") for each in (PATTERNS[1], PATTERNS[3]))
)
SCOPES = (SOME_ISSUERS, SOME_NAMES, TWO_NAMES)
#: What is taken for small, and for little enough to sort: each decides for another way.
SIZES = ((2_000, 6_000), (0, 6_000), (0, 0))


def set_sizes(patch: pytest.MonkeyPatch, sizes: tuple[int, int]) -> None:
    patch.setattr(inventory_sources, "SMALL", sizes[0])
    patch.setattr(inventory_sources, "MIDDLING", sizes[1])


def every_page(connection: Connection, query: ListQuery, bound: int) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    while True:
        page = list_certificates(connection, query, NOW, bound=bound)
        assert len(page.lines) <= query.limit
        found += [line.id for line in page.lines]
        if page.next is None:
            return found
        assert page.next != query.after
        query = replace(query, after=page.next)


async def test_the_pages_are_what_fits_in_order(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(130)
    await database.write(lambda transaction: seed(transaction, rows))

    def look(connection: Connection) -> None:
        @settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=EXAMPLES)
        @example(WHOLE, SOME_NAMES, InventorySort.NEWEST, 1, 3, SIZES[1])
        @example(WHOLE, SOME_NAMES, InventorySort.CREATED, 4, 20, SIZES[1])
        @example(WHOLE, TWO_NAMES, InventorySort.NEWEST, 1, 3, SIZES[2])
        @example(WHOLE, SOME_ISSUERS, InventorySort.NEWEST, 4, 3, SIZES[2])
        @example(WHOLE, SOME_ISSUERS, InventorySort.CREATED, 4, 20, SIZES[2])
        @example(WHOLE, SOME_ISSUERS, InventorySort.NOT_AFTER, 4, 3, SIZES[1])
        @given(
            wanted=filters,
            scope=scopes,
            sort=st.sampled_from(InventorySort),
            limit=st.sampled_from([1, 4, 200]),
            bound=st.sampled_from([3, 20, 1_000]),
            sizes=st.sampled_from(SIZES),
        )
        def compare(
            wanted: InventoryFilter,
            scope: Scope | None,
            sort: InventorySort,
            limit: int,
            bound: int,
            sizes: tuple[int, int],
        ) -> None:
            set_sizes(monkeypatch, sizes)
            found = every_page(connection, ListQuery(wanted, sort, scope, limit), bound)
            assert found == in_order([row for row in rows if fits(row, wanted, scope)], sort)

        compare()

    await database.read(look)


@pytest.mark.parametrize("sort", [InventorySort.NEWEST, InventorySort.NOT_AFTER])
async def test_rows_that_are_added_meanwhile_move_nothing(
    database: Database, sort: InventorySort
) -> None:
    rows = make_rows(40)
    await database.write(lambda transaction: seed(transaction, rows))
    expected = in_order([row for row in rows if not row.archived], sort)
    query = ListQuery(InventoryFilter(), sort, None, 3)
    found: list[str] = []

    async def next_page() -> InventoryPage:
        return await database.read(lambda c: list_certificates(c, query, NOW, bound=5))

    for number in range(1_000):
        page = await next_page()
        found += [line.id for line in page.lines]
        if page.next is None:
            break
        query = replace(query, after=page.next)
        await database.write(partial(store, rows=make_rows(1, first=40 + number)))
    assert [which for which in found if which in set(expected)] == expected
    assert len(found) == len(set(found))


def _plans(connection: Connection, query: ListQuery) -> list[str]:
    """The steps of the plans that a page takes, those that read something."""
    statements: list[tuple[str, Any]] = []

    def keep(_c: Any, _cur: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", keep)
    list_certificates(connection, query, NOW, bound=20)
    event.remove(connection, "before_cursor_execute", keep)
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    lines = [
        str(row[-1]).strip()
        for statement, parameters in statements
        for row in connection.exec_driver_sql(explain + statement, parameters)
    ]
    # PostgreSQL says in the next line which part of the index it reads, if not all of it.
    following = [*lines[1:], ""]
    return [
        f"{step} {after}" if "Index Cond" in after else step
        for step, after in zip(lines, following, strict=True)
        if any(word in step for word in ("SCAN cert", "SEARCH cert", "Seq Scan", "Scan using"))
        or "Scan Backward" in step
    ]


PARTS: list[dict[str, Any]] = [
    *[{"status": status} for status in InventoryStatus],
    {"issuer_id": "iss-a"},
    {"profile_id": "prof-a"},
    {"owner": "web"},
    *[{"name": parse_name_filter(each, "name")} for each in ("a.example.org", "S*", "*.org")],
    {"expires_after": NOW, "expires_before": NOW + 2},
]
PAIRS = [{**PARTS[a], **PARTS[b]} for a, b in ((6, 8), (6, 12), (4, 6), (5, 11), (1, 11), (7, 3))]


#: So many that reading all of them would cost more than looking for one.
_MANY = text(
    "INSERT INTO certificates"
    " (id, issuer_id, profile_id, names, status, not_after, created_at, updated_at)"
    " WITH RECURSIVE numbers (n) AS"
    " (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000)"
    " SELECT 'cert-x' || n, 'iss-c', 'prof-b', '[]', 'issued', n, 1, 1 FROM numbers"
)


async def test_no_filter_scans(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of a filter, some pairs and kinds of scopes, in both orders, by every way."""
    await database.write(lambda transaction: seed(transaction, make_rows(130)))
    await database.write(lambda transaction: transaction.execute(_MANY, {}))
    wanted = [WHOLE, *[replace(WHOLE, **parts) for parts in PARTS + PAIRS]]

    def look(connection: Connection) -> None:
        for sizes, sort in product(SIZES, (InventorySort.NEWEST, InventorySort.NOT_AFTER)):
            set_sizes(monkeypatch, sizes)
            queries = [ListQuery(each, sort, None, 5) for each in wanted]
            queries += [ListQuery(WHOLE, sort, scope, 5) for scope in SCOPES]
            for query in queries:
                steps = _plans(connection, query)
                assert steps
                assert all("SEARCH" in step or "Index Cond" in step for step in steps), steps

    await database.read(look)
