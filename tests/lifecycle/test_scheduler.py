"""Which rows a process takes up, when, and how many: fairly by issuer, and within its limits."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select

from certctl.lifecycle.limits import Limits
from certctl.lifecycle.scheduler import Queue, Scheduler
from certctl.storage import tables
from certctl.storage.orders import LEASES
from tests.support.queues import (
    Calls,
    add_issuers,
    add_orders,
    another_process,
    change_limits,
    close_circuit,
    epochs,
    following,
    open_circuit,
)
from tests.support.status import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.database import Database
    from tests.support.targets import DatabaseTarget

    Start = Callable[..., Awaitable["Process"]]

pytestmark = pytest.mark.anyio

on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)

A, B, C = "iss-a", "iss-b", "iss-c"


class Process:
    """One process's scheduler, at work."""

    def __init__(
        self, database: Database, catalog: Catalog, scheduler: Scheduler, limits: Limits
    ) -> None:
        self.database, self.catalog = database, catalog
        self.scheduler, self.limits = scheduler, limits
        self._stopping = asyncio.Event()
        self._running = asyncio.create_task(scheduler.run(self._stopping))

    async def stop(self) -> None:
        """As an operator does it."""
        self._stopping.set()
        await self._running

    async def refresh(self) -> None:
        await self.catalog.refresh()


@pytest.fixture
async def start(database: Database, database_target: DatabaseTarget) -> AsyncIterator[Start]:
    """Starts processes on a database with issuers A, B and C; on SQLite there can be but one."""
    await following(database)
    await add_issuers(database, A, B, C)
    async with AsyncExitStack() as stack:

        async def begin(
            calls: Calls, *, concurrency: int = 32, queues: int = 1, **options: float
        ) -> Process:
            own = database
            if database.dialect == "postgresql":
                own = await another_process(database, database_target)
                stack.push_async_callback(own.close)
            catalog = await following(own)
            lease = options.get("lease_seconds", 60.0)
            limits = Limits(own, catalog, own.clock, lease_seconds=lease)
            scheduler = Scheduler(
                own,
                catalog,
                own.clock,
                [
                    Queue(f"order-{number}", LEASES, calls.of(own), concurrency)
                    for number in range(queues)
                ],
                limits=limits,
                **{"idle_seconds": 0.05, **options},
            )
            process = Process(own, catalog, scheduler, limits)
            stack.push_async_callback(process.stop)
            stack.callback(calls.let_go)
            return process

        yield begin


async def slices(database: Database) -> list[tuple[str, int]]:
    """Owners of live slices and until when."""
    its = tables.issuer_slices.c
    rows = await database.read(lambda c: c.execute(select(its.owner, its.until)).all())
    return [(row.owner, row.until) for row in rows if row.until > database.clock.now_ms()]


async def test_an_issuer_with_thousands_due_does_not_keep_anothers_waiting(
    database: Database, start: Start
) -> None:
    now = database.clock.now_ms()
    calls = Calls(held=True)
    await add_orders(database, A, 2000, due_at=now - 60_000)
    await start(calls)
    await eventually(lambda: calls.running[A] == 24)
    await add_orders(database, B, 2000, due_at=now)  # younger, and its CA does not answer either
    await eventually(lambda: calls.running[B] == 6)
    await add_orders(database, C, 1, due_at=now)
    await eventually(lambda: calls.running[C] == 1)
    assert calls.running[A] == 24


async def test_who_waits_longest_is_served_first_where_there_is_one_place(
    database: Database, start: Start
) -> None:
    now = database.clock.now_ms()
    calls = Calls()
    for issuer in (A, B, C):
        await add_orders(database, issuer, 20, due_at=now)
    await start(calls, concurrency=1)
    await eventually(lambda: len(calls.begun) == 60)
    for place in range(0, 60, 3):
        assert {issuer for issuer, _ in calls.begun[place : place + 3]} == {A, B, C}


async def test_the_end_of_a_step_makes_room_for_the_next(database: Database, start: Start) -> None:
    calls = Calls(held=True)
    await add_orders(database, A, 10, due_at=database.clock.now_ms())
    await start(calls, concurrency=2, idle_seconds=30.0)
    await eventually(lambda: calls.running[A] == 2)
    await asyncio.sleep(0.3)  # it has looked, and found no room
    calls.let_go()
    await eventually(lambda: calls.count(A) == 10, 5)


async def test_room_that_one_issuer_does_not_need_is_anothers(
    database: Database, start: Start
) -> None:
    now = database.clock.now_ms()
    calls = Calls(held=True)
    await add_orders(database, A, 1, due_at=now)
    await add_orders(database, B, 100, due_at=now)
    await start(calls, idle_seconds=30.0)
    await eventually(lambda: calls.running == {A: 1, B: 24})


async def test_an_issuer_whose_circuit_is_open_is_not_claimed_until_it_is_closed(
    database: Database, start: Start
) -> None:
    now = database.clock.now_ms()
    calls = Calls()
    await open_circuit(database, A)
    await open_circuit(database, B, "quota")
    await add_orders(database, A, 50, due_at=now - 1000)
    await add_orders(database, B, 1, due_at=now)
    await add_orders(database, C, 1, due_at=now)
    process = await start(calls, idle_seconds=30.0)  # what wakes it is not the time
    await eventually(lambda: len(calls.begun) == 2)
    assert {issuer for issuer, _ in calls.begun} == {B, C}, "a quota is the step's to heed"
    assert await epochs(database, A) == [0] * 50, "not even claimed"
    await close_circuit(database, A)
    await process.refresh()
    await eventually(lambda: calls.count(A) == 50)


async def test_a_row_begins_when_it_is_due_and_not_when_somebody_happens_to_look(
    database: Database, start: Start
) -> None:
    calls = Calls()
    process = await start(calls, idle_seconds=30.0)
    due_at = database.clock.now_ms() + 400
    await add_orders(database, A, 5, due_at=due_at, apart_ms=100)
    process.scheduler.wake()
    await eventually(lambda: len(calls.begun) == 5, 5)
    late = database.clock.now_ms() - (due_at + 400)
    assert 0 <= late < 4000


async def test_rows_are_claimed_many_at_a_time(database: Database, start: Start) -> None:
    now = database.clock.now_ms()
    calls = Calls()
    await add_orders(database, A, 400, due_at=now)
    claims: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE orders SET lease_owner") and "epoch=(" in statement:
            claims.append(statement)

    process = await start(calls)
    event.listen(process.database._writing, "before_cursor_execute", note)
    await eventually(lambda: len(calls.begun) == 400, 30)
    assert len(claims) <= 80
    assert await epochs(database, A) == [1] * 400


async def test_a_long_calls_row_is_kept(database: Database, start: Start) -> None:
    now = database.clock.now_ms()
    calls = Calls(held=True)
    await add_orders(database, A, 1, due_at=now)
    await start(calls, lease_seconds=0.6)
    if database.dialect == "postgresql":
        await start(calls, lease_seconds=0.6)
    await eventually(lambda: calls.count(A) == 1)
    await asyncio.sleep(1.5)
    assert calls.count(A) == 1
    assert await epochs(database, A) == [1]
    calls.let_go()
    await eventually(lambda: calls.running[A] == 0)


async def test_limits_of_an_issuer_hold_for_its_calls(database: Database, start: Start) -> None:
    now = database.clock.now_ms()
    calls = Calls()
    calls.seconds = 0.01
    await change_limits(database, A, max_concurrency=3)
    await add_orders(database, A, 60, due_at=now)
    await add_orders(database, B, 60, due_at=now)
    await start(calls)
    await eventually(lambda: len(calls.begun) == 120, 20)
    assert calls.most[A] == 3
    assert calls.most[B] > 3


async def test_queues_share_an_issuers_limits(database: Database, start: Start) -> None:
    """As orders and revocations do."""
    calls = Calls(held=True)
    await change_limits(database, A, max_concurrency=2)
    await add_orders(database, A, 9, due_at=database.clock.now_ms())
    await start(calls, queues=3)
    await eventually(lambda: calls.running[A] == 2)
    await asyncio.sleep(0.2)
    assert sum(await epochs(database, A)) == 2, "what cannot begin is not claimed"


async def test_a_rate_is_used_as_it_comes_in(database: Database, start: Start) -> None:
    now = database.clock.now_ms()
    calls = Calls()
    await change_limits(database, A, max_calls_per_minute=1200)  # 20 at once, then 20 a second
    await add_orders(database, A, 100, due_at=now)
    begun = time.monotonic()
    await start(calls, idle_seconds=30.0)
    await eventually(lambda: calls.count(A) == 20, 5)
    await eventually(lambda: calls.count(A) >= 36, 5)
    assert calls.count(A) <= 20 + (time.monotonic() - begun) * 20 + 1


@on_postgresql
async def test_processes_together_keep_to_an_issuers_limits(
    database: Database, start: Start
) -> None:
    now = database.clock.now_ms()
    calls = Calls()
    calls.seconds = 0.02
    await change_limits(database, A, max_concurrency=5)
    await add_orders(database, A, 300, due_at=now)
    first = await start(calls, lease_seconds=0.9)
    await eventually(lambda: calls.count(A) > 20)
    second = await start(calls, lease_seconds=0.9)
    await eventually(lambda: calls.count(A) > 150, 20)
    await first.stop()
    await eventually(lambda: calls.count(A) == 300, 20)
    assert calls.most[A] == 5
    assert len({order for _, order in calls.begun}) == 300, "none was claimed twice"
    await second.stop()
    assert await slices(database) == [], "what a process had, it gave back when it stopped"


async def test_what_could_not_begin_after_all_is_given_back(
    database: Database, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = database.clock.now_ms()
    calls = Calls()
    process = await start(calls)
    begin = process.limits.begin
    refused: list[str] = []

    def refuse(issuer_id: str) -> bool:
        """Its slice ended while the rows were claimed."""
        if len(refused) < 10:
            refused.append(issuer_id)
            return False
        return begin(issuer_id)

    monkeypatch.setattr(process.limits, "begin", refuse)
    await add_orders(database, A, 10, due_at=now)
    process.scheduler.wake()
    await eventually(lambda: calls.count(A) == 10)
    assert await epochs(database, A) == [2] * 10


async def test_an_issuer_that_is_not_known_yet_waits_until_it_is(
    database: Database, start: Start
) -> None:
    now = database.clock.now_ms()
    calls = Calls()
    process = await start(calls)
    await add_issuers(database, "iss-new")  # by another process, say
    await add_orders(database, "iss-new", 1, due_at=now)
    await add_orders(database, A, 1, due_at=now)
    await eventually(lambda: calls.count(A) == 1)
    assert calls.count("iss-new") == 0
    await process.refresh()
    await eventually(lambda: calls.count("iss-new") == 1)


async def test_steps_under_way_come_to_their_end_when_it_stops(
    database: Database, start: Start
) -> None:
    now = database.clock.now_ms()
    calls = Calls(held=True)
    await add_orders(database, A, 3, due_at=now)
    process = await start(calls)
    await eventually(lambda: calls.running[A] == 3)
    stopping = asyncio.create_task(process.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    calls.let_go()
    await stopping
    due = tables.orders.c.due_at
    left = await database.read(lambda c: c.execute(select(due).where(due.is_not(None))).all())
    assert left == []
