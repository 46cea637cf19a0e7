"""Rotating the sealing key: with the key in a file, and with keys in the environment."""

from __future__ import annotations

import asyncio
import errno
import stat
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing
from sqlalchemy import delete, update

from certctl.domain.access import Role
from certctl.domain.errors import CertctlError, Conflict, Misconfigured, Unavailable
from certctl.lifecycle import secrets as module
from certctl.lifecycle.access import Actor, hash_api_key, new_api_key
from certctl.lifecycle.secrets import KeyUse, Secrets
from certctl.storage.api_keys import ApiKeyRecord, insert_api_key
from certctl.storage.audit import list_events, verify
from certctl.storage.database import Database, open_database
from certctl.storage.key_file import KEY_FILE, KeyFile
from certctl.storage.rotation import count_by_header
from certctl.storage.sealed_values import StoredState, find_sealed
from certctl.storage.sealing import Keyring, key_id, load_keyring
from certctl.storage.tables import sealed_values
from tests.releases.kept import kept_releases
from tests.releases.upgrading import LaterClock
from tests.storage.samples import held_up, sample_event
from tests.support.clock import TurnableClock
from tests.support.control_plane import control_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy import Connection

    from certctl.domain.clock import Clock
    from tests.releases.kept import KeptRelease
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

OLD, NEW, THIRD = (f"{word} secret of more than 32 characters" for word in ("old", "new", "third"))
ADMIN = Actor("admin", Role.ADMIN)
#: What `fill` stores, and the audit key.
STORED = 5 + 1


@pytest.fixture
def clock() -> TurnableClock:
    """Time stands still here."""
    return TurnableClock()


class Installation:
    """A database and a data directory, opened as a start of the server opens them."""

    def __init__(self, target: DatabaseTarget, clock: Clock) -> None:
        self.target = target
        self.clock = clock
        self.file = KeyFile(target.data_dir / KEY_FILE)

    @asynccontextmanager
    async def started(
        self, secret: str | None = None, further: str | None = None
    ) -> AsyncIterator[Database]:
        """The database of one start."""
        keyring = load_keyring(secret, self.target.data_dir, required=False, further=further)
        database = await open_database(
            url=self.target.url, data_dir=self.target.data_dir, clock=self.clock, keyring=keyring
        )
        try:
            yield database
        finally:
            await database.close()


@pytest.fixture
def installation(database_target: DatabaseTarget, clock: TurnableClock) -> Installation:
    """Nothing in it yet."""
    return Installation(database_target, clock)


async def fill(database: Database) -> None:
    for number in range(STORED - 1):
        await StoredState(database, "iss-a").put_if_absent(f"{number}", f"value {number}".encode())
    await database.append([], [sample_event()])


async def assert_all_there(database: Database) -> None:
    for number in range(STORED - 1):
        stored = await StoredState(database, "iss-a").get(f"{number}")
        assert stored == f"value {number}".encode()


async def assert_audit_intact(database: Database) -> None:
    await database.append([], [sample_event(7)])
    report = await database.read(lambda c: verify(c, database.audit_key))
    assert report.problems == []


async def rotations(database: Database) -> list[dict[str, Any]]:
    """What the audit log says about rotations, newest first."""
    events = await database.read(lambda c: list_events(c, limit=100, before=None))
    return [event.detail for event in events if event.action == "secrets.rotated"]


async def test_a_key_in_a_file_is_replaced(installation: Installation) -> None:
    async with installation.started() as database:
        await fill(database)
        (old,) = installation.file.read()
        outcome = await Secrets(database, installation.clock).rotate(ADMIN)
        (new,) = installation.file.read()
        assert new != old
        assert stat.S_IMODE(installation.file.path.stat().st_mode) == 0o600
        assert outcome.resealed == STORED
        assert outcome.state.from_file
        assert outcome.state.keys == (KeyUse(key_id(new), current=True, values=STORED),)
        assert await Secrets(database, installation.clock).status() == outcome.state
        await assert_all_there(database)
        await assert_audit_intact(database)
        detail = {"resealed": STORED, "unopened": 0, "others": [key_id(old)]}
        assert await rotations(database) == [detail]
    async with installation.started() as database:  # with nothing but the new one
        await assert_all_there(database)
        await assert_audit_intact(database)
        stored = await database.read(lambda c: find_sealed(c, "iss-a", "0"))
        assert stored is not None
        with pytest.raises(Misconfigured):
            Keyring(old).open("iss-a", "0", stored)
    installation.file.write([old])
    with pytest.raises(Misconfigured) as raised:
        async with installation.started():
            pass
    assert raised.value.code == "sealing-key-wrong"


async def test_each_rotation_makes_another_key(installation: Installation) -> None:
    async with installation.started() as database:
        await fill(database)
        secrets = Secrets(database, installation.clock)
        seen = set(installation.file.read())
        for number in range(2, 5):
            assert (await secrets.rotate(ADMIN)).resealed == STORED
            seen |= set(installation.file.read())
            assert len(seen) == number


async def test_an_unfinished_rotation_is_finished_first(installation: Installation) -> None:
    async with installation.started() as database:
        await fill(database)
    (old,) = installation.file.read()
    installation.file.write([NEW, old])
    with structlog.testing.capture_logs() as logs:
        async with installation.started() as database:
            assert "certctl secrets rotate" in logs[0]["hint"]
            await StoredState(database, "iss-b").put_if_absent("later", b"x")
            state = await Secrets(database, installation.clock).status()
            assert state.keys == (
                KeyUse(key_id(NEW), current=True, values=1),
                KeyUse(key_id(old), current=False, values=STORED),
            )
            outcome = await Secrets(database, installation.clock).rotate(ADMIN)
            assert outcome.resealed == STORED
    assert installation.file.read() == [NEW]
    assert NEW not in str(logs)


async def test_what_is_on_its_way_while_the_key_changes_is_not_lost(
    installation: Installation,
) -> None:
    async with installation.started() as database:
        await fill(database)
        async with held_up(database):
            storing = [
                asyncio.create_task(StoredState(database, "iss-b").put_if_absent(f"{n}", b"x"))
                for n in range(20)
            ]
            rotating = asyncio.create_task(Secrets(database, installation.clock).rotate(ADMIN))
            await asyncio.to_thread(wait_for_lines, installation.file, 2)
        await asyncio.gather(rotating, *storing)
    async with installation.started() as database:
        for number in range(20):
            assert await StoredState(database, "iss-b").get(f"{number}") == b"x"


def wait_for_lines(file: KeyFile, number: int) -> None:
    for _ in range(2000):
        if len(file.read()) == number:
            return
        time.sleep(0.005)
    pytest.fail(f"the file never had {number} lines")


async def move_one(database: Database) -> None:
    """Put a value where it does not belong."""
    where = (sealed_values.c.scope == "iss-a", sealed_values.c.name == "2")
    await database.write(
        lambda t: t.execute(update(sealed_values).where(*where).values(scope="iss-moved"))
    )


async def test_a_value_that_nothing_opens_keeps_the_old_key(installation: Installation) -> None:
    async with installation.started() as database:
        await fill(database)
        await move_one(database)
        (old,) = installation.file.read()
        secrets = Secrets(database, installation.clock)
        for resealed in (STORED - 1, 0):  # and again: no third key comes of that
            with pytest.raises(Conflict) as raised:
                await secrets.rotate(ADMIN)
            assert raised.value.code == "secrets-not-opened"
            assert "'2' of 'iss-moved'" in raised.value.detail
            new, kept = installation.file.read()
            assert kept == old
            assert (await rotations(database))[0]["resealed"] == resealed
        state = await secrets.status()
        assert state.keys == (
            KeyUse(key_id(new), current=True, values=STORED - 1),
            KeyUse(key_id(old), current=False, values=1),
        )
        where = sealed_values.c.scope == "iss-moved"
        await database.write(lambda t: t.execute(delete(sealed_values).where(where)))
        assert (await secrets.rotate(ADMIN)).resealed == 0
        assert installation.file.read() == [new]


async def test_many_that_nothing_opens_are_counted(installation: Installation) -> None:
    async with installation.started() as database:
        for number in range(25):
            await StoredState(database, "iss-a").put_if_absent(f"{number:02}", b"x")
        where = sealed_values.c.scope == "iss-a"
        await database.write(
            lambda t: t.execute(update(sealed_values).where(where).values(scope="iss-moved"))
        )
        with pytest.raises(Conflict) as raised:
            await Secrets(database, installation.clock).rotate(ADMIN)
    assert "'09' of 'iss-moved', 15 more;" in raised.value.detail
    assert "'10'" not in raised.value.detail


@pytest.mark.parametrize("call", [1, 2], ids=["first", "last"])
@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
async def test_a_disk_that_does_not_take_the_file(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, call: int, written: bool
) -> None:
    real = KeyFile.write
    calls = 0

    def write(self: KeyFile, secret_values: list[str]) -> None:
        nonlocal calls
        calls += 1
        if calls != call or written:
            real(self, secret_values)
        if calls == call:
            raise Unavailable("encryption-key-not-written", "it cannot be written")

    async with installation.started() as database:
        await fill(database)
        monkeypatch.setattr(KeyFile, "write", write)
        secrets = Secrets(database, installation.clock)
        with pytest.raises(Unavailable):
            await secrets.rotate(ADMIN)
        await assert_all_there(database)
    async with installation.started() as database:  # what is in the file is enough
        await assert_all_there(database)
        await Secrets(database, installation.clock).rotate(ADMIN)
        await assert_all_there(database)
        await assert_audit_intact(database)
    assert len(installation.file.read()) == 1
    async with installation.started() as database:
        await assert_all_there(database)


async def test_a_full_disk_changes_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with installation.started() as database:
        await fill(database)
        before = database.keyring.current
        monkeypatch.setattr("certctl.storage.key_file.replace_file", fail)
        with pytest.raises(Unavailable, match="No space left"):
            await Secrets(database, installation.clock).rotate(ADMIN)
        assert database.keyring.current == before
        assert await rotations(database) == []


async def test_a_file_that_was_changed_meanwhile_is_not_built_upon(
    installation: Installation,
) -> None:
    async with installation.started() as database:
        await fill(database)
        installation.file.write([NEW])
        with pytest.raises(Conflict) as raised:
            await Secrets(database, installation.clock).rotate(ADMIN)
        assert raised.value.code == "encryption-key-changed"
        assert installation.file.read() == [NEW]


async def test_a_new_key_is_told_apart_from_all_others(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id has 32 bits: one that is in use would pass off old values as new ones."""
    async with installation.started() as database:
        await fill(database)
        old = installation.file.read()
        made = iter([*old, NEW])
        monkeypatch.setattr(module, "new_secret", lambda: next(made))
        assert (await Secrets(database, installation.clock).rotate(ADMIN)).resealed == STORED
    assert installation.file.read() == [NEW]


async def test_one_key_in_the_environment_cannot_be_rotated(installation: Installation) -> None:
    async with installation.started(OLD) as database:
        await fill(database)
        with pytest.raises(Conflict) as raised:
            await Secrets(database, installation.clock).rotate(ADMIN)
        assert raised.value.code == "no-other-sealing-key"
        assert raised.value.hint is not None
        assert "CERTCTL_CONFIG_DECRYPTION_KEYS" in raised.value.hint
        assert "CERTCTL_CONFIG_ENCRYPTION_KEY" in raised.value.detail
        assert OLD not in f"{raised.value.detail}{raised.value.hint}"
        assert await rotations(database) == []


async def test_keys_in_the_environment_change_in_four_steps(installation: Installation) -> None:
    async with installation.started(OLD) as database:
        await fill(database)
    with structlog.testing.capture_logs() as logs:
        async with installation.started(OLD, NEW) as database:
            await assert_all_there(database)
            # Another process has the new one already, and stores something.
            async with installation.started(NEW, OLD) as ahead:
                await StoredState(ahead, "iss-b").put_if_absent("a", b"x")
            assert await StoredState(database, "iss-b").get("a") == b"x"
    assert "CERTCTL_CONFIG_DECRYPTION_KEYS" in logs[0]["hint"]
    assert not {OLD, NEW} & set(str(logs))
    async with installation.started(NEW, OLD) as database:
        secrets = Secrets(database, installation.clock)
        before = await secrets.status()
        assert not before.from_file
        assert before.keys == (
            KeyUse(key_id(NEW), current=True, values=1),
            KeyUse(key_id(OLD), current=False, values=STORED),
        )
        outcome = await secrets.rotate(ADMIN)
        assert outcome.resealed == STORED
        assert outcome.state.keys == (
            KeyUse(key_id(NEW), current=True, values=STORED + 1),
            KeyUse(key_id(OLD), current=False, values=0),
        )
        assert (await secrets.rotate(ADMIN)).resealed == 0
    async with installation.started(NEW) as database:
        await assert_all_there(database)
        await assert_audit_intact(database)
    assert not installation.file.path.exists()


async def test_a_process_that_still_has_the_old_key_is_not_in_the_way(
    installation: Installation,
) -> None:
    async with installation.started(NEW, OLD) as database, installation.started(OLD, NEW) as old:
        await fill(database)
        await Secrets(database, installation.clock).rotate(ADMIN)
        await StoredState(old, "iss-b").put_if_absent("a", b"x")
        secrets = Secrets(database, installation.clock)
        assert (await secrets.status()).keys[1] == KeyUse(key_id(OLD), current=False, values=1)
        assert (await secrets.rotate(ADMIN)).resealed == 1


def before_write(number: int, database: Database, meddle: Callable[[], Any]) -> None:
    """Have something happen before the so-many-eth write from now on."""
    write = database.write
    count = 0

    async def meddled(fn: Callable[[Any], Any]) -> Any:
        nonlocal count
        count += 1
        if count == number:
            await meddle()
        return await write(fn)

    database.write = meddled  # type: ignore[method-assign] # that is the point of it


@pytest.mark.parametrize(("write", "left"), [(1, 0), (2, 1)], ids=["at first", "at last"])
async def test_what_another_process_stores_under_the_old_key_meanwhile(
    installation: Installation, write: int, left: int
) -> None:
    """It is found by a second walk, or shown to be there."""
    async with installation.started(NEW, OLD) as database, installation.started(OLD, NEW) as old:
        await StoredState(old, "iss-b").put_if_absent("a", b"x")
        late = StoredState(old, "iss-a")
        before_write(write, database, lambda: late.put_if_absent("late", b"x"))
        outcome = await Secrets(database, installation.clock).rotate(ADMIN)
        assert [key.values for key in outcome.state.keys] == [3 - left, left]


async def test_the_file_keeps_a_key_that_turned_up_again_at_the_last_moment(
    installation: Installation,
) -> None:
    async with installation.started() as database:
        await fill(database)
        (old,) = installation.file.read()
        ring = Keyring(old)

        async def put_back() -> None:
            where = (sealed_values.c.scope == "iss-a", sealed_values.c.name == "0")
            sealed = ring.seal("iss-a", "0", b"value 0")
            await database.write(
                lambda t: t.execute(update(sealed_values).where(*where).values(sealed=sealed))
            )

        before_write(2, database, put_back)
        secrets = Secrets(database, installation.clock)
        with pytest.raises(Conflict) as raised:
            await secrets.rotate(ADMIN)
        assert raised.value.code == "secrets-not-resealed"
        assert len(installation.file.read()) == 2
        assert (await secrets.rotate(ADMIN)).resealed == 1
        assert len(installation.file.read()) == 1
        await assert_all_there(database)


async def test_a_value_that_no_key_of_the_environment_opens(installation: Installation) -> None:
    async with installation.started(NEW, OLD) as database:
        await fill(database)
        sealed = Keyring(THIRD).seal("iss-a", "2", b"x")
        where = (sealed_values.c.scope == "iss-a", sealed_values.c.name == "2")
        await database.write(
            lambda t: t.execute(update(sealed_values).where(*where).values(sealed=sealed))
        )
        secrets = Secrets(database, installation.clock)
        with pytest.raises(Conflict, match="'2' of 'iss-a'"):
            await secrets.rotate(ADMIN)
        assert (await secrets.status()).keys[2] == KeyUse(key_id(THIRD), current=False, values=1)
    async with installation.started(NEW, f"{OLD},{THIRD}") as database:
        assert (await Secrets(database, installation.clock).rotate(ADMIN)).resealed == 1


async def test_from_the_environment_to_a_file_and_back(installation: Installation) -> None:
    async with installation.started(OLD) as database:
        await fill(database)
    async with installation.started(None, OLD) as database:
        outcome = await Secrets(database, installation.clock).rotate(ADMIN)
        assert outcome.resealed == STORED
        assert [key.values for key in outcome.state.keys] == [STORED]
    async with installation.started() as database:
        await assert_all_there(database)
    (made,) = installation.file.read()
    async with installation.started(NEW, made) as database:
        await Secrets(database, installation.clock).rotate(ADMIN)
    async with installation.started(NEW) as database:
        await assert_all_there(database)
        await assert_audit_intact(database)


async def test_one_rotation_at_a_time(installation: Installation) -> None:
    async with installation.started() as database:
        await fill(database)
        secrets = Secrets(database, installation.clock)
        async with held_up(database):
            first = asyncio.create_task(secrets.rotate(ADMIN))
            await asyncio.sleep(0)
            with pytest.raises(Conflict) as raised:
                await secrets.rotate(ADMIN)
        assert raised.value.code == "rotation-running"
        assert (await first).resealed == STORED
        await secrets.rotate(ADMIN)


async def forget_the_audit_key(database: Database) -> None:
    """Leave the database as certctl 0.1.0 does."""
    where = sealed_values.c.name == "audit-key"
    await database.write(lambda t: t.execute(delete(sealed_values).where(where)))


async def test_a_database_without_its_audit_key_goes_on(installation: Installation) -> None:
    async with installation.started(OLD) as database:
        await fill(database)
        key = database.audit_key
        await forget_the_audit_key(database)
    async with installation.started(OLD) as database:
        assert database.audit_key == key
        await assert_audit_intact(database)


async def test_the_audit_key_of_the_secret_that_was_in_use(installation: Installation) -> None:
    """A new version and a new secret may come in one start."""
    async with installation.started(OLD) as database:
        await fill(database)
        await forget_the_audit_key(database)
    async with installation.started(NEW, f"{THIRD},{OLD}") as database:
        await assert_all_there(database)
        await assert_audit_intact(database)
        await Secrets(database, installation.clock).rotate(ADMIN)
    async with installation.started(NEW) as database:
        await assert_audit_intact(database)


async def test_processes_that_start_together_agree_on_the_audit_key(
    installation: Installation,
) -> None:
    async with installation.started(OLD):
        pass  # so that the tables are there

    async def start(secret: str, further: str) -> bytes:
        async with installation.started(secret, further) as database:
            return database.audit_key

    async with installation.started(OLD) as database:
        for _ in range(5):
            await forget_the_audit_key(database)
            keys = await asyncio.gather(*[start(OLD, NEW), start(NEW, OLD)] * 2)
            assert len(set(keys)) == 1


@pytest.fixture(params=kept_releases(), ids=lambda kept: kept.name)
def release(request: pytest.FixtureRequest) -> KeptRelease:
    """Every release, one after the other."""
    found: KeptRelease = request.param
    return found


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_database_of_an_earlier_release_is_rotated(
    database_target: DatabaseTarget, release: KeptRelease
) -> None:
    release.unpack(database_target.data_dir)
    installation = Installation(database_target, LaterClock(release.manifest.made_at))
    secret = release.manifest.encryption_key

    def counts(connection: Connection) -> int:
        return count_by_header(connection).total()

    async with installation.started(secret) as database:
        sealed = await database.read(counts)
        await assert_audit_intact(database)
    assert sealed > 3
    further = secret.replace(",", "\\,")
    async with installation.started(NEW, further) as database:
        assert (await Secrets(database, installation.clock).rotate(ADMIN)).resealed == sealed
    async with installation.started(NEW) as database:
        await assert_audit_intact(database)
        with pytest.raises(CertctlError):
            async with installation.started(secret):
                pass


async def test_over_rest(database: Database, tmp_path: Path) -> None:
    reader = new_api_key("reader")
    async with control_plane(database, tmp_path, run_scheduler=False) as plane:
        await database.write(
            lambda t: insert_api_key(
                t, ApiKeyRecord("reader", "reader", "viewer", hash_api_key(reader)), 1
            )
        )
        status = await plane.client.get("/api/v1/secrets")
        assert status.status_code == 200
        (key,) = status.json()["keys"]
        assert status.json()["source"] == "environment"
        assert key["current"] is True
        assert key["values"] >= 2, "the root of the Local CA and the audit key"
        refused = await plane.client.post("/api/v1/secrets/rotate")
        assert refused.status_code == 409
        assert refused.json()["type"] == "urn:certctl:problem:no-other-sealing-key"
        headers = {"Authorization": f"Bearer {reader}"}
        for answer in (
            await plane.client.get("/api/v1/secrets", headers=headers),
            await plane.client.post("/api/v1/secrets/rotate", headers=headers),
        ):
            assert answer.status_code == 403
        database.keyring.use(NEW)
        rotated = await plane.client.post("/api/v1/secrets/rotate")
        assert rotated.status_code == 200, rotated.text
        assert rotated.json() == {
            "source": "environment",
            "keys": [
                {"key_id": key_id(NEW), "current": True, "values": key["values"]},
                {"key_id": key["key_id"], "current": False, "values": 0},
            ],
            "resealed": key["values"],
        }
        verified = await plane.client.post("/api/v1/audit/verify")
        assert verified.json()["problems"] == []
        event = (await plane.client.get("/api/v1/audit")).json()["data"][0]
        assert (event["action"], event["actor"]) == ("secrets.rotated", "admin")
        assert event["object_id"] == key_id(NEW)
