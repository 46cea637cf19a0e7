"""A kept database on either kind of server, and what is in one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic import command
from sqlalchemy import MetaData, insert, make_url, select

from certctl.storage.engine import database_url, writer_engine
from certctl.storage.migrate import alembic_config, current_revision

if TYPE_CHECKING:
    from pathlib import Path

    from httpx2 import AsyncClient
    from sqlalchemy import Engine

    from certctl.storage.database import Database
    from tests.releases.kept import KeptRelease

#: Rows by table; the tables with their parents first.
Contents = dict[str, list[dict[str, Any]]]

API = "/api/v1"
_ALEMBIC = "alembic_version"


@dataclass(frozen=True)
class Upgraded:
    """A kept database, opened by this version."""

    release: KeptRelease
    before: Contents
    database: Database
    clock: LaterClock
    data_dir: Path


class LaterClock:
    """Begins half a minute after a database's last moment, and goes on."""

    def __init__(self, last_ms: int) -> None:
        self._difference = last_ms + 30_000 - time.monotonic_ns() // 1_000_000

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.monotonic_ns() // 1_000_000 + self._difference


def contents(engine: Engine) -> Contents:
    """Everything in a database, by its own account of its tables."""
    found = MetaData()
    with engine.connect() as connection:
        found.reflect(connection)
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in found.sorted_tables
            if table.name != _ALEMBIC
        }


def kept_contents(data_dir: Path) -> tuple[str, Contents]:
    """The revision and the contents of an unpacked database, which are left as they are."""
    engine = writer_engine(database_url(None, data_dir))
    try:
        revision = current_revision(engine)
        assert revision is not None
        return revision, contents(engine)
    finally:
        engine.dispose()


def copy_to_postgresql(url: str, revision: str, rows: Contents) -> None:
    """Make an empty PostgreSQL database what a release left there.

    Its tables are made by the migrations up to that revision, so that those after it have the
    tables to alter that they will find.
    """
    engine = writer_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.connect() as connection, connection.begin():
            command.upgrade(alembic_config(connection), revision)
        tables = MetaData()
        with engine.begin() as connection:
            tables.reflect(connection)
            for table in tables.sorted_tables:
                if rows.get(table.name):
                    connection.execute(table.delete())  # a migration may have put some in
                    connection.execute(insert(table), rows[table.name])
        assert current_revision(engine) == revision
    finally:
        engine.dispose()


def without_what_came_later(now: Contents, then: Contents) -> Contents:
    """What there is now, in the tables and columns that there were then; each row as it was."""
    return {
        table: [{name: row[name] for name in rows[0] if name in row} for row in now[table]]
        if rows
        else now[table]
        for table, rows in then.items()
    }


async def fetch(client: AsyncClient, path: str) -> dict[str, Any]:
    """What REST shows there."""
    response = await client.get(f"{API}/{path}")
    assert response.status_code == 200, (path, response.text)
    found: dict[str, Any] = response.json()
    return found


async def fetch_all(client: AsyncClient, path: str) -> dict[str, dict[str, Any]]:
    """Every entry of a list by its id, page by page."""
    found: dict[str, dict[str, Any]] = {}
    cursor: str | None = ""
    while cursor is not None:
        page = await fetch(client, f"{path}?limit=20{cursor and '&cursor='}{cursor}")
        found |= {entry["id"]: entry for entry in page["data"]}
        cursor = page["next"]
    return found
