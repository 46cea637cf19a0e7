"""Following the database: nothing that was stored before a look is missed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.errors import InvalidInput, Unavailable
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.seeding import seed
from tests.support.status import ISSUER, change_issuer, eventually, status_service

if TYPE_CHECKING:
    from certctl.storage.database import Database, Transaction
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


def changing(transaction: Transaction) -> None:
    """A change that others are to notice."""
    transaction.changed()


async def test_those_who_ask_while_a_look_is_under_way_share_the_next_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed(database, {})
    catalog = Catalog(database, database.clock)
    await catalog.refresh()
    look = database.change_counter
    looks: list[asyncio.Event] = []

    async def slow() -> int:
        counter = await look()
        looks.append(asyncio.Event())
        await looks[-1].wait()
        return counter

    monkeypatch.setattr(database, "change_counter", slow)
    heard: list[None] = []
    catalog.subscribe(lambda: heard.append(None))
    early = asyncio.create_task(catalog.refresh())
    await eventually(lambda: len(looks) == 1)
    await database.write(changing)  # the look under way has read its counter before
    late = [asyncio.create_task(catalog.refresh()) for _ in range(20)]
    looks[0].set()
    await early
    assert heard == []
    assert not any(task.done() for task in late)
    await eventually(lambda: len(looks) == 2)
    looks[1].set()
    await asyncio.gather(*late)
    assert len(heard) == 2, "seen, and loaded"
    assert len(looks) == 2


async def test_a_failing_look_is_everybodys_who_shares_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog(database, database.clock)
    looks: list[None] = []

    async def fail() -> int:
        looks.append(None)
        raise Unavailable("database-unavailable", "not there")

    monkeypatch.setattr(database, "change_counter", fail)
    results = await asyncio.gather(*[catalog.refresh() for _ in range(10)], return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 10
    assert len(looks) == 1
    assert await catalog.catch_up() is catalog.in_step()


@on_postgresql
async def test_a_look_that_does_not_come_back_is_not_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certctl.lifecycle.catalog._CATCH_UP_SECONDS", 0.05)
    catalog = Catalog(database, database.clock)
    hanging = asyncio.Event()

    async def hang() -> int:
        await hanging.wait()
        return 0

    monkeypatch.setattr(database, "change_counter", hang)
    assert await catalog.catch_up() is False
    monkeypatch.setattr("certctl.lifecycle.catalog._CATCH_UP_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for _ in range(100):
        assert await catalog.catch_up() is False
    assert loop.time() - begun < 0.1, "nobody waits for what others waited for in vain"
    hanging.set()
    await catalog.refresh()
    assert await catalog.catch_up() is True


async def test_in_step_is_who_listens_and_has_looked_since(
    database: Database, database_target: DatabaseTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with status_service(database, listen_url=database_target.url) as service:
        catalog = service.catalog
        assert catalog.in_step()
        if database.dialect == "sqlite":  # one process: nobody else changes anything
            return
        # The look before it listened does not count, nor does one that is too old.
        assert catalog._notifications is not None
        since = catalog._notifications.listening_since
        assert since is not None
        catalog._looked_at = since - 0.001
        assert not catalog.in_step()
        assert await catalog.catch_up()
        assert catalog.in_step()
        monkeypatch.setattr("certctl.lifecycle.catalog._IN_STEP_SECONDS", 0.0)
        assert not catalog.in_step()


@on_postgresql
async def test_a_notification_brings_a_look_long_before_the_next_second(
    database: Database, database_target: DatabaseTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certctl.lifecycle.catalog.WATCH_SECONDS", 60.0)
    async with status_service(database, listen_url=database_target.url) as service:
        await asyncio.sleep(0.2)  # the looks at the start are over
        heard: list[None] = []
        service.catalog.subscribe(lambda: heard.append(None))
        await database.write(changing)
        await eventually(lambda: heard != [], 1.0)


@on_postgresql
async def test_a_burst_of_changes_is_not_a_burst_of_looks(
    database: Database, database_target: DatabaseTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = database.change_counter
    looks: list[None] = []

    async def counted() -> int:
        looks.append(None)
        return await look()

    async with status_service(database, listen_url=database_target.url) as service:
        await asyncio.sleep(0.2)
        monkeypatch.setattr(database, "change_counter", counted)
        begun = asyncio.get_running_loop().time()
        for _ in range(50):
            await database.write(changing)
        await asyncio.sleep(0.2)
        took = asyncio.get_running_loop().time() - begun
        assert 1 <= len(looks) <= 20 * took + 2
        assert service.catalog._snapshot.counter == await look()


async def test_a_disabled_issuer_has_its_connector_and_takes_no_orders(
    database: Database,
) -> None:
    async with status_service(database) as service:
        await change_issuer(database, enabled=False)
        await service.catalog.refresh()
        assert service.catalog.issuer(ISSUER).connector is not None
        with pytest.raises(InvalidInput, match="disabled"):
            service.catalog.usable_issuer(ISSUER)


async def test_what_is_dropped_is_dropped_before_the_rows_are_loaded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with status_service(database) as service:
        heard: list[str] = []
        service.catalog.subscribe(lambda: heard.append("told"))
        load = service.catalog._load

        def loading(connection: Any) -> Any:
            heard.append("loaded")
            return load(connection)

        monkeypatch.setattr(service.catalog, "_load", loading)
        await database.write(changing)
        await service.catalog.refresh()
        assert heard == ["told", "loaded", "told"]
