"""Issuers in one process: how a connector comes into its place, and what keeps others from it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from certctl.connectors import errors
from certctl.domain.errors import InvalidInput, NotFound, Unavailable
from certctl.lifecycle.catalog import Catalog
from certctl.storage.issuers import (
    IssuerRecord,
    delete_issuer,
    get_issuer,
    insert_issuer,
    update_issuer,
)
from tests.support.sample_issuer import Sample, settings
from tests.support.status import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from certctl.connectors.contract import ConnectorContext
    from certctl.storage.database import Database
    from tests.support.sample_issuer import SampleConfig

pytestmark = pytest.mark.anyio

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def sample() -> Sample:
    return Sample()


async def add(database: Database, issuer_id: str, **changes: Any) -> IssuerRecord:
    """Store an issuer of the sample type."""
    now = database.clock.now_ms()
    given = settings(**changes)
    key = given.pop("api_key")
    record = IssuerRecord(
        issuer_id, issuer_id, "Sample", given, {"api_key": key}, "api", True, 1, now, now
    )
    await database.write(lambda t: insert_issuer(t, database.keyring, record))
    return record


async def change(database: Database, issuer_id: str, **changes: Any) -> None:
    """Change one, as another process would."""
    before = await database.read(lambda c: get_issuer(c, database.keyring, issuer_id))
    assert before is not None
    config = {**before.config, **changes.pop("config", {})}
    after = replace(before, config=config, **changes)
    assert await database.write(lambda t: update_issuer(t, database.keyring, after))


@asynccontextmanager
async def watching(catalog: Catalog) -> AsyncIterator[None]:
    """Have the catalog follow the database."""
    stopping = asyncio.Event()
    task = asyncio.create_task(catalog.watch(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


async def test_only_the_changed_issuer_gets_another_connector(
    database: Database, sample: Sample
) -> None:
    for issuer_id in ("iss-a", "iss-b"):
        await add(database, issuer_id)
    catalog = Catalog(database, database.clock, sample.find)
    await catalog.refresh()
    one, other = (catalog.issuer(name).connector for name in ("iss-a", "iss-b"))
    await change(database, "iss-a", config={"retries": 5})
    await catalog.refresh()
    now: Any = catalog.issuer("iss-a").connector
    assert now is not one
    assert now.config.retries == 5
    assert catalog.issuer("iss-b").connector is other


async def test_a_slow_connector_holds_up_no_other_and_comes_into_its_place_later(
    database: Database, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certctl.lifecycle.live_issuers._START_SECONDS", 0.2)
    monkeypatch.setattr("certctl.lifecycle.live_issuers._SWAP_SECONDS", 0.1)
    go_on = asyncio.Event()

    async def slowly(config: SampleConfig, context: ConnectorContext) -> None:
        if context.issuer_id == "iss-slow" and config.retries == 3:
            await go_on.wait()

    sample.build = slowly
    for issuer_id in ("iss-quick", "iss-slow"):
        await add(database, issuer_id)
    catalog = Catalog(database, database.clock, sample.find)
    heard: list[str] = []

    async def came() -> None:
        heard.append("came")

    catalog.live.expect(came)
    await catalog.refresh()
    catalog.usable_issuer("iss-quick")
    assert catalog.issuer("iss-slow").problem == "its connector is still being set up"
    with pytest.raises(Unavailable, match="still being set up"):
        catalog.usable_issuer("iss-slow")
    told: list[None] = []
    catalog.subscribe(lambda: told.append(None))
    # A change of another issuer neither waits for it nor begins it anew.
    await change(database, "iss-quick", config={"retries": 4})
    await catalog.refresh()
    told.clear()
    go_on.set()
    await eventually(lambda: heard == ["came"])
    assert told == [None]
    assert catalog.usable_issuer("iss-slow")[1] is sample.built[-1]
    assert len(sample.built) == 3


async def test_a_connector_that_is_late_does_not_replace_a_newer_one(
    database: Database, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certctl.lifecycle.live_issuers._START_SECONDS", 0.05)
    go_on = asyncio.Event()

    async def slowly(config: SampleConfig, _context: ConnectorContext) -> None:
        if config.retries == 3:
            await go_on.wait()

    sample.build = slowly
    await add(database, "iss-a")
    catalog = Catalog(database, database.clock, sample.find)
    await catalog.refresh()
    assert catalog.issuer("iss-a").connector is None
    await change(database, "iss-a", config={"retries": 4})
    await catalog.refresh()
    newer: Any = catalog.issuer("iss-a").connector
    assert newer.config.retries == 4
    go_on.set()
    await catalog.live.mend()
    await eventually(lambda: len(sample.built) == 2)
    await asyncio.sleep(0.02)
    assert catalog.issuer("iss-a").connector is newer


@on_sqlite
async def test_while_new_settings_are_slow_the_earlier_connector_works(
    database: Database, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certctl.lifecycle.live_issuers._SWAP_SECONDS", 0.05)
    await add(database, "iss-a")
    catalog = Catalog(database, database.clock, sample.find)
    await catalog.refresh()
    before = catalog.issuer("iss-a").connector
    go_on = asyncio.Event()

    async def slowly(_config: SampleConfig, _context: ConnectorContext) -> None:
        await go_on.wait()

    sample.build = slowly
    await change(database, "iss-a", config={"retries": 4})
    await catalog.refresh()
    assert catalog.usable_issuer("iss-a")[1] is before
    assert catalog.issuer("iss-a").problem is None
    go_on.set()
    await eventually(lambda: catalog.issuer("iss-a").connector is not before)


async def test_settings_that_do_not_work_leave_the_earlier_connector_at_work(
    database: Database, sample: Sample
) -> None:
    await add(database, "iss-a")
    catalog = Catalog(database, database.clock, sample.find)
    await catalog.refresh()
    before = catalog.issuer("iss-a").connector

    async def refuse(_config: SampleConfig, _context: ConnectorContext) -> None:
        raise errors.Misconfigured("there is no key.pem")

    sample.build = refuse
    await change(database, "iss-a", config={"retries": 4})
    await catalog.refresh()
    assert catalog.issuer("iss-a").problem == "there is no key.pem"
    assert catalog.usable_issuer("iss-a")[1] is before
    # Settings that do not even validate, as an older version may have stored them.
    await change(database, "iss-a", config={"retries": 99})
    await catalog.refresh()
    assert "retries: " in str(catalog.issuer("iss-a").problem)
    assert catalog.usable_issuer("iss-a")[1] is before


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (errors.Misconfigured("no file"), "no file"),
        (errors.Unavailable("nobody there"), "nobody there"),
        (KeyError("mistake"), "the connector failed in a way that it should not (KeyError)"),
        (TimeoutError(), "the connector failed in a way that it should not (TimeoutError)"),
        ("hang", "the connector was not set up within 0.1 seconds"),
    ],
)
@on_sqlite
async def test_what_was_in_the_way_is_tried_again_without_a_change(
    database: Database, sample: Sample, what: Exception | str, words: str
) -> None:
    async def fail(_config: SampleConfig, context: ConnectorContext) -> None:
        if context.issuer_id != "iss-broken":
            return
        if isinstance(what, Exception):
            raise what
        await asyncio.Event().wait()

    sample.build = fail
    for issuer_id in ("iss-broken", "iss-good"):
        await add(database, issuer_id)
    catalog = Catalog(database, database.clock, sample.find, build_seconds=0.1, retry_seconds=0.05)
    heard: list[str] = []

    async def came() -> None:
        heard.append("came")
        raise Unavailable("database-unavailable", "and what it leads to is no reason to stop")

    catalog.live.expect(came)
    with capture_logs() as logs:
        await catalog.refresh()
        good = catalog.usable_issuer("iss-good")[1]
        assert str(catalog.issuer("iss-broken").problem).startswith(words)
        async with watching(catalog):
            await asyncio.sleep(0.3)  # it is tried in vain, and says so once
            sample.build = None
            await eventually(lambda: catalog.issuer("iss-broken").problem is None)
            await eventually(lambda: heard == ["came"])
    assert catalog.usable_issuer("iss-broken")[1] is sample.built[-1]
    assert catalog.usable_issuer("iss-good")[1] is good
    assert len([line for line in logs if line["event"] == "issuer not ready"]) == 1


@on_sqlite
async def test_a_database_that_fails_meanwhile_is_no_fault_of_the_issuer(
    database: Database, sample: Sample
) -> None:
    async def fail(_config: SampleConfig, _context: ConnectorContext) -> None:
        raise Unavailable("database-unavailable", "not there")

    sample.build = fail
    await add(database, "iss-a")
    await add(database, "iss-b")
    catalog = Catalog(database, database.clock, sample.find)
    with pytest.raises(Unavailable, match="not there"):
        await catalog.refresh()
    sample.build = None
    await catalog.refresh()
    catalog.usable_issuer("iss-a")


async def test_a_deleted_issuer_is_gone_and_its_id_may_be_anothers(
    database: Database, sample: Sample
) -> None:
    await add(database, "iss-a")
    catalog = Catalog(database, database.clock, sample.find)
    await catalog.refresh()
    first = catalog.issuer("iss-a").connector
    await database.write(lambda t: delete_issuer(t, "iss-a"))
    await asyncio.sleep(0.002)  # another one is made at another time
    await add(database, "iss-a", retries=99)
    await catalog.refresh()
    assert catalog.issuer("iss-a").connector is None, "not the one that was deleted"
    await database.write(lambda t: delete_issuer(t, "iss-a"))
    await catalog.refresh()
    with pytest.raises(NotFound):
        catalog.issuer("iss-a")
    assert first is not None


async def test_an_archived_issuer_takes_no_orders_and_has_its_connector(
    database: Database, sample: Sample
) -> None:
    await add(database, "iss-a")
    await change(database, "iss-a", archived_at=1, enabled=False)
    catalog = Catalog(database, database.clock, sample.find)
    await catalog.refresh()
    assert catalog.issuer("iss-a").connector is not None
    with pytest.raises(InvalidInput, match="archived"):
        catalog.usable_issuer("iss-a")
