"""Migrations: what they make is what `tables.py` says, on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text

from certctl.domain.errors import Misconfigured
from certctl.storage.engine import DATABASE_FILE, database_url, writer_engine
from certctl.storage.migrate import HEAD, alembic_config, current_revision, ensure_schema
from certctl.storage.tables import changes, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.support.postgres import PostgresServer

_NAME = f"certctl_test_{os.getpid()}_migrations"


@pytest.fixture
def engine(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """The engine of an empty database."""
    url = None
    if dialect == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database(_NAME)
    made = writer_engine(database_url(url, tmp_path))
    yield made
    made.dispose()
    if dialect == "postgresql":
        server.drop_database(_NAME)


def test_a_migrated_schema_is_what_the_tables_say(engine: Engine) -> None:
    assert current_revision(engine) is None
    ensure_schema(engine)
    assert current_revision(engine) == HEAD
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert connection.execute(select(changes)).all() == [(1, 0)]
    ensure_schema(engine)


def test_tables_without_row_ids_on_sqlite(tmp_path: Path) -> None:
    """Which the comparison above does not see."""
    engine = writer_engine(database_url(None, tmp_path))
    ensure_schema(engine)
    expected = {
        table.name
        for table in metadata.tables.values()
        if not table.dialect_options["sqlite"]["with_rowid"]
    }
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("PRAGMA table_list").mappings().all()
    engine.dispose()
    assert {row["name"] for row in rows if row["wr"]} == expected


def test_the_head_in_code_is_the_newest_script(tmp_path: Path) -> None:
    engine = writer_engine(database_url(None, tmp_path))
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(alembic_config(connection))
    engine.dispose()
    assert scripts.get_heads() == [HEAD]


def test_a_database_of_a_newer_version_is_refused(engine: Engine) -> None:
    ensure_schema(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Misconfigured) as raised:
        ensure_schema(engine)
    assert raised.value.code == "database-too-new"


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_processes_that_start_together(engine: Engine) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            ensure_schema(engine)
        except BaseException as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert current_revision(engine) == HEAD


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_user_who_may_not_create_tables(engine: Engine, postgres: PostgresServer) -> None:
    from psycopg import sql

    role = sql.SQL("DO $$ BEGIN CREATE ROLE certctl_guest LOGIN; EXCEPTION WHEN duplicate_object"
                   " THEN NULL; END $$")  # fmt: skip
    postgres.execute(role)
    guest = writer_engine(engine.url.set(username="certctl_guest"))
    with pytest.raises(Misconfigured) as raised:
        ensure_schema(guest)
    guest.dispose()
    assert raised.value.code == "database-not-permitted"


def test_alembic_is_not_imported_when_there_is_nothing_to_do(
    sqlite_template: Path, tmp_path: Path
) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(sqlite_template.read_bytes())
    code = (
        "import sys, pathlib\n"
        "from certctl.storage.migrate import ensure_schema\n"
        "from certctl.storage.engine import database_url, writer_engine\n"
        "ensure_schema(writer_engine(database_url(None, pathlib.Path(sys.argv[1]))))\n"
        "assert not {'alembic', 'psycopg'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
