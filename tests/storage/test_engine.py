"""How the databases are set up: durable, strict about references, no surprises in addresses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certctl.domain.errors import Misconfigured
from certctl.storage.engine import database_url

if TYPE_CHECKING:
    from certctl.storage.database import Database


@pytest.mark.anyio
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_sqlite_is_durable_and_strict(database: Database) -> None:
    def settings(connection: object) -> dict[str, object]:
        execute = getattr(connection, "exec_driver_sql")  # noqa: B009 - of either kind
        return {
            name: execute(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    assert await database.write(lambda t: settings(t.connection)) == expected
    assert await database.read(settings) == expected


@pytest.mark.anyio
@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_postgresql_commits_durably_whatever_its_default(database: Database) -> None:
    name = database._writing.url.database
    await database.write(
        lambda t: t.connection.exec_driver_sql(
            f'ALTER DATABASE "{name}" SET synchronous_commit = off'
        ).close()
    )
    database._writer._runner._drop()
    shown = await database.write(
        lambda t: t.connection.exec_driver_sql("SHOW synchronous_commit").scalar()
    )
    assert shown == "on"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_addresses(scheme: str) -> None:
    url = database_url(f"{scheme}://u:p%40ss@h:5433/d?sslmode=require&connect_timeout=9", Path())
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port) == ("u", "p@ss", "h", 5433)
    assert url.query["sslmode"] == "require"
    assert url.query["connect_timeout"] == "9"
    assert "tcp_user_timeout" in url.query


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "hunter2", "", "postgresql://u:hunter2@h:port/d"]
)
def test_other_addresses_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        database_url(url, Path())
    assert "hunter2" not in f"{raised.value.detail} {raised.value.hint}"
