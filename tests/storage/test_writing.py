"""Many callers, shared commits, and each one's own errors."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, text

from certctl.domain.errors import Conflict, Unavailable
from certctl.storage import tables
from certctl.storage.audit import verify
from certctl.storage.certificates import add_spare_version
from certctl.storage.database import Duplicate, open_database
from certctl.storage.idempotency import DUPLICATE_KEY
from certctl.storage.versions import DUPLICATE_SERIAL, VersionRecord
from certctl.storage.writer import MAX_BATCH
from tests.storage.samples import (
    CHAIN_ID,
    count,
    count_commits,
    held_up,
    let_queue,
    sample_event,
    sample_rows,
    seed_parents,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from sqlalchemy import Connection, Table

    from certctl.storage.database import Database, Row, Transaction
    from certctl.storage.sealing import Keyring
    from tests.support.clock import TurnableClock
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio


async def together(database: Database, *calls: Callable[[], Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run calls so that they share a batch; their values or errors."""
    async with held_up(database):
        tasks = [asyncio.create_task(call()) for call in calls]
    return await asyncio.gather(*tasks, return_exceptions=True)


async def assert_audit_intact(database: Database) -> None:
    report = await database.read(lambda c: verify(c, database.audit_key))
    assert report.problems == []


def only_row(connection: Connection, *, table: Table) -> Row:
    return dict(connection.execute(select(table)).mappings().one())


VERSION_TABLES = (tables.chains, tables.versions)


@asynccontextmanager
async def open_again(
    target: DatabaseTarget, clock: TurnableClock, keyring: Keyring
) -> AsyncIterator[Database]:
    """The database as another process has it open."""
    opened = await open_database(
        url=target.url, data_dir=target.data_dir, clock=clock, keyring=keyring
    )
    try:
        yield opened
    finally:
        await opened.close()


def someone_waits_for_a_lock(connection: Connection) -> bool:
    return bool(
        connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )
    )


async def test_rows_arrive_as_they_were(database: Database) -> None:
    await database.write(seed_parents)
    await database.append(sample_rows(1), [sample_event()])
    for table, row in sample_rows(1):
        stored = await database.read(partial(only_row, table=table))
        assert stored == dict.fromkeys(table.columns.keys()) | row


async def test_concurrent_appends_share_commits(database: Database) -> None:
    await database.write(seed_parents)
    commits = count_commits(database)
    calls = [lambda n=n: database.append(sample_rows(n), [sample_event(n)]) for n in range(50)]
    assert await together(database, *calls) == [None] * 50
    assert len(commits) == 2  # the one that held the writer up, and ours
    assert await count(database, tables.certificates) == 50
    assert await count(database, tables.chains) == 1
    await assert_audit_intact(database)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_two_processes_may_store_the_first_version_of_a_chain_at_once(
    database: Database, database_target: DatabaseTarget, clock: TurnableClock, keyring: Keyring
) -> None:
    await database.write(seed_parents)
    versions = []
    for number in (1, 2):
        rows = sample_rows(number)
        await database.append([(t, row) for t, row in rows if t not in VERSION_TABLES])
        version = next(row for table, row in rows if table is tables.versions)
        versions.append(VersionRecord(**version, chain="-----BEGIN", reference=None))
    async with open_again(database_target, clock, keyring) as other:
        stored, commit = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def store_slowly(transaction: Transaction) -> None:
            add_spare_version(transaction, versions[0])
            loop.call_soon_threadsafe(stored.set)
            commit.wait(10)

        first = asyncio.create_task(database.write(store_slowly))
        await stored.wait()
        second = asyncio.create_task(other.write(lambda t: add_spare_version(t, versions[1])))
        async with asyncio.timeout(10):
            while not await database.read(someone_waits_for_a_lock):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        commit.set()
        await asyncio.gather(first, second)
    assert await count(database, tables.versions) == 2
    assert await count(database, tables.chains) == 1


async def test_a_batch_is_bounded(database: Database) -> None:
    commits = count_commits(database)
    calls = [lambda: database.write(lambda _: None) for _ in range(MAX_BATCH + 1)]
    await together(database, *calls)
    assert len(commits) == 3


async def test_everybody_gets_their_own_value(database: Database) -> None:
    def give(_: Transaction, *, number: int) -> int:
        return number

    calls = [partial(database.write, partial(give, number=number)) for number in range(20)]
    assert await together(database, *calls) == list(range(20))


async def test_only_the_duplicate_is_refused(database: Database) -> None:
    await database.write(seed_parents)
    answers = await together(
        database,
        lambda: database.append(sample_rows(1, key="same"), [sample_event(1)]),
        lambda: database.append(sample_rows(2, key="same"), [sample_event(2)]),
        lambda: database.append(sample_rows(3, serial="1"), [sample_event(3)]),
        lambda: database.append(sample_rows(4), [sample_event(4)]),
        lambda: database.write(lambda t: t.audit(sample_event(5))),
    )
    assert [type(answer) for answer in answers] == [
        type(None), Duplicate, Duplicate, type(None), type(None),
    ]  # fmt: skip
    assert answers[1].constraint == DUPLICATE_KEY
    assert answers[2].constraint == DUPLICATE_SERIAL
    stored = await database.read(
        lambda c: c.execute(select(tables.certificates.c.id).order_by("id")).scalars().all()
    )
    assert stored == ["cert-1", "cert-4"]
    events = await database.read(
        lambda c: (
            c.execute(
                select(tables.audit_events.c.object_id).order_by("seq").where(text("seq > 1"))
            )
            .scalars()
            .all()
        )
    )
    assert events == ["cert-1", "cert-4", "cert-5"]
    await assert_audit_intact(database)


async def test_a_duplicate_alone(database: Database) -> None:
    await database.write(seed_parents)
    await database.append(sample_rows(1), [sample_event(1)])
    with pytest.raises(Duplicate) as raised:
        await database.append(sample_rows(2, key="idem-1"), [sample_event(2)])
    assert raised.value.constraint == DUPLICATE_KEY
    await database.append(sample_rows(2), [sample_event(2)])
    await assert_audit_intact(database)


async def test_a_second_open_order_names_its_index(database: Database) -> None:
    await database.write(seed_parents)
    await database.append(sample_rows(1))
    _, order = next(pair for pair in sample_rows(1) if pair[0] is tables.orders)
    await database.append([(tables.orders, order | {"id": "ord-x", "state": "ready"})])
    with pytest.raises(Duplicate) as raised:
        await database.append([(tables.orders, order | {"id": "ord-y", "state": "pending"})])
    assert raised.value.constraint == "uq_orders_open"


async def test_broken_reference_is_its_owners_error(database: Database) -> None:
    await database.write(seed_parents)
    orphan = [pair for pair in sample_rows(1) if pair[0] is tables.orders]
    answers = await together(
        database,
        lambda: database.append(orphan),
        lambda: database.append(sample_rows(2)),
    )
    assert [type(answer) for answer in answers] == [Duplicate, type(None)]


async def test_a_raising_function_undoes_only_itself(database: Database) -> None:
    await database.write(seed_parents)

    def conflicting(transaction: Transaction) -> None:
        transaction.execute(insert(tables.chains), {"id": "x", "pem": "x"})
        transaction.audit(sample_event(9))
        transaction.changed()
        raise Conflict("busy", "not now")

    answers = await together(
        database,
        lambda: database.write(conflicting),
        lambda: database.append(sample_rows(1), [sample_event(1)]),
        lambda: database.write(lambda _: "value"),
    )
    assert isinstance(answers[0], Conflict)
    assert answers[1:] == [None, "value"]
    assert await database.change_counter() == 0
    assert await count(database, tables.certificates) == 1
    with pytest.raises(Conflict):
        await database.write(conflicting)
    chains = await database.read(lambda c: c.execute(select(tables.chains.c.id)).scalars().all())
    assert chains == [CHAIN_ID]
    await assert_audit_intact(database)


async def test_an_exception_that_no_future_takes(database: Database) -> None:
    def fail(_: Transaction) -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await database.write(fail)


async def test_a_swallowed_error_does_not_pass_for_success(database: Database) -> None:
    await database.write(seed_parents)

    def swallow(transaction: Transaction) -> None:
        transaction.execute(insert(tables.chains), {"id": "x", "pem": "x"})
        try:
            transaction.execute(text("SELECT * FROM nowhere"))
        except Exception:  # noqa: BLE001 - the mistake under test
            return

    answers = await together(
        database, lambda: database.write(swallow), lambda: database.append(sample_rows(1))
    )
    assert answers[1] is None
    stored = await count(database, tables.chains)
    if answers[0] is None:  # SQLite lets a transaction go on
        assert stored == 2
    else:
        assert stored == 1
    await assert_audit_intact(database)


async def test_changed_counts_once_for_a_transaction(database: Database) -> None:
    def change(transaction: Transaction) -> None:
        transaction.changed()
        transaction.changed()

    before = await database.change_counter()
    await database.write(change)
    assert await database.change_counter() == before + 1


async def test_an_unknown_column_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="no column nmae"):
        await database.append([(tables.chains, {"id": "x", "pem": "x", "nmae": 1})])


async def test_an_event_that_is_not_json_harms_nobody(database: Database) -> None:
    bad = sample_event()
    bad.detail["x"] = object()
    answers = await together(
        database,
        lambda: database.append([], [bad]),
        lambda: database.write(lambda t: t.audit(bad)),
        lambda: database.append([], [sample_event()]),
    )
    assert [type(answer) for answer in answers] == [TypeError, TypeError, type(None)]


async def test_an_event_that_cannot_be_stored_harms_nobody(database: Database) -> None:
    bad = replace(sample_event(), object_id="\ud800")
    answers = await together(
        database,
        lambda: database.append([], [bad]),
        lambda: database.append([], [sample_event()]),
    )
    assert isinstance(answers[0], UnicodeError)
    assert answers[1] is None
    await assert_audit_intact(database)


async def test_cancelled_work_is_dropped_while_it_waits(database: Database) -> None:
    await database.write(seed_parents)
    async with held_up(database):
        waiting = asyncio.create_task(database.append(sample_rows(1)))
        other = asyncio.create_task(database.append(sample_rows(2)))
        await let_queue()
        assert database.queue_depth == 2
        waiting.cancel()
        await asyncio.sleep(0)
    await other
    assert waiting.cancelled()
    assert await count(database, tables.certificates) == 1


async def test_running_work_is_finished_although_its_caller_is_gone(database: Database) -> None:
    def store(transaction: Transaction) -> None:
        loop.call_soon_threadsafe(running.set)
        transaction.execute(insert(tables.chains), {"id": "x", "pem": "x"})
        transaction.audit(sample_event())

    loop, running = asyncio.get_running_loop(), asyncio.Event()
    task = asyncio.create_task(database.write(store))
    await running.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await database.write(lambda _: None)  # behind it
    assert await count(database, tables.chains) == 1


async def test_close_finishes_what_was_asked_for_then_refuses(database: Database) -> None:
    await database.write(seed_parents)
    async with held_up(database):
        tasks = [asyncio.create_task(database.append(sample_rows(n))) for n in range(20)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(database.close())
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            await database.append(sample_rows(99))
    assert await asyncio.gather(*tasks) == [None] * 20
    await closing
    for refused in (database.write(lambda _: None), database.read(lambda _: None), database.ping()):
        with pytest.raises(Unavailable) as raised:
            await refused
        assert raised.value.code == "server-stopping"
    await database.close()  # again is no error


async def test_reads_cannot_write(database: Database) -> None:
    with pytest.raises(Unavailable):
        await database.read(
            lambda c: c.execute(insert(tables.chains), {"id": "x", "pem": "x"}).close()
        )
    assert await count(database, tables.chains) == 0


async def test_a_read_sees_one_state(database: Database) -> None:
    loop = asyncio.get_running_loop()

    def look_twice(connection: Any) -> tuple[int, int]:
        statement = select(tables.changes.c.counter)
        first = connection.execute(statement).scalar_one()
        change = asyncio.run_coroutine_threadsafe(database.write(lambda t: t.changed()), loop)
        change.result(10)
        return first, connection.execute(statement).scalar_one()

    assert await database.read(look_twice) == (0, 0)
    assert await database.change_counter() == 1


async def test_ping_writes_unless_a_commit_is_fresh(database: Database) -> None:
    commits = count_commits(database)
    await database.ping()
    await database.ping()
    assert len(commits) == 1
