"""Brings the tables up to date at start.

To add a migration: write `migrations/versions/NNNN_words.py` by hand, change `tables.py` alike, and
set `HEAD`. A test compares the two. A released table is expanded first and contracted a release
later, so that two versions of certctl can share one PostgreSQL while one replaces the other.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc as sa
from sqlalchemy import text

from certctl.domain.errors import Misconfigured
from certctl.storage.failures import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config
    from sqlalchemy import Connection, Engine

#: The newest migration. Compared before Alembic is imported, which takes longer than the rest of
#: the start.
HEAD = "0003"

_ADVISORY_LOCK = 0x63657274_63746C00  # "certctl" in ASCII
_CURRENT = text("SELECT version_num FROM alembic_version")
_NOT_PERMITTED = "42501"


def ensure_schema(engine: Engine) -> None:
    """Create or upgrade the tables of the writer engine's database; cheap when nothing is to do.

    Safe to call from several processes at once. Raises Misconfigured for a database that a newer
    certctl has upgraded, or that refuses to create tables; database errors as they come.
    """
    if current_revision(engine) == HEAD:
        return
    with _one_at_a_time(engine), engine.connect() as connection:
        try:
            with connection.begin():
                _upgrade(connection)
        except sa.ProgrammingError as error:
            if getattr(error.orig, "sqlstate", None) != _NOT_PERMITTED:
                raise
            raise Misconfigured(
                "database-not-permitted",
                "the database user may not create tables",
                field="CERTCTL_DATABASE_URL",
                hint="make that user the owner of the database",
            ) from error


def current_revision(engine: Engine) -> str | None:
    """The revision of the database; None for an empty one."""
    with engine.connect() as connection:
        try:
            revision: str | None = connection.execute(_CURRENT).scalar()
        except (sa.ProgrammingError, sa.OperationalError) as error:
            if kind_of(error) is not Kind.OWN:
                raise
            return None  # there is no such table
    return revision


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for this connection, without a file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "certctl.storage:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        # The one thing that goes wrong with scripts that are all there: an unknown revision.
        raise Misconfigured(
            "database-too-new",
            "the database was upgraded by a newer version of certctl",
            hint="start that version, or restore a backup from before the upgrade",
        ) from error


@contextmanager
def _one_at_a_time(engine: Engine) -> Iterator[None]:
    """Hold others back; SQLite's caller holds the data directory, which does that already."""
    if engine.dialect.name == "sqlite":
        yield
        return
    # On a connection of its own: a migration may have to commit in between.
    locking: Any = engine.execution_options(isolation_level="AUTOCOMMIT")
    with locking.connect() as connection:
        connection.execute(text("SET lock_timeout = 0"))  # a migration may take its time
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
