"""The engines: one for the writer, one for the readers, on SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, NullPool, QueuePool, event, make_url
from sqlalchemy import create_engine as sqlalchemy_engine
from sqlalchemy.exc import ArgumentError

from certctl.domain.errors import Misconfigured
from certctl.storage.bulk import execute_raw

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

DATABASE_FILE = "certctl.db"
READERS = 4

_BUSY_MS = 5_000
_WRITER_CACHE_KIB = 32 * 1024
_READER_CACHE_KIB = 4 * 1024
#: Readers look at the file through the page cache, which all of them share.
_MMAP_BYTES = 256 * 1024 * 1024
#: One issuance touches some 25 pages in as many tables and indexes, and all of them are written and
#: synced: with half of SQLite's usual size, half of the bytes.
_PAGE_BYTES = 2_048
#: Pages in the log before they are copied into the file.
_CHECKPOINT_PAGES = 8_000
_LOG_LIMIT_BYTES = 64 * 1024 * 1024

#: What a network that swallows packets may cost: without these, a quarter of an hour.
_POSTGRESQL_DEFAULTS = {
    "application_name": "certctl",
    "connect_timeout": "5",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}


def database_url(url: str | None, data_dir: Path) -> URL:
    """The address for SQLAlchemy; None stands for the embedded database in the data directory.

    Raises Misconfigured, without the address in its words (it holds a password).
    """
    if url is None:
        return URL.create("sqlite", database=str(data_dir / DATABASE_FILE))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in {
        "postgres",
        "postgresql",
        "postgresql+psycopg",
    }:
        raise Misconfigured(
            "database-url-invalid",
            "CERTCTL_DATABASE_URL is not the address of a PostgreSQL database",
            field="CERTCTL_DATABASE_URL",
            hint="write postgresql://user:password@host:5432/database, with characters such as @ "
            "in the password percent-encoded; leave it unset for SQLite",
        )
    defaults = {
        name: value for name, value in _POSTGRESQL_DEFAULTS.items() if name not in parsed.query
    }
    return parsed.set(drivername="postgresql+psycopg").update_query_dict(defaults)


def writer_engine(url: URL) -> Engine:
    """The engine whose connections write. No pool: the writer holds on to one connection."""
    if url.get_backend_name() == "sqlite":
        engine = _create(url, poolclass=NullPool, connect_args=_SQLITE_ARGUMENTS)
        _configure_sqlite(engine, cache_kib=_WRITER_CACHE_KIB, begin="BEGIN IMMEDIATE")
        return engine
    engine = _create(url, poolclass=NullPool)
    event.listen(engine, "connect", _prepare_session)
    return engine


def reader_engine(url: URL) -> Engine:
    """The engine for reading: each transaction sees one state of the database, and writes none."""
    if url.get_backend_name() == "sqlite":
        engine = _create(
            url,
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=0,
            connect_args=_SQLITE_ARGUMENTS,
        )
        _configure_sqlite(engine, cache_kib=_READER_CACHE_KIB, begin="BEGIN", read_only=True)
        return engine
    engine = _create(
        url,
        pool_size=READERS,
        max_overflow=0,
        isolation_level="REPEATABLE READ",
    )
    event.listen(engine, "connect", _read_only)
    return engine


def looking_engine(url: URL) -> Engine:
    """An engine that looks at a database from outside, beside whoever serves it.

    It makes no tables and changes no setting of the file. On SQLite it reads what is there or
    fails; a reader in WAL mode holds nobody up.
    """
    if url.get_backend_name() != "sqlite":
        return reader_engine(url)
    path = Path(url.database or "")
    engine = _create(url, poolclass=NullPool, creator=lambda: open_read_only(path))

    def start(connection: Connection) -> None:
        execute_raw(connection, "BEGIN", ())

    event.listen(engine, "begin", start)
    return engine


def open_read_only(path: Path) -> sqlite3.Connection:
    """A driver's connection to an embedded database that is there; raises sqlite3.Error else."""
    connection: sqlite3.Connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, **_SQLITE_ARGUMENTS
    )
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}").close()
    return connection


def _create(url: URL, **options: Any) -> Engine:
    # Values of parameters stay out of error messages, and so out of logs.
    return sqlalchemy_engine(url, hide_parameters=True, **options)


# The driver's own idea of transactions is switched off: the hooks below begin them.
_SQLITE_ARGUMENTS: dict[str, Any] = {
    "isolation_level": None,
    "check_same_thread": False,
    "cached_statements": 512,
}


def _configure_sqlite(
    engine: Engine, *, cache_kib: int, begin: str, read_only: bool = False
) -> None:
    pragmas = [
        f"busy_timeout = {_BUSY_MS}",  # first: the next ones may have to wait
        f"page_size = {_PAGE_BYTES}",  # for a new file, before the log exists
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"cache_size = -{cache_kib}",
        f"mmap_size = {_MMAP_BYTES}",
        f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
        f"journal_size_limit = {_LOG_LIMIT_BYTES}",
        "temp_store = MEMORY",
    ]
    if read_only:
        pragmas.append("query_only = ON")

    def configure(connection: Any, _record: object) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    def start(connection: Connection) -> None:
        execute_raw(connection, begin, ())  # SQLAlchemy's way would cost a tenth of an issuance

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", start)


#: What the server forgets by itself when our end has vanished: else a lost connection's locks would
#: hold its successor up for hours. Shorter than that, nothing waits for a lock.
_SESSION_SETTINGS = {
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


def _prepare_session(connection: Any, _record: object) -> None:
    for name, value in _SESSION_SETTINGS.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    # What is acknowledged must survive a crash, whatever the server's default; stronger settings
    # (a replica's confirmation) stay.
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()


def _read_only(connection: Any, _record: object) -> None:
    connection.read_only = True
