"""Hearing of changes on PostgreSQL: at once, from everybody, and again after a loss."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from psycopg import sql
from sqlalchemy import insert

from certctl.domain.errors import Misconfigured
from certctl.storage import tables
from certctl.storage.database import Duplicate
from certctl.storage.notifications import Notifications
from tests.storage.samples import held_up, sample_event, seed_parents
from tests.support.status import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from certctl.storage.database import Database, Transaction
    from tests.support.postgres import PostgresServer
    from tests.support.targets import DatabaseTarget

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("dialect", ["postgresql"], indirect=True),
]

TERMINATE = sql.SQL(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'certctl listen'"
)


class Ears:
    """Listens, and counts what it hears."""

    def __init__(self, url: str) -> None:
        self.heard = 0
        self.notifications = Notifications(url, self._hear)

    def _hear(self) -> None:
        self.heard += 1

    async def hear(self, more_than: int) -> None:
        """Wait until more was heard."""
        await eventually(lambda: self.heard > more_than)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen within the block, from when the connection is there."""
        stopping = asyncio.Event()
        running = asyncio.create_task(self.notifications.run(stopping))
        try:
            await eventually(lambda: self.notifications.listening_since is not None)
            yield
        finally:
            stopping.set()
            async with asyncio.timeout(5):
                await running


@pytest.fixture
def ears(database_target: DatabaseTarget) -> Ears:
    """Not listening yet."""
    assert database_target.url is not None
    return Ears(database_target.url)


def changing(transaction: Transaction) -> None:
    """A change that others are to hear of."""
    transaction.changed()


async def test_a_change_is_heard_and_anything_else_is_not(database: Database, ears: Ears) -> None:
    async with ears.open():
        assert ears.heard == 1, "for what was before"
        await database.append([], [sample_event()])
        await asyncio.sleep(0.1)
        assert ears.heard == 1
        await database.write(changing)
        await ears.hear(1)
    assert ears.notifications.listening_since is None


async def test_what_is_rolled_back_is_not_heard(database: Database, ears: Ears) -> None:
    def fail(transaction: Transaction) -> None:
        transaction.changed()
        raise RuntimeError

    async with ears.open():
        with pytest.raises(RuntimeError):
            await database.write(fail)
        await asyncio.sleep(0.1)
        assert ears.heard == 1


async def test_a_change_beside_somebody_elses_mistake_is_heard(
    database: Database, ears: Ears
) -> None:
    """The batch is then run again, caller by caller."""
    await database.write(seed_parents)

    def duplicate(transaction: Transaction) -> None:
        transaction.execute(insert(tables.chains), {"id": "x", "pem": ""})
        transaction.execute(insert(tables.chains), {"id": "x", "pem": ""})

    async with ears.open():
        before = await database.change_counter()
        async with held_up(database):
            wrong = asyncio.create_task(database.write(duplicate))
            right = asyncio.create_task(database.write(changing))
        with pytest.raises(Duplicate):
            await wrong
        await right
        await ears.hear(1)
        assert await database.change_counter() == before + 1


async def test_after_a_loss_it_connects_again_and_wants_a_look(
    database: Database, ears: Ears, postgres: PostgresServer
) -> None:
    name = database._writing.url.database
    async with ears.open():
        for losses in range(1, 4):
            postgres.execute(TERMINATE, database=name)
            await eventually(lambda: ears.notifications.listening_since is None)
            await ears.hear(losses)  # something may have been missed
            heard = ears.heard
            await database.write(changing)
            await ears.hear(heard)
            ears.heard = losses + 1


async def test_a_database_that_is_not_there_is_tried_again(
    database_target: DatabaseTarget, postgres: PostgresServer, database: Database
) -> None:
    assert database_target.url is not None
    name = str(database._writing.url.database)
    await database.close()
    postgres.drop_database(name)
    ears = Ears(database_target.url)
    stopping = asyncio.Event()
    running = asyncio.create_task(ears.notifications.run(stopping))
    await asyncio.sleep(0.3)
    assert not running.done()
    assert (ears.heard, ears.notifications.listening_since) == (0, None)
    postgres.create_database(name)
    await ears.hear(0)
    stopping.set()
    await running


async def test_the_connection_says_what_it_is(
    database: Database, ears: Ears, postgres: PostgresServer
) -> None:
    """Nothing of it is left when it stops, and it is found among the others."""

    async def listening() -> int:
        return await database.read(
            lambda c: c.exec_driver_sql(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'certctl listen'"
            ).scalar_one()
        )

    async with ears.open():
        assert await listening() == 1
    for _ in range(100):
        if await listening() == 0:
            break
        await asyncio.sleep(0.02)
    assert await listening() == 0


async def test_an_address_that_is_none(dialect: str) -> None:
    with pytest.raises(Misconfigured):
        Notifications("mysql://nobody@nowhere/nothing", lambda: None)
