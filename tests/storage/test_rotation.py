"""Sealing anew while others write: nothing is lost, and nothing old comes back."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from certctl.storage.database import Database, open_database
from certctl.storage.issuers import (
    IssuerRecord,
    get_issuer,
    insert_issuer,
    list_issuers,
    update_issuer,
)
from certctl.storage.rotation import Place, count_by_header, reseal
from certctl.storage.sealed_values import StoredState, find_sealed, swap
from certctl.storage.sealing import Keyring
from certctl.storage.tables import issuers, sealed_values
from tests.support.targets import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection

    from tests.support.clock import TurnableClock
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

NEW = "a new secret of 32 characters..."
SCOPE = "iss-a"
#: The audit key, which every database has.
OWN = 1


def issuer(issuer_id: str, secret: str | None) -> IssuerRecord:
    secrets = {} if secret is None else {"token": secret}
    return IssuerRecord(issuer_id, issuer_id, "Some", {}, secrets, "api", True, 1, 1, 1)


async def store_issuer(database: Database, issuer_id: str, secret: str | None) -> None:
    record = issuer(issuer_id, secret)
    await database.write(lambda t: insert_issuer(t, database.keyring, record))


async def put_issuer(database: Database, issuer_id: str, secret: str) -> None:
    """Change its secret, as a PUT does."""
    keyring = database.keyring
    found = await database.read(lambda c: get_issuer(c, keyring, issuer_id))
    assert found is not None
    changed = replace(found, secrets={"token": secret})
    assert await database.write(lambda t: update_issuer(t, keyring, changed))


async def contents(database: Database, keyring: Keyring) -> dict[Place, bytes]:
    """Everything that is sealed, opened."""

    def read(connection: Connection) -> dict[Place, bytes]:
        found = {
            Place(row.scope, row.name): keyring.open(row.scope, row.name, row.sealed)
            for row in connection.execute(select(sealed_values))
            if row.scope != "server"
        }
        for record in list_issuers(connection, keyring):
            if record.secrets:
                found[Place(record.id, "config")] = json.dumps(record.secrets).encode()
        return found

    return await database.read(read)


async def under(database: Database, keyring: Keyring) -> int:
    """How many values a ring's current key seals."""
    return (await database.read(count_by_header))[keyring.header]


@asynccontextmanager
async def other_process(
    target: DatabaseTarget, clock: TurnableClock, *secrets: str
) -> AsyncIterator[Database]:
    opened = await open_database(
        url=target.url, data_dir=target.data_dir, clock=clock, keyring=Keyring(*secrets)
    )
    try:
        yield opened
    finally:
        await opened.close()


@pytest.mark.parametrize("batch", [1, 3, 100])
async def test_everything_is_sealed_anew_and_says_the_same(database: Database, batch: int) -> None:
    for number in range(7):
        await StoredState(database, f"iss-{number % 3}").put_if_absent(f"key-{number}", b"x" * 9)
    for number in range(5):
        await store_issuer(database, f"iss-{number}", None if number == 2 else f"token {number}")
    keyring = database.keyring
    before = await contents(database, keyring)
    assert len(before) == 7 + 4
    keyring.use(NEW)
    done = await reseal(database, batch)
    assert (done.count, done.unopened) == (len(before) + OWN, ())
    assert await contents(database, Keyring(NEW)) == before
    assert await database.read(count_by_header) == {Keyring(NEW).header: len(before) + OWN}
    assert (await reseal(database, batch)).count == 0


async def test_nothing_else_of_the_row_changes(database: Database) -> None:
    await store_issuer(database, "iss-a", "token")
    await StoredState(database, "iss-a").put_if_absent("key", b"x")

    def rows(connection: Connection) -> list[dict[str, Any]]:
        found = [
            dict(row)
            for table in (issuers, sealed_values)
            for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
        ]
        for row in found:
            row.pop("sealed", None)
            row.pop("sealed_config", None)
        return found

    before, counter = await database.read(rows), await database.change_counter()
    cast("TurnableClock", database.clock).turn(days=1)
    database.keyring.use(NEW)
    await reseal(database)
    assert await database.read(rows) == before
    assert await database.change_counter() == counter, "other processes need not look"


async def test_what_cannot_be_opened_is_named_and_stops_nobody(database: Database) -> None:
    for name in ("a", "b", "c", "d", "e"):
        await StoredState(database, SCOPE).put_if_absent(name, name.encode())
    await store_issuer(database, "iss-b", "token")
    foreign = Keyring("a secret that nobody here has....").seal(SCOPE, "b", b"b")
    cut = database.keyring.seal(SCOPE, "d", b"d")[:20]
    for name, sealed in (("b", foreign), ("d", cut)):
        where = sealed_values.c.name == name
        await database.write(
            lambda t, w=where, s=sealed: t.execute(update(sealed_values).where(w).values(sealed=s))  # type: ignore[misc] # bound now
        )
    moved = database.keyring.seal("iss-elsewhere", "config", b"{}")
    await database.write(lambda t: t.execute(update(issuers).values(sealed_config=moved)))
    database.keyring.use(NEW)
    done = await reseal(database, 2)
    assert done.count == 3 + OWN
    assert done.unopened == (Place(SCOPE, "b"), Place(SCOPE, "d"), Place("iss-b", "config"))
    stored = await database.read(lambda c: find_sealed(c, SCOPE, "b"))
    assert stored == foreign, "left as it was"
    assert await under(database, Keyring(NEW)) == 3 + OWN


async def test_no_value_is_opened_to_be_counted(database: Database) -> None:
    await StoredState(database, SCOPE).put_if_absent("a", b"x")
    await store_issuer(database, "iss-b", None)
    foreign = Keyring(NEW).seal("elsewhere", "x", b"x")
    await store_issuer(database, "iss-c", "token")
    await database.write(
        lambda t: t.execute(
            update(issuers).where(issuers.c.id == "iss-c").values(sealed_config=foreign)
        )
    )
    assert await database.read(count_by_header) == {
        Keyring(SECRET).header: 1 + OWN,
        Keyring(NEW).header: 1,
    }


class Meddled:
    """A database of which others change something before each write of a rotation."""

    def __init__(self, database: Database, meddle: Callable[[], Any]) -> None:
        self._database = database
        self._meddle = meddle
        self.keyring = database.keyring

    async def read(self, fn: Callable[[Connection], Any]) -> Any:
        """As the database does it."""
        return await self._database.read(fn)

    async def write(self, fn: Callable[[Any], Any]) -> Any:
        """After what the others do."""
        await self._meddle()
        return await self._database.write(fn)


async def test_a_put_while_a_batch_is_sealed_wins(database: Database) -> None:
    await StoredState(database, SCOPE).put_if_absent("token", b"old")
    await StoredState(database, SCOPE).put_if_absent("account", b"stays")
    await store_issuer(database, "iss-a", "old")
    await store_issuer(database, "iss-b", "stays")

    async def meddle() -> None:
        await swap(database, SCOPE, "token", expected=b"old", new=b"new")
        await put_issuer(database, "iss-a", "new")

    database.keyring.use(NEW)
    done = await reseal(cast("Database", Meddled(database, meddle)))
    assert done.count == 2 + OWN
    opened = await contents(database, Keyring(NEW))
    assert opened == {
        Place(SCOPE, "token"): b"new",
        Place(SCOPE, "account"): b"stays",
        Place("iss-a", "config"): b'{"token": "new"}',
        Place("iss-b", "config"): b'{"token": "stays"}',
    }


names = st.sampled_from(["a", "b", "c", "d"])
#: What happens before a write of the rotation: by whom (this process, or one that still seals with
#: the old key), what, to which value.
actions = st.tuples(
    st.sampled_from(["this", "old"]), st.sampled_from(["swap", "put_if_absent", "PUT"]), names
)
scripts = st.lists(st.lists(actions, max_size=4), max_size=8)


@dataclass
class World:
    """Two processes, and what must be stored as far as they were told."""

    this: Database
    old: Database
    model: dict[Place, bytes] = field(default_factory=dict)
    number: int = 0

    async def reset(self) -> None:
        """Some values under the old key, in both tables."""
        self.model = {}
        await self.this.write(
            lambda t: t.execute(delete(sealed_values).where(sealed_values.c.scope != "server"))
        )
        await self.this.write(lambda t: t.execute(delete(issuers)))
        for name in ("a", "b"):
            await self.act("old", "put_if_absent", name)
        for name in "abcd":
            await store_issuer(self.old, name, "first")
            self.model[Place(name, "config")] = b'{"token": "first"}'

    async def act(self, who: str, what: str, name: str) -> None:
        """Do it, and expect what comes of it."""
        database = self.old if who == "old" else self.this
        self.number += 1
        value = f"value {self.number}"
        place = Place(SCOPE, name)
        if what == "PUT":
            await put_issuer(database, name, value)
            self.model[Place(name, "config")] = json.dumps({"token": value}).encode()
        elif what == "swap":
            seen = self.model.get(place)
            got = await swap(database, SCOPE, name, expected=seen, new=value.encode())
            assert got == value.encode(), "nobody else has changed it"
            self.model[place] = got
        else:
            got = await StoredState(database, SCOPE).put_if_absent(name, value.encode())
            assert got == self.model.setdefault(place, value.encode())

    async def play(self, script: list[list[tuple[str, str, str]]]) -> None:
        """A rotation, with what the script says before each of its writes."""
        await self.reset()
        scenes = iter(script)

        async def meddle() -> None:
            for action in next(scenes, []):
                await self.act(*action)

        await reseal(cast("Database", Meddled(self.this, meddle)), 2)
        assert await contents(self.this, self.this.keyring) == self.model
        await reseal(self.this, 2)
        assert await contents(self.this, Keyring(NEW)) == self.model
        assert set(await self.this.read(count_by_header)) == {Keyring(NEW).header}


async def test_no_update_is_lost_whatever_happens_between(
    database: Database, database_target: DatabaseTarget, clock: TurnableClock
) -> None:
    database.keyring.use(NEW)
    loop = asyncio.get_running_loop()
    async with other_process(database_target, clock, SECRET, NEW) as old:
        world = World(database, old)

        @settings(
            max_examples=30,
            deadline=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        )
        @given(scripts)
        def check(script: list[list[tuple[str, str, str]]]) -> None:
            asyncio.run_coroutine_threadsafe(world.play(script), loop).result(60)

        await asyncio.to_thread(check)


async def test_counters_of_many_writers_lose_no_count(
    database: Database, database_target: DatabaseTarget, clock: TurnableClock
) -> None:
    """Two processes count up values, one of them the same, while one rotates again and again."""
    secrets = [f"{number} is one of several secrets, each long enough" for number in range(6)]
    keyring = database.keyring
    stopping = asyncio.Event()
    won = dict.fromkeys("abc", 0)

    async def count_up(where: Database, name: str) -> None:
        seen: bytes | None = None
        mine = 0
        while not stopping.is_set():
            mine += 1
            number = 1 + (0 if seen is None else int(seen.split()[0]))
            new = f"{number} {id(asyncio.current_task())} {mine}".encode()
            got = await swap(where, SCOPE, name, expected=seen, new=new)
            won[name] += got == new
            seen = got

    async with other_process(database_target, clock, SECRET, *secrets) as other:
        writers = [
            asyncio.create_task(count_up(where, name))
            for name, where in [*product("abc", [database, database]), ("c", other)]
        ]
        for secret in secrets:
            keyring.use(secret)
            await reseal(database, 2)
        stopping.set()
        await asyncio.gather(*writers)
    assert (await reseal(database)).unopened == ()
    for name, number in won.items():
        stored = await StoredState(database, SCOPE).get(name)
        assert stored is not None
        assert int(stored.split()[0]) == number > 0


async def test_two_rotations_at_once_get_in_nobodys_way(
    database: Database, database_target: DatabaseTarget, clock: TurnableClock
) -> None:
    """As with two processes on PostgreSQL."""
    for number in range(50):
        await StoredState(database, SCOPE).put_if_absent(f"{number}", b"x")
    database.keyring.use(NEW)
    async with other_process(database_target, clock, NEW, SECRET) as other:
        done = await asyncio.gather(reseal(database, 3), reseal(other, 3))
    assert sum(each.count for each in done) == 50 + OWN
    assert await under(database, Keyring(NEW)) == 50 + OWN


async def test_few_statements_for_many_values(database: Database) -> None:
    """A page and an update for each batch: none for each value."""
    store = partial(StoredState(database, SCOPE).put_if_absent, value=b"x")
    await asyncio.gather(*[store(f"{number:03}") for number in range(199)])
    calls: list[str] = []

    async def meddle() -> None:
        calls.append("write")

    database.keyring.use(NEW)
    done = await reseal(cast("Database", Meddled(database, meddle)), 100)
    assert done.count == 199 + OWN
    assert len(calls) == 2
    assert (
        await database.read(
            lambda c: c.execute(select(func.count()).select_from(sealed_values)).scalar_one()
        )
        == 199 + OWN
    )
