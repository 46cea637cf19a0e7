"""Claiming rows: of any group or of one, each by one process at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, update

from certctl.storage import tables
from certctl.storage.conditions import LEASES as CONDITIONS
from certctl.storage.orders import LEASES
from tests.support.queues import (
    add_issuers,
    add_orders,
    another_process,
    epochs,
    following,
    open_circuit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.database import Database, SqlRow, Transaction
    from tests.support.clock import TurnableClock
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

A, B, C = "iss-a", "iss-b", "iss-c"
LEASE_MS = 60_000


@pytest.fixture
async def catalog(database: Database) -> Catalog:
    """Of a database with three issuers."""
    catalog = await following(database)
    await add_issuers(database, A, B, C)
    return catalog


async def claim(
    database: Database, limit: int = 100, group: str | None = None, owner: str = "p"
) -> Sequence[SqlRow[Any]]:
    now = database.clock.now_ms()
    return await database.write(
        lambda t: LEASES.claim(
            t, owner=owner, now_ms=now, lease_ms=LEASE_MS, limit=limit, group=group
        )
    )


async def first_due(database: Database, *without: str) -> dict[str | None, int]:
    now = database.clock.now_ms()
    return await database.read(lambda c: LEASES.first_due(c, now, without))


async def change(database: Database, rows: Sequence[SqlRow[Any]], owner: str, until: int) -> None:
    keys = [LEASES.key(row) for row in rows]
    await database.write(lambda t: LEASES.extend(t, owner, keys, until))


@pytest.mark.usefixtures("catalog")
async def test_each_group_says_when_its_first_row_is_due(
    database: Database, clock: TurnableClock
) -> None:
    now = clock.now_ms()
    await add_orders(database, A, 3, due_at=now - 5000, apart_ms=1000)
    await add_orders(database, B, 2, due_at=now + 7000)
    assert await first_due(database) == {A: now - 5000, B: now + 7000}
    assert await first_due(database, A) == {B: now + 7000}
    assert await first_due(database, A, B) == {}
    await claim(database, limit=2, group=A)
    assert await first_due(database) == {A: now - 3000, B: now + 7000}, "the free ones count"
    clock.turn(seconds=LEASE_MS / 1000)
    assert (await first_due(database))[A] == now - 5000, "the leases have ended"


@pytest.mark.usefixtures("catalog")
async def test_a_group_is_claimed_oldest_first_and_nothing_else(
    database: Database, clock: TurnableClock
) -> None:
    now = clock.now_ms()
    mine = await add_orders(database, A, 5, due_at=now - 5000, apart_ms=1000)
    await add_orders(database, A, 5, due_at=now + 1)
    await add_orders(database, B, 5, due_at=now - 9000)
    claimed = await claim(database, limit=3, group=A)
    assert sorted(row.id for row in claimed) == mine[:3]
    assert {LEASES.group(row) for row in claimed} == {A}
    assert {(row.lease_owner, row.lease_until, row.epoch) for row in claimed} == {
        ("p", now + LEASE_MS, 1)
    }
    assert sorted(row.id for row in await claim(database, group=A)) == mine[3:]
    assert await claim(database, group=A) == []
    assert await epochs(database, B) == [0] * 5


@pytest.mark.usefixtures("catalog")
async def test_without_a_group_rows_of_any_are_claimed(
    database: Database, clock: TurnableClock
) -> None:
    now = clock.now_ms()
    await add_orders(database, A, 2, due_at=now)
    await add_orders(database, B, 2, due_at=now)
    claimed = await claim(database)
    assert {row.issuer_id for row in claimed} == {A, B}
    assert len(claimed) == 4


@pytest.mark.usefixtures("catalog")
async def test_a_lease_is_extended_by_its_owner_alone(
    database: Database, clock: TurnableClock
) -> None:
    now = clock.now_ms()
    await add_orders(database, A, 1, due_at=now)
    rows = await claim(database, group=A)
    await change(database, rows, "q", now + 10 * LEASE_MS)
    clock.turn(seconds=LEASE_MS / 1000 - 0.001)
    assert await claim(database, group=A, owner="q") == []
    clock.turn(seconds=0.001)
    (taken,) = await claim(database, group=A, owner="q")
    assert (taken.lease_owner, taken.epoch) == ("q", 2)
    await change(database, rows, "p", now + 10 * LEASE_MS)
    clock.turn(seconds=LEASE_MS / 1000)
    assert len(await claim(database, group=A)) == 1
    await change(database, rows, "p", clock.now_ms() + 10 * LEASE_MS)
    clock.turn(seconds=2 * LEASE_MS / 1000)
    assert await claim(database, group=A) == []


@pytest.mark.usefixtures("catalog")
async def test_what_is_given_back_is_free_at_once(database: Database, clock: TurnableClock) -> None:
    await add_orders(database, A, 2, due_at=clock.now_ms())
    rows = await claim(database, group=A)
    keys = [LEASES.key(row) for row in rows]
    await database.write(lambda t: LEASES.give_back(t, "q", keys))
    assert await claim(database, group=A, owner="q") == [], "not theirs to give"
    await database.write(lambda t: LEASES.give_back(t, "p", keys[:1]))
    assert [row.id for row in await claim(database, group=A, owner="q")] == keys[:1]


@pytest.mark.usefixtures("catalog")
async def test_rows_without_groups_are_one_group(database: Database, clock: TurnableClock) -> None:
    now = clock.now_ms()
    await open_circuit(database, A)
    assert await database.read(lambda c: CONDITIONS.first_due(c, now)) == {}

    def due(transaction: Transaction) -> None:
        transaction.execute(update(tables.issuer_conditions).values(due_at=now + 5))

    await database.write(due)
    assert await database.read(lambda c: CONDITIONS.first_due(c, now, [A])) == {None: now + 5}
    assert not CONDITIONS.grouped
    assert LEASES.grouped


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("catalog")
async def test_processes_that_claim_at_the_same_time_share_nothing(
    database: Database, database_target: DatabaseTarget, clock: TurnableClock
) -> None:
    await add_orders(database, A, 200, due_at=clock.now_ms())
    other = await another_process(database, database_target)
    try:
        claimed = await asyncio.gather(
            *(
                claim(process, limit=20, group=A, owner=owner)
                for _ in range(5)
                for process, owner in ((database, "p"), (other, "q"))
            )
        )
    finally:
        await other.close()
    ids = [row.id for rows in claimed for row in rows]
    assert len(ids) == len(set(ids)) == 200
    assert await epochs(database, A) == [1] * 200


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("catalog")
async def test_looking_and_claiming_use_the_index(database: Database, clock: TurnableClock) -> None:
    await add_orders(database, A, 10, due_at=clock.now_ms())
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "lease_until" in statement:
            statements.append((statement, parameters))

    for engine in (database._reading, database._writing):
        event.listen(engine, "before_cursor_execute", note)
    await first_due(database, B)
    await claim(database, group=A)
    for engine in (database._reading, database._writing):
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 2

    def plans(transaction: Transaction) -> list[str]:
        driver: Any = transaction.connection.connection.driver_connection
        found: list[str] = []
        for statement, parameters in statements:
            rows = driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            found.append("; ".join(row[3] for row in rows))
        return found

    for plan in await database.write(plans):
        assert "USING INDEX ix_orders_issuer_id_due_at (issuer_id=? AND due_at" in plan
        assert "SCAN orders" not in plan
