"""Limits on calls to a CA: within a process, and across all of them. Time is turned."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from certctl.domain.errors import Unavailable
from certctl.domain.limits import UNLIMITED
from certctl.lifecycle.limits import Limits
from certctl.storage import tables
from certctl.storage.slices import lock_limits
from tests.storage.samples import count_commits
from tests.support.clock import TurnableClock
from tests.support.queues import add_issuers, another_process, change_limits, following

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.database import Connection, Database, Transaction
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)

A = "iss-a"
LEASE = 15.0


@pytest.fixture
def clock() -> TurnableClock:
    """Nothing here waits."""
    return TurnableClock()


@dataclass
class Process:
    """One process's limits."""

    limits: Limits
    catalog: Catalog
    database: Database

    async def room(self) -> int:
        return (await self.limits.room([A]))[A]

    async def begin(self, wanted: int) -> int:
        """Begin up to so many calls, as the scheduler does; how many began."""
        room = min(await self.room(), wanted)
        return sum(self.limits.begin(A) for _ in range(room))

    def end(self, count: int = 1) -> None:
        for _ in range(count):
            self.limits.end(A)


@dataclass
class Machines:
    """Processes on one database, and the time that they share."""

    clock: TurnableClock
    make: Callable[[], Awaitable[Process]]
    processes: list[Process] = field(default_factory=list)

    async def start(self) -> Process:
        process = await self.make()
        self.processes.append(process)
        return process

    async def turn(self, seconds: float, *processes: Process) -> None:
        """Time goes by, and these processes (all, where none is named) keep what they need."""
        while seconds > 0:
            self.clock.turn(seconds=min(seconds, 0.5))
            seconds -= 0.5
            for process in processes or self.processes:
                await process.limits.keep()


@pytest.fixture
async def machines(
    database: Database, database_target: DatabaseTarget, clock: TurnableClock
) -> AsyncIterator[Machines]:
    """With the issuer A, which has no limits yet."""
    await following(database)
    await add_issuers(database, A)
    async with AsyncExitStack() as stack:

        async def make() -> Process:
            own = database
            if database.dialect == "postgresql":
                own = await another_process(database, database_target)
                stack.push_async_callback(own.close)
            catalog = await following(own)
            limits = Limits(
                own,
                catalog,
                clock,
                lease_seconds=60.0,
                monotonic=lambda: clock.now_ms() / 1000,
            )
            return Process(limits, catalog, own)

        yield Machines(clock, make)


async def limited(machines: Machines, **limits: int | None) -> Process:
    """A process of an issuer with limits."""
    first = await machines.start()
    await change_limits(first.database, A, **limits)
    await first.catalog.refresh()
    return first


async def slices(database: Database) -> list[tuple[int, int, int]]:
    def read(connection: Connection) -> list[tuple[int, int, int]]:
        its = tables.issuer_slices.c
        rows = connection.execute(select(its.concurrency, its.calls_per_minute, its.until))
        return [(row[0], row[1], row[2]) for row in rows]

    return await database.read(read)


def most_in_a_minute(times: list[float]) -> int:
    most, window = 0, deque[float]()
    for time in times:
        window.append(time)
        while window[0] <= time - 60:
            window.popleft()
        most = max(most, len(window))
    return most


async def test_without_limits_nothing_is_limited_and_nothing_written(machines: Machines) -> None:
    process = await machines.start()
    commits = count_commits(process.database)
    assert await process.room() == UNLIMITED
    assert await process.begin(500) == 500
    process.end(500)
    assert await process.limits.room(["iss-of-nobody"]) == {"iss-of-nobody": UNLIMITED}
    assert process.limits.wait([A]) == float("inf")
    assert commits == []


async def test_so_many_calls_at_a_time_and_no_more(machines: Machines) -> None:
    process = await limited(machines, max_concurrency=3)
    assert await process.room() == 3
    assert [process.limits.begin(A) for _ in range(4)] == [True, True, True, False]
    assert await process.room() == 0
    process.end()
    assert await process.room() == 1
    assert process.limits.begin(A)
    assert not process.limits.begin(A)


async def test_no_minute_sees_more_calls_than_allowed(machines: Machines) -> None:
    process = await limited(machines, max_calls_per_minute=20)
    begun: list[float] = []
    for _ in range(600):
        for _ in range(await process.begin(100)):
            process.end()
            begun.append(machines.clock.now_ms() / 1000)
        await machines.turn(0.5)
    assert most_in_a_minute(begun) <= 20
    assert len(begun) >= 0.95 * 20 * 5, "nor many fewer"


async def test_who_comes_first_may_begin_at_once_and_is_told_how_long_to_wait(
    machines: Machines,
) -> None:
    process = await limited(machines, max_calls_per_minute=2)
    assert await process.begin(9) == 1
    assert process.limits.wait([A]) == pytest.approx(30)
    await machines.turn(29)
    assert await process.room() == 0
    assert process.limits.wait([A]) == pytest.approx(1)
    await machines.turn(1)
    assert await process.room() == 1
    process.end()


async def test_both_limits_hold(machines: Machines) -> None:
    process = await limited(machines, max_calls_per_minute=6000, max_concurrency=2)
    assert await process.begin(9) == 2
    await machines.turn(10)
    assert await process.room() == 0
    process.end(2)
    assert await process.room() == 2


async def test_a_changed_limit_is_in_effect_as_soon_as_it_is_heard_of(machines: Machines) -> None:
    process = await limited(machines, max_concurrency=4)
    assert await process.begin(3) == 3
    for limit, room in ((6, 3), (2, 0), (None, UNLIMITED), (5, 2)):
        await change_limits(process.database, A, max_concurrency=limit)
        await process.catalog.refresh()
        assert await process.room() == room
    process.end(3)
    assert await process.room() == 5


async def test_a_limit_heard_of_in_between_lets_nothing_begin_before_it_is_divided(
    machines: Machines,
) -> None:
    process = await limited(machines, max_concurrency=4)
    assert await process.room() == 4
    await change_limits(process.database, A, max_concurrency=1)
    await process.catalog.refresh()
    assert not process.limits.begin(A)
    assert await process.begin(9) == 1
    process.end()
    await change_limits(process.database, A, max_calls_per_minute=1)
    await process.catalog.refresh()
    assert not process.limits.begin(A)


async def test_a_steady_stream_of_calls_costs_no_write_for_each(machines: Machines) -> None:
    process = await limited(machines, max_concurrency=4, max_calls_per_minute=6000)
    commits = count_commits(process.database)
    begun = 0
    for _ in range(100):
        begun += await process.begin(4)
        process.end(4)
        await machines.turn(0.1)
    assert begun == 400
    assert len(commits) <= 4


@on_postgresql
async def test_processes_divide_a_limit_and_never_exceed_it(machines: Machines) -> None:
    chance = random.Random(5)
    await limited(machines, max_concurrency=7)
    for _ in range(2):
        await machines.start()
    running = [0, 0, 0]
    most, each = 0, [0, 0, 0]
    for round_ in range(300):
        for place, process in enumerate(machines.processes):
            running[place] += await process.begin(10)
            each[place] = max(each[place], running[place]) if round_ > 60 else 0
            most = max(most, sum(running))
            assert sum(running) <= 7
        for place, process in enumerate(machines.processes):
            done = chance.randint(0, running[place])
            process.end(done)
            running[place] -= done
        await machines.turn(0.5)
        assert sum(row[0] for row in await slices(process.database)) <= 7
    assert most == 7, "all of it was used"
    assert sorted(each) == [2, 2, 3], "by each its part"


@on_postgresql
async def test_a_process_that_joins_gets_its_part_while_the_other_is_busy(
    machines: Machines,
) -> None:
    old = await limited(machines, max_concurrency=6)
    assert await old.begin(9) == 6
    new = await machines.start()
    assert await new.begin(9) == 0
    got = 0
    for _ in range(30):
        await machines.turn(0.5)
        old.end()  # as soon as one ends, it would begin another
        await old.begin(1)
        got += await new.begin(9)
    assert got == 3
    assert await old.room() == 0


@on_postgresql
async def test_what_a_dead_process_had_is_free_when_its_slice_ends(machines: Machines) -> None:
    dead = await limited(machines, max_concurrency=2, max_calls_per_minute=60)
    assert await dead.begin(1) == 1
    living = await machines.start()
    await machines.turn(LEASE - 1, living)
    assert await living.room() == 0
    await machines.turn(1.5, living)
    await living.room()
    await machines.turn(1, living)
    assert await living.room() == 1
    await machines.turn(1, living)
    assert await living.begin(9) == 1


@on_postgresql
@pytest.mark.parametrize("limit", [1, 5])
async def test_a_process_without_work_soon_gives_up_what_it_has(
    machines: Machines, limit: int
) -> None:
    idle = await limited(machines, max_concurrency=limit)
    busy = await machines.start()
    assert await idle.begin(9) == limit
    idle.end(limit)
    waited = 0.0
    while await busy.room() < limit:
        await machines.turn(0.5)
        waited += 0.5
    assert waited <= LEASE
    assert await idle.room() == 0
    assert len(await slices(busy.database)) == 2, "it has work again"


@on_postgresql
async def test_a_process_that_stops_gives_everything_back(machines: Machines) -> None:
    stopping = await limited(machines, max_concurrency=2)
    assert await stopping.room() == 2
    other = await machines.start()
    assert await other.room() == 0
    await stopping.limits.release()
    machines.clock.turn(seconds=0.5)
    assert await other.room() == 2


@on_postgresql
async def test_calls_under_way_are_kept_room_for(machines: Machines) -> None:
    slow = await limited(machines, max_concurrency=3)
    assert await slow.begin(2) == 2
    other = await machines.start()
    for _ in range(60):  # twice as long as the slice lasts
        await machines.turn(0.5)
        assert await other.room() <= 1
    assert await other.room() == 1
    slow.end(2)
    await machines.turn(LEASE)
    assert await other.room() == 3


@on_postgresql
async def test_a_process_that_stood_still_begins_nothing_before_it_has_renewed(
    machines: Machines,
) -> None:
    paused = await limited(machines, max_concurrency=2)
    assert await paused.room() == 2
    machines.clock.turn(seconds=LEASE)
    assert not paused.limits.begin(A)
    assert await paused.room() == 2
    machines.clock.turn(seconds=LEASE)
    other = await machines.start()
    assert await other.begin(9) == 2
    assert not paused.limits.begin(A)
    assert await paused.room() == 0


@on_postgresql
async def test_nothing_begins_while_a_slice_cannot_be_renewed(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await limited(machines, max_concurrency=2)
    assert await process.room() == 2
    write = process.database.write

    async def fail(_fn: Any) -> None:
        raise Unavailable("database-unavailable", "not there")

    monkeypatch.setattr(process.database, "write", fail)
    machines.clock.turn(seconds=LEASE / 2)
    with pytest.raises(Unavailable):
        await process.limits.keep()
    assert not process.limits.begin(A), "what was stored, nobody knows"
    with pytest.raises(Unavailable):
        await process.room()
    monkeypatch.setattr(process.database, "write", write)
    assert await process.room() == 2


@on_postgresql
async def test_who_finds_the_limit_being_divided_does_not_wait_and_keeps_its_part(
    machines: Machines,
) -> None:
    process = await limited(machines, max_concurrency=2)
    assert await process.room() == 2
    machines.clock.turn(seconds=LEASE / 2)
    other = await machines.start()
    held, done = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(transaction: Transaction) -> None:
        lock_limits(transaction, [A])
        loop.call_soon_threadsafe(held.set)
        done.wait(10)

    holding = asyncio.create_task(other.database.write(hold))
    await held.wait()
    third = await machines.start()
    rooms = await process.room(), await third.room()
    again = third.limits.wait([A])
    done.set()
    await holding
    assert rooms == (2, 0)
    assert again < 1, "it looks again soon"


@on_postgresql
async def test_processes_that_come_and_go_keep_to_the_rate(machines: Machines) -> None:
    chance = random.Random(7)
    await limited(machines, max_calls_per_minute=30)
    begun: list[float] = []
    for round_ in range(1200):
        if round_ % 120 == 60 and len(machines.processes) < 4:
            await machines.start()
        if round_ % 240 == 200 and len(machines.processes) > 2:
            leaving = machines.processes.pop(chance.randrange(2))
            if round_ % 480 == 200:
                await leaving.limits.release()
        for process in machines.processes:
            for _ in range(await process.begin(5)):
                process.end()
                begun.append(machines.clock.now_ms() / 1000)
        await machines.turn(0.5)
    # While parts move, one call may be early for each process that has one.
    assert most_in_a_minute(begun) <= 30 + 4
    assert len(begun) >= 0.8 * 30 * 10


@on_postgresql
async def test_who_takes_another_ones_place_does_not_begin_its_minute_anew(
    machines: Machines,
) -> None:
    before = await limited(machines, max_calls_per_minute=2)
    assert await before.begin(1) == 1
    before.end()
    await before.limits.release()
    machines.processes.clear()
    after = await machines.start()
    for _ in range(30):
        assert await after.room() == 0
        await machines.turn(1)
    assert await after.begin(1) == 1


@on_postgresql
async def test_tokens_that_were_given_up_do_not_come_back(machines: Machines) -> None:
    saving = await limited(machines, max_calls_per_minute=2)
    assert await saving.room() == 1
    other = await machines.start()
    for _ in range(60):  # it has no work any more, and the other one has
        await machines.turn(1)
        if await other.begin(1):
            other.end()
    await other.limits.release()
    machines.processes.remove(other)
    assert await saving.room() == 0
    for _ in range(30):
        assert await saving.room() == 0
        await machines.turn(1)
    assert await saving.room() == 1


@on_postgresql
async def test_a_rate_too_small_to_divide_is_one_processs_and_moves_when_that_has_no_work(
    machines: Machines,
) -> None:
    holder = await limited(machines, max_calls_per_minute=1)
    assert await holder.begin(1) == 1
    holder.end()
    other = await machines.start()
    begun = []
    for second in range(240):  # both have work all the time
        for process in machines.processes:
            if await process.begin(1):
                process.end()
                begun.append((second, process is holder))
        await machines.turn(1)
    assert [second for second, _ in begun] == pytest.approx([60, 120, 180], abs=2)
    assert all(was_holder for _, was_holder in begun)
    for second in range(240, 480):  # only the other one has
        if await other.begin(1):
            begun.append((second, False))
            other.end()
        await machines.turn(1)
    assert len(begun) >= 3 + 2
    times = [float(second) for second, _ in begun]
    assert most_in_a_minute(times) <= 1 + 1


@on_postgresql
async def test_the_sum_of_slices_follows_a_lowered_limit(machines: Machines) -> None:
    first = await limited(machines, max_concurrency=8)
    second = await machines.start()
    await first.room()
    await second.room()
    await machines.turn(LEASE)
    await change_limits(first.database, A, max_concurrency=2)
    for process in machines.processes:
        await process.catalog.refresh()
        await process.room()
    for _ in range(4):
        await machines.turn(0.5)
        rooms = [await process.room() for process in machines.processes]
    assert sum(rooms) == 2
    assert sum(row[0] for row in await slices(first.database)) == 2
