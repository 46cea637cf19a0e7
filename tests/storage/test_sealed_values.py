"""Sealed values: the first writer wins, and only its scope can read it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from certctl.domain.errors import Misconfigured
from certctl.storage.database import open_database
from certctl.storage.sealed_values import StoredState, find_sealed, swap
from certctl.storage.tables import sealed_values
from tests.storage.samples import held_up, let_queue

if TYPE_CHECKING:
    from certctl.connectors.contract import ConnectorState
    from certctl.storage.database import Database
    from certctl.storage.sealing import Keyring
    from tests.support.clock import TurnableClock
    from tests.support.targets import DatabaseTarget

MOVE = update(sealed_values).where(sealed_values.c.scope == "iss-a").values(scope="iss-b")

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
    stored = await database.read(lambda c: find_sealed(c, "iss-a", "account"))
    assert stored is not None
    assert b"a secret" not in stored


async def test_a_value_moved_to_another_row_is_not_opened(database: Database) -> None:
    await StoredState(database, "iss-a").put_if_absent("account", b"x")
    await database.write(lambda t: t.execute(MOVE))
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


async def test_a_value_is_sealed_with_the_key_of_the_time_when_it_is_stored(
    database: Database, keyring: Keyring
) -> None:
    """Not with that of a while ago, which a rotation may have given up since."""
    async with held_up(database):
        storing = [
            asyncio.create_task(StoredState(database, "iss-a").put_if_absent("account", b"x")),
            asyncio.create_task(swap(database, "iss-a", "token", expected=None, new=b"y")),
        ]
        await let_queue()
        keyring.use("a new secret of 32 characters...")
    assert await asyncio.gather(*storing) == [b"x", b"y"]
    for name in ("account", "token"):
        stored = await database.read(lambda c, n=name: find_sealed(c, "iss-a", n))  # type: ignore[misc] # bound now
        assert stored is not None
        assert stored.startswith(keyring.header)
