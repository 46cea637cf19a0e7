"""Peers and worlds: a peer for the whole run, a world for each driver, database and module.

A control plane takes longer to make than most promises take to keep. What a test does to its world
ends with it: orders come to their end, and the peer forgets what it was told.
"""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_socket import enable_socket

from certctl.domain.clock import SystemClock
from certctl.storage.database import open_database
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.sealing import Keyring
from tests.conformance.world import open_world
from tests.support.targets import SECRET, DatabaseTarget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from certctl.storage.database import Database
    from tests.conformance.driver import Driver, Peer
    from tests.conformance.world import World
    from tests.support.postgres import PostgresServer

_PREFIX = f"certctl_conformance_{os.getpid()}"
_numbers = itertools.count(1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring together what shares a world: pytest goes by a parameter's place, not by its value."""
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    mine = set(ours)
    places = [number for number, item in enumerate(items) if item in mine]
    for place, item in zip(places, sorted(ours, key=_world_of), strict=True):
        items[place] = item


def _world_of(item: pytest.Item) -> tuple[str, str, str]:
    call = getattr(item, "callspec", None)
    params = {} if call is None else call.params
    return item.path.name, str(params.get("dialect", "")), str(params.get("driver", ""))


@pytest.fixture
def clock() -> SystemClock:
    """Time goes on: the scheduler and what clients wait for depend on it."""
    return SystemClock()


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def dialect(request: pytest.FixtureRequest) -> str:
    """Both kinds of database; everything of one driver on one of them follows in a row."""
    return str(request.param)


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Driver], Peer | None]]:
    """The peer of a driver, started when it is asked for the first time."""
    running: dict[object, Peer] = {}
    with ExitStack() as stack:

        def find(driver: Driver) -> Peer | None:
            if driver.start is None:
                return None
            if driver.start not in running:
                folder = tmp_path_factory.mktemp("peer")
                enable_socket()  # the next test's set-up takes it away again
                running[driver.start] = stack.enter_context(driver.start(folder))
            return running[driver.start]

        yield find


@pytest.fixture(scope="module")
def peer(driver: Driver, peers: Callable[[Driver], Peer | None]) -> Peer | None:
    """The CA that a driver's connector speaks to."""
    return peers(driver)


@pytest.fixture(scope="module")
def shared_target(
    driver: Driver,
    dialect: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DatabaseTarget]:
    """Where a database is that is empty when the module's tests of one driver begin."""
    del driver
    with _target(dialect, request, tmp_path_factory.mktemp("data")) as target:
        yield target


@pytest.fixture(scope="module")
async def shared_database(shared_target: DatabaseTarget) -> AsyncIterator[Database]:
    """The same, opened."""
    opened = await open_database(
        url=shared_target.url,
        data_dir=shared_target.data_dir,
        clock=SystemClock(),
        keyring=Keyring(SECRET),
    )
    yield opened
    await opened.close()


@contextmanager
def _target(
    dialect: str, request: pytest.FixtureRequest, data_dir: Path
) -> Iterator[DatabaseTarget]:
    if dialect == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), data_dir / DATABASE_FILE)
        yield DatabaseTarget(dialect, None, data_dir)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    template: str = request.getfixturevalue("postgres_template")
    name = f"{_PREFIX}_{next(_numbers)}"
    yield DatabaseTarget(dialect, server.create_database(name, template), data_dir)
    server.drop_database(name)


@pytest.fixture(scope="module")
async def shared_world(
    driver: Driver,
    peer: Peer | None,
    shared_database: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """A control plane with an issuer of the driver's type."""
    folder = tmp_path_factory.mktemp("world")
    async with open_world(shared_database, folder, driver, peer) as opened:
        yield opened


@pytest.fixture
def world(shared_world: World, socket_enabled: None) -> Iterator[World]:
    """The same, with a peer that behaves."""
    del socket_enabled
    yield shared_world
    if shared_world.given_peer is not None:
        shared_world.peer.behave()
        shared_world.peer.unlock(shared_world.open_account)


@pytest.fixture
def own_database(database: Database, socket_enabled: None) -> Database:
    """A database for one test, whose control plane may call its CA."""
    del socket_enabled
    return database
