"""Sealed values: the first writer wins, and only its scope can read it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from certctl.domain.errors import Misconfigured
from certctl.storage.database import open_database
from certctl.storage.sealed_values import StoredState, swap
from certctl.storage.tables import sealed_values

if TYPE_CHECKING:
    from certctl.connectors.contract import ConnectorState
    from certctl.storage.database import Database
    from certctl.storage.sealing import Keyring
    from tests.support.clock import TurnableClock
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio


async def test_the_first_value_stays(database: Database) -> None:
    state: ConnectorState = StoredState(database, "iss-a")
    assert await state.get("account") is None
    assert await state.put_if_absent("account", b"first") == b"first"
    assert await state.put_if_absent("account", b"second") == b"first"
    assert await state.get("account") == b"first"
    assert await StoredState(database, "iss-b").get("account") is None


async def test_the_value_is_sealed(database: Database) -> None:
    await StoredState(database, "iss-a").put_if_absent("account", b"a secret")
    stored = await database.read(lambda c: c.execute(select(sealed_values.c.sealed)).scalar_one())
    assert b"a secret" not in stored


async def test_a_value_moved_to_another_row_is_not_opened(database: Database) -> None:
    await StoredState(database, "iss-a").put_if_absent("account", b"x")
    await database.write(lambda t: t.execute(update(sealed_values).values(scope="iss-b")))
    with pytest.raises(Misconfigured):
        await StoredState(database, "iss-b").get("account")
    with pytest.raises(Misconfigured):
        await StoredState(database, "iss-b").put_if_absent("account", b"y")


async def test_processes_that_race_agree(
    database: Database, database_target: DatabaseTarget, clock: TurnableClock, keyring: Keyring
) -> None:
    other = await open_database(
        url=database_target.url, data_dir=database_target.data_dir, clock=clock, keyring=keyring
    )
    try:
        for number in range(10):
            answers = await asyncio.gather(
                *[
                    StoredState(side, "iss-a").put_if_absent(f"key-{number}", bytes([n]))
                    for n, side in enumerate([database, other] * 3)
                ]
            )
            assert len(set(answers)) == 1
    finally:
        await other.close()


async def test_a_swap_needs_the_value_that_was_seen(database: Database) -> None:
    assert await swap(database, "server", "tls", expected=None, new=b"1") == b"1"
    assert await swap(database, "server", "tls", expected=None, new=b"2") == b"1"
    assert await swap(database, "server", "tls", expected=b"0", new=b"2") == b"1"
    assert await swap(database, "server", "tls", expected=b"1", new=b"2") == b"2"
    assert await StoredState(database, "server").get("tls") == b"2"
    assert await swap(database, "server", "gone", expected=b"1", new=b"2") == b"2"
