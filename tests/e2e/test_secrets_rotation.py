"""A rotation of the sealing key that is killed is carried on; servers go on issuing meanwhile."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from certctl.domain.errors import Misconfigured
from certctl.domain.keys import KeyType
from certctl.lifecycle.access import SYSTEM
from certctl.storage.audit import verify
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.key_file import KEY_FILE, KeyFile
from certctl.storage.sealing import Keyring, key_id
from tests.support.api import client_for
from tests.support.dying_rotation import (
    ENVIRONMENT_MOMENTS,
    FILE_MOMENTS,
    ISSUERS,
    VALUES,
    count_opened,
    fill,
    opened,
)
from tests.support.pki import make_csr, make_key
from tests.support.server import ServerProcess, clean_environment

if TYPE_CHECKING:
    from tests.support.targets import DatabaseTarget

ROOT = Path(__file__).parents[2]
SEALED = VALUES + ISSUERS + 1  # and the audit key
OLD, NEW = "an old secret of 32 characters..", "a new secret of 32 characters..."
SECRET, FURTHER = "CERTCTL_CONFIG_ENCRYPTION_KEY", "CERTCTL_CONFIG_DECRYPTION_KEYS"

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


def die(target: DatabaseTarget, moment: str, keys: dict[str, str]) -> None:
    """Rotate in a process that is killed at that moment."""
    died = subprocess.run(
        [sys.executable, "-m", "tests.support.dying_rotation", str(target.data_dir), moment],
        env=clean_environment({**target.environment, **keys}),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr


async def fill_with(target: DatabaseTarget, keys: dict[str, str]) -> None:
    async with opened(target.data_dir, {**target.environment, **keys}) as (database, _):
        await fill(database)


async def finish(target: DatabaseTarget, keys: dict[str, str]) -> None:
    """Start again: everything is there, and the rotation can be repeated."""
    async with opened(target.data_dir, {**target.environment, **keys}) as (database, secrets):
        assert await database.read(partial(count_opened, database)) == SEALED
        await secrets.rotate(SYSTEM)
        assert await database.read(partial(count_opened, database)) == SEALED


async def check(target: DatabaseTarget, keys: dict[str, str]) -> None:
    """Everything is there with these keys alone, and the audit chains verify."""
    async with opened(target.data_dir, {**target.environment, **keys}) as (database, _):
        assert await database.read(partial(count_opened, database)) == SEALED
        report = await database.read(lambda c: verify(c, database.audit_key))
        assert report.events > 0
        assert report.problems == []


@on_sqlite
@pytest.mark.parametrize("moment", FILE_MOMENTS)
def test_killed_with_the_key_in_a_file(database_target: DatabaseTarget, moment: str) -> None:
    file = KeyFile(database_target.data_dir / KEY_FILE)
    asyncio.run(fill_with(database_target, {}))
    (old,) = file.read()
    die(database_target, moment, {})
    kept = file.read()
    whole = moment in {"before file 1", "within file 1", "after file 2"}
    assert len(kept) == (1 if whole else 2), "all that may be needed, and no more"
    asyncio.run(finish(database_target, {}))
    (new,) = file.read()
    assert new != old
    if len(kept) == 2:
        assert kept == [new, old], "no third key was made"
    assert [path.name for path in file.path.parent.glob(f".{KEY_FILE}*")] == []
    asyncio.run(check(database_target, {}))
    file.write([old])
    with pytest.raises(Misconfigured):
        asyncio.run(check(database_target, {}))


@pytest.mark.parametrize("moment", ENVIRONMENT_MOMENTS)
def test_killed_with_keys_in_the_environment(database_target: DatabaseTarget, moment: str) -> None:
    asyncio.run(fill_with(database_target, {SECRET: OLD}))
    die(database_target, moment, {SECRET: NEW, FURTHER: OLD})
    asyncio.run(finish(database_target, {SECRET: NEW, FURTHER: OLD}))
    asyncio.run(check(database_target, {SECRET: NEW}))
    with pytest.raises(Misconfigured):
        asyncio.run(check(database_target, {SECRET: OLD}))


@dataclass
class Customer:
    """Orders certificates one after the other, through whichever server answers."""

    servers: list[ServerProcess]
    key: str
    stop: threading.Event = field(default_factory=threading.Event)
    serials: list[str] = field(default_factory=list)
    failure: str | None = None

    def run(self) -> None:
        csr = make_csr(make_key(KeyType.P256), ["www.example.org"])
        number = 0
        while not self.stop.is_set() and self.failure is None:
            number += 1
            with suppress(httpx2.TransportError, OSError):
                self._order(self.servers[number % len(self.servers)], csr)
            time.sleep(0.02)  # others want to get on too

    def _order(self, server: ServerProcess, csr: str) -> None:
        body = {"issuer_id": "iss-local", "csr": csr}
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        with client_for(server, key=self.key) as client:
            answer = client.post("/api/v1/certificates", json=body, headers=headers)
        if answer.status_code == 201:
            self.serials.append(answer.json()["version"]["serial"])
        elif answer.status_code != 503:
            self.failure = f"{answer.status_code}: {answer.text}"


class Customers:
    """Some of them, for as long as the block lasts; whatever else than an outage ends the test."""

    def __init__(self, *servers: ServerProcess) -> None:
        self._customers = [Customer(list(servers), servers[0].key) for _ in range(2)]
        self._threads = [threading.Thread(target=each.run) for each in self._customers]

    def __enter__(self) -> Customers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for customer in self._customers:
            customer.stop.set()
        for thread in self._threads:
            thread.join(60)
        assert [each.failure for each in self._customers] == [None] * len(self._customers)

    @property
    def count(self) -> int:
        """How many certificates they have got."""
        return sum(len(each.serials) for each in self._customers)

    def wait_for_more(self, number: int = 5) -> None:
        """Until they have got some more."""
        aim = self.count + number
        for _ in range(2000):
            if self.count >= aim:
                return
            time.sleep(0.01)
        pytest.fail("nobody issues any more")


def under(data_dir: Path, secret: str) -> int:
    """How many values a secret's key seals, without certctl."""
    with closing(sqlite3.connect(data_dir / DATABASE_FILE, timeout=10)) as connection:
        query = "SELECT count(*) FROM sealed_values WHERE substr(sealed, 2, 4) = ?"
        number: int = connection.execute(query, (bytes.fromhex(key_id(secret)),)).fetchone()[0]
        return number


MANY = 10_000


def add_many(server: ServerProcess) -> None:
    """So many values that a rotation takes a while; the server is stopped for it."""
    assert server.stop() == 0
    (secret,) = KeyFile(server.data_dir / KEY_FILE).read()
    keyring = Keyring(secret)
    rows = [
        ("iss-many", f"{number:05}", keyring.seal("iss-many", f"{number:05}", b"x"), 1, 1)
        for number in range(MANY)
    ]
    with closing(sqlite3.connect(server.data_dir / DATABASE_FILE)) as connection, connection:
        connection.executemany("INSERT INTO sealed_values VALUES (?, ?, ?, ?, ?)", rows)
    server.start()


def rotate(server: ServerProcess, key: str | None = None) -> httpx2.Response:
    with client_for(server, key=key) as client:
        return client.post("/api/v1/secrets/rotate", timeout=60)


def rotate_until_killed(server: ServerProcess) -> None:
    with suppress(httpx2.TransportError):
        rotate(server)


@on_sqlite
@pytest.mark.timeout(300)
def test_a_server_is_killed_while_it_rotates_and_issues(server: ServerProcess) -> None:
    add_many(server)
    file = KeyFile(server.data_dir / KEY_FILE)
    (old,) = file.read()
    with Customers(server) as customers:
        customers.wait_for_more()
        rotating = threading.Thread(target=rotate_until_killed, args=(server,))
        rotating.start()
        while len(file.read()) == 1 or under(server.data_dir, file.read()[0]) < 500:
            time.sleep(0.005)
        server.kill()
        rotating.join(60)
        new, kept = file.read()
        assert kept == old
        assert min(under(server.data_dir, secret) for secret in (new, old)) > 0, "half of it"
        server.start()
        assert "certctl secrets rotate" in server.log.read_text()
        customers.wait_for_more()
        before = customers.count
        answer = rotate(server)
        assert customers.count > before, "who issues does not wait for it"
    assert answer.status_code == 200, answer.text
    assert file.read() == [new]
    (key,) = answer.json()["keys"]
    assert key["key_id"] == key_id(new)
    assert key["values"] > MANY
    assert under(server.data_dir, old) == 0
    assert server.stop() == 0
    server.start()
    with client_for(server) as client:
        assert client.post("/api/v1/audit/verify").json()["problems"] == []
        actions = {event["action"] for event in client.get("/api/v1/audit").json()["data"]}
    assert "secrets.rotated" in actions
    for secret in (old, new):
        assert secret not in server.log.read_text()


@pytest.fixture
def servers(database_target: DatabaseTarget, tmp_path: Path) -> list[ServerProcess]:
    """As many as the database allows; not started."""
    names = ["first"] if database_target.url is None else ["first", "second"]
    return [ServerProcess(tmp_path / name, database_target.environment) for name in names]


def restart(servers: list[ServerProcess], keys: dict[str, str]) -> None:
    """One after the other, as behind a load balancer."""
    for each in servers:
        if each.process is not None:
            assert each.stop() == 0
        each.extra = {**each.extra, **keys}
        each.start()


@pytest.mark.timeout(300)
def test_the_steps_of_the_documentation_with_keys_in_the_environment(
    servers: list[ServerProcess],
) -> None:
    restart(servers, {SECRET: OLD})
    try:
        with Customers(*servers) as customers:
            refused = rotate(servers[0])
            assert refused.status_code == 409
            restart(servers, {FURTHER: NEW})
            customers.wait_for_more()
            restart(servers, {SECRET: NEW, FURTHER: OLD})
            customers.wait_for_more()
            answer = rotate(servers[-1], servers[0].key)
            assert answer.status_code == 200, answer.text
            assert answer.json()["resealed"] >= 2
            assert [key["values"] > 0 for key in answer.json()["keys"]] == [True, False]
            customers.wait_for_more()
            restart(servers, {FURTHER: ""})
            customers.wait_for_more()
            with client_for(servers[0]) as client:
                assert client.post("/api/v1/audit/verify").json()["problems"] == []
                (key,) = client.get("/api/v1/secrets").json()["keys"]
                assert key["key_id"] == key_id(NEW)
    finally:
        for each in servers:
            each.stop()
    servers[0].extra = {**servers[0].extra, SECRET: OLD}
    with pytest.raises(RuntimeError, match="cannot be opened"):
        servers[0].start()


COMMANDS = ("certctl ", "openssl ", "cp ")


def documented(page: Path) -> list[str]:
    """The commands in a page's blocks, in their order."""
    lines = [
        line.strip() for block in page.read_text().split("```")[1::2] for line in block.split("\n")
    ]
    return [line for line in lines if line.startswith(COMMANDS)]


@on_sqlite
def test_the_commands_of_the_documentation(server: ServerProcess) -> None:
    commands = documented(ROOT / "docs" / "secrets.md")
    assert commands.count("certctl secrets rotate") == 2, "once for each way"
    before = KeyFile(server.data_dir / KEY_FILE).read()
    for command in commands:
        done = subprocess.run(
            shlex.split(command),
            env=clean_environment(
                {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": "/nowhere"}
            ),
            cwd=server.data_dir.parent,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (command, done.stderr)
    assert (server.data_dir.parent / "encryption.key.old").read_text().split() == before
    assert KeyFile(server.data_dir / KEY_FILE).read() != before
