"""Fixtures for every test. Databases are migrated, and have nothing in them of another test."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
import structlog
from pytest_socket import disable_socket, enable_socket

from certctl.storage.database import open_database
from certctl.storage.engine import DATABASE_FILE, database_url, writer_engine
from certctl.storage.migrate import ensure_schema
from certctl.storage.sealing import Keyring
from tests.support.clock import TurnableClock
from tests.support.databases import Databases
from tests.support.postgres import NoPostgres, PostgresServer, postgres_server
from tests.support.targets import SECRET, DatabaseTarget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from certctl.storage.database import Database

# Else a logged fault is drawn with every local variable, which takes ten seconds.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)

# Two runs may share a server that was given to both.
_PREFIX = f"certctl_test_{os.getpid()}"


def pytest_runtest_setup() -> None:
    """No test opens a network connection, except those that ask for `socket_enabled`."""
    disable_socket(allow_unix_socket=True)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests (marked `anyio`) run on asyncio."""
    return "asyncio"


@pytest.fixture
def clock() -> TurnableClock:
    """A clock that stands still."""
    return TurnableClock()


@pytest.fixture
def keyring() -> Keyring:
    """The keyring of `database`."""
    return Keyring(SECRET)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole run; tests are skipped where there is none."""
    enable_socket()  # a free port is found with one; the next test's set-up takes it away again
    try:
        with postgres_server() as server:
            yield server
    except NoPostgres as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> Iterator[str]:
    """The name of a migrated database, to copy from."""
    name = f"{_PREFIX}_template"
    _migrate(postgres.create_database(name), None)
    yield name
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def postgres_databases(postgres: PostgresServer, postgres_template: str) -> Iterator[Databases]:
    """Migrated databases, to be lent to one test after the other."""
    databases = Databases(postgres, postgres_template, _PREFIX)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, to copy from."""
    folder = tmp_path_factory.mktemp("template")
    _migrate(None, folder)
    return folder / DATABASE_FILE


def _migrate(url: str | None, data_dir: Path | None) -> None:
    engine = writer_engine(database_url(url, data_dir))  # type: ignore[arg-type] # one of them is given
    ensure_schema(engine)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Both kinds of database, one after the other."""
    return str(request.param)


@pytest.fixture
def database_target(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[DatabaseTarget]:
    """A place for one test's database: an empty data directory, a migrated PostgreSQL database."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    if dialect == "sqlite":
        yield DatabaseTarget(dialect, None, data_dir)
        return
    databases: Databases = request.getfixturevalue("postgres_databases")
    with databases.lent() as name:
        yield DatabaseTarget(dialect, databases.server.url(name), data_dir)


@pytest.fixture
async def database(
    database_target: DatabaseTarget,
    sqlite_template: Path,
    clock: TurnableClock,
    keyring: Keyring,
) -> AsyncIterator[Database]:
    """An open database with its tables and nothing else in it."""
    if database_target.url is None:
        shutil.copy(sqlite_template, database_target.data_dir / DATABASE_FILE)
    opened = await open_database(
        url=database_target.url,
        data_dir=database_target.data_dir,
        clock=clock,
        keyring=keyring,
    )
    yield opened
    await opened.close()
