"""A database that fails: everybody hears of it, nothing is half stored, it goes on by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import event, insert, text

from certctl.domain.errors import Unavailable
from certctl.storage import engine, tables, writer
from certctl.storage.audit import verify
from certctl.storage.database import open_database
from certctl.storage.sealing import Keyring
from tests.storage.samples import count, held_up, sample_event, sample_rows, seed_parents
from tests.support.targets import SECRET

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from certctl.storage.database import Database, Transaction
    from tests.support.clock import TurnableClock
    from tests.support.postgres import PostgresServer
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


async def append_many(database: Database, first: int, number: int = 20) -> list[Any]:
    """Appends that share a batch; the code of each one's error, or None."""
    async with held_up(database):
        tasks = [
            asyncio.create_task(database.append(sample_rows(n), [sample_event(n)]))
            for n in range(first, first + number)
        ]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    return [getattr(answer, "code", answer) for answer in answers]


async def assert_stored(database: Database, certificates: int) -> None:
    assert await count(database, tables.certificates) == certificates
    report = await database.read(lambda c: verify(c, database.audit_key))
    assert report.problems == []
    events = await count(database, tables.audit_events)
    assert events == certificates + 1  # and the chain's opening


@dataclass
class Pragma:
    """A pragma that new connections of the writer get while it is on, the present one at once."""

    database: Database
    pragma: str
    on: bool = False

    async def switch(self, *, on: bool) -> None:
        if not event.contains(self.database._writing, "connect", self._apply):
            event.listen(self.database._writing, "connect", self._apply)
        self.on = on
        if on:
            await self.database.write(
                lambda t: t.connection.exec_driver_sql(f"PRAGMA {self.pragma}").close()
            )

    def _apply(self, connection: Any, _record: object) -> None:
        if self.on:
            connection.execute(f"PRAGMA {self.pragma}").close()


@on_sqlite
@pytest.mark.parametrize("pragma", ["max_page_count = 1", "query_only = ON"])
async def test_sqlite_is_full_or_read_only(database: Database, pragma: str) -> None:
    await database.write(seed_parents)
    assert await append_many(database, 0) == [None] * 20
    trouble = Pragma(database, pragma)
    await trouble.switch(on=True)
    assert await append_many(database, 100, 200) == ["database-unavailable"] * 200
    assert await append_many(database, 100, 200) == ["database-unavailable"] * 200
    await assert_stored(database, 20)
    await trouble.switch(on=False)
    assert await append_many(database, 100) == [None] * 20
    await assert_stored(database, 40)


@on_sqlite
async def test_readiness_follows_a_read_only_database(database: Database) -> None:
    await database.ping()
    trouble = Pragma(database, "query_only = ON")
    await trouble.switch(on=True)
    with pytest.raises(Unavailable):
        await database.write(seed_parents)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await database.ping()
    await trouble.switch(on=False)
    await database.ping()


async def test_a_file_that_is_no_database(tmp_path: Path, clock: TurnableClock) -> None:
    (tmp_path / "certctl.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(Unavailable, match="cannot be opened"):
        await open_database(url=None, data_dir=tmp_path, clock=clock, keyring=Keyring(SECRET))


@on_sqlite
async def test_a_commit_that_fails_may_have_stored_something(database: Database) -> None:
    """A reference that is checked at COMMIT only makes COMMIT itself fail."""
    await database.write(seed_parents)
    await database.append([], [sample_event()])

    def orphan(transaction: Transaction) -> None:
        transaction.connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON").close()
        transaction.execute(
            insert(tables.certificate_names),
            {"value": "a", "certificate_id": "nobody", "kind": "dns"},
        )
        transaction.audit(sample_event(1))

    with pytest.raises(Unavailable, match="may or may not be stored"):
        await database.write(orphan)
    await database.append([], [sample_event(2)])
    report = await database.read(lambda c: verify(c, database.audit_key))
    assert (report.problems, report.chains, report.events) == ([], 1, 3)


def admin(postgres: PostgresServer, database: Database, statement: str) -> None:
    """Something that an administrator, or fate, does to the test's database."""
    name = database._writing.url.database
    assert name is not None
    formatted = sql.SQL(statement.replace("{name}", "{}"))
    if "{name}" in statement:
        postgres.execute(formatted.format(sql.Identifier(name)))
    else:
        postgres.execute(formatted, database=name)


TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@on_postgresql
async def test_postgresql_becomes_read_only(database: Database, postgres: PostgresServer) -> None:
    await database.write(seed_parents)
    assert await append_many(database, 0) == [None] * 20
    admin(postgres, database, "ALTER DATABASE {name} SET default_transaction_read_only = on")
    admin(postgres, database, TERMINATE)
    with pytest.raises(Unavailable):  # the connection is gone
        await database.append(sample_rows(99))
    with pytest.raises(Unavailable):
        await database.ping()
    assert await append_many(database, 100) == ["database-unavailable"] * 20
    await assert_stored(database, 20)
    admin(postgres, database, "ALTER DATABASE {name} RESET default_transaction_read_only")
    await database.ping()
    assert await append_many(database, 100) == [None] * 20
    await assert_stored(database, 40)


@on_postgresql
@pytest.mark.parametrize("sqlstate", ["53100", "53200", "53300", "57014", "58030"])
async def test_postgresql_runs_out_of_something(
    database: Database, postgres: PostgresServer, sqlstate: str
) -> None:
    await database.write(seed_parents)
    assert await append_many(database, 0) == [None] * 20
    admin(
        postgres,
        database,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'out of it' USING ERRCODE = '{sqlstate}'; END $$",
    )
    admin(
        postgres,
        database,
        "CREATE TRIGGER fail BEFORE INSERT ON versions FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    assert await append_many(database, 100) == ["database-unavailable"] * 20
    await assert_stored(database, 20)
    admin(postgres, database, "DROP TRIGGER fail ON versions")
    assert await append_many(database, 100) == [None] * 20
    await assert_stored(database, 40)


@on_postgresql
async def test_postgresql_fails_at_commit(database: Database, postgres: PostgresServer) -> None:
    await database.write(seed_parents)
    admin(
        postgres,
        database,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$",
    )
    admin(
        postgres,
        database,
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON versions DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    with pytest.raises(Unavailable, match="may or may not be stored"):
        await database.append(sample_rows(1), [sample_event(1)])
    admin(postgres, database, "DROP TRIGGER fail ON versions")
    await database.append(sample_rows(1), [sample_event(1)])
    await assert_stored(database, 1)


@on_postgresql
async def test_a_backend_is_terminated_in_the_middle(
    database: Database, postgres: PostgresServer
) -> None:
    await database.write(seed_parents)
    assert await append_many(database, 0) == [None] * 20

    def interrupted(transaction: Transaction) -> None:
        transaction.execute(insert(tables.chains), {"id": "x", "pem": "x"})
        admin(postgres, database, TERMINATE)
        transaction.execute(text("SELECT 1"))

    async with held_up(database):
        tasks = [asyncio.create_task(database.append(sample_rows(100)))]
        tasks += [asyncio.create_task(database.write(interrupted))]
        tasks += [asyncio.create_task(database.append(sample_rows(101)))]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(answer, "code", None) for answer in answers] == ["database-unavailable"] * 3
    await assert_stored(database, 20)
    assert await append_many(database, 100) == [None] * 20
    await assert_stored(database, 40)


@on_postgresql
async def test_a_backend_is_terminated_at_commit(
    database: Database, postgres: PostgresServer
) -> None:
    """What came of the COMMIT is unknown; the chain goes on from what the database has."""
    await database.write(seed_parents)
    await database.append([], [sample_event(0)])

    def terminate(_: Connection) -> None:
        admin(postgres, database, TERMINATE)

    event.listen(database._writing, "commit", terminate)
    with pytest.raises(Unavailable, match="may or may not be stored"):
        await database.append(sample_rows(1), [sample_event(1)])
    event.remove(database._writing, "commit", terminate)
    await database.append(sample_rows(1), [sample_event(1)])
    report = await database.read(lambda c: verify(c, database.audit_key))
    assert (report.problems, report.chains, report.events) == ([], 1, 3)


@on_postgresql
async def test_connections_that_died_while_idle_are_replaced(
    database: Database, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_IDLE_SECONDS", 0.0)
    await database.write(seed_parents)
    await asyncio.gather(*[count(database, tables.issuers) for _ in range(8)])
    admin(postgres, database, TERMINATE)
    assert await count(database, tables.issuers) == 1
    await database.append(sample_rows(1))


@on_postgresql
async def test_postgresql_cannot_be_reached(
    database_target: DatabaseTarget, clock: TurnableClock
) -> None:
    assert database_target.url is not None
    url = database_target.url.rsplit("/", 1)[0] + "/no_such_database"
    with pytest.raises(Unavailable, match="no_such_database"):
        await open_database(
            url=url, data_dir=database_target.data_dir, clock=clock, keyring=Keyring(SECRET)
        )


@on_postgresql
async def test_reads_of_a_database_that_is_gone(
    database: Database, postgres: PostgresServer
) -> None:
    await count(database, tables.issuers)
    name = database._writing.url.database
    assert name is not None
    postgres.drop_database(name)
    with pytest.raises(Unavailable):
        await count(database, tables.issuers)
    with pytest.raises(Unavailable):
        await database.ping()


@on_postgresql
async def test_deadlocked_batches_are_tried_again(
    database: Database, database_target: DatabaseTarget, clock: TurnableClock, keyring: Keyring
) -> None:
    """Two processes that insert the same keys the other way round."""
    other = await open_database(
        url=database_target.url, data_dir=database_target.data_dir, clock=clock, keyring=keyring
    )
    barrier = asyncio.Barrier(2)
    loop = asyncio.get_running_loop()
    waits = {"first": 1, "second": 1}

    def insert_both(name: str, *ids: str) -> Any:
        def write(transaction: Transaction) -> None:
            for number, chain_id in enumerate(ids):
                transaction.execute(
                    text("INSERT INTO chains VALUES (:id, '') ON CONFLICT DO NOTHING"),
                    {"id": chain_id},
                )
                if number == 0 and waits[name]:
                    waits[name] -= 1
                    asyncio.run_coroutine_threadsafe(barrier.wait(), loop).result(10)

        return write

    try:
        await asyncio.gather(
            database.write(insert_both("first", "a", "b")),
            other.write(insert_both("second", "b", "a")),
        )
    finally:
        await other.close()
    assert await count(database, tables.chains) == 2


@on_postgresql
async def test_a_lock_that_nobody_gives_back(
    database: Database, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of a process whose machine has vanished: callers hear of it, and may return."""
    monkeypatch.setitem(engine._SESSION_SETTINGS, "lock_timeout", "100ms")
    await database.append([], [sample_event(0)])
    database._writer._runner._drop()
    url = postgres.url(str(database._writing.url.database))
    with psycopg.connect(url) as holder:
        holder.execute("SELECT * FROM audit_chains FOR UPDATE")
        with pytest.raises(Unavailable):
            await database.append([], [sample_event(1)])
    await database.append([], [sample_event(1)])
    report = await database.read(lambda c: verify(c, database.audit_key))
    assert (report.problems, report.chains, report.events) == ([], 1, 3)
