"""The database as the rest of certctl sees it: asynchronous calls around synchronous SQL."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

import structlog
from sqlalchemy import Connection, Table, select, update
from sqlalchemy import Row as SqlRow
from sqlalchemy import exc as sa

from certctl.domain.errors import Unavailable
from certctl.domain.request_ids import current_request_id
from certctl.storage.audit import encode_event
from certctl.storage.audit_key import load_audit_key
from certctl.storage.engine import READERS, database_url, reader_engine, writer_engine
from certctl.storage.failures import (
    RETRY_AFTER_SECONDS,
    Duplicate,
    Kind,
    describe,
    kind_of,
    unavailable,
)
from certctl.storage.inserts import Row, prepare_rows
from certctl.storage.migrate import ensure_schema
from certctl.storage.tables import changes
from certctl.storage.transaction import BatchRunner, Transaction, Work
from certctl.storage.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from certctl.domain.audit import AuditEvent
    from certctl.domain.clock import Clock
    from certctl.storage.sealing import Keyring

__all__ = [
    "Connection",
    "Database",
    "Duplicate",
    "Row",
    "SqlRow",
    "Table",
    "Transaction",
    "open_database",
]

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: A commit this fresh proves that the database can be written: many probes cost one write.
_PING_SECONDS = 1.0
_COUNTER = select(changes.c.counter).where(changes.c.id == 1)
_TOUCH = update(changes).where(changes.c.id == 1).values(counter=changes.c.counter)


class Database:
    """Reads run in a few threads, writes in one, and share its commits.

    `dialect` is "sqlite" or "postgresql". Every method raises Unavailable while the database cannot
    be used, and after `close`; nothing was stored then, unless the words say so. Audit events get
    the id of the request within which they are given.
    """

    def __init__(
        self, writing: Engine, reading: Engine, clock: Clock, keyring: Keyring, audit_key: bytes
    ) -> None:
        self.dialect: str = writing.dialect.name
        self.clock = clock
        self.keyring = keyring
        #: The key of the audit chains' MACs.
        self.audit_key = audit_key
        self._reading = reading
        self._writing = writing
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._writer = Writer(BatchRunner(writing, audit_key, clock))
        self._closed = False

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in a transaction that sees one state of the database; returns what it returns.

        It may run twice (a connection may turn out to be dead), so it does nothing but read.
        """
        if self._closed:
            raise Unavailable(
                "server-stopping", "the server is stopping", retry_after=RETRY_AFTER_SECONDS
            )
        loop = asyncio.get_running_loop()
        # With the caller's context, so that what is logged says for which request.
        return await loop.run_in_executor(self._readers, copy_context().run, self._read, fn)

    async def write(self, fn: Callable[[Transaction], T]) -> T:
        """Run `fn` in a transaction, possibly beside other callers'; returns after COMMIT.

        It may run twice, so it changes nothing but its transaction. What it raises undoes its
        changes and no one else's, and is raised here; Duplicate stands for a broken constraint.
        """
        value: T = await self._writer.submit(Work(fn, request_id=current_request_id.get()))
        return value

    async def append(
        self, rows: Sequence[tuple[Table, Row]], audit: Sequence[AuditEvent] = ()
    ) -> None:
        """Store new rows and audit events, all or none; returns after COMMIT.

        Columns left out are null. A row of `chains` may exist already. Raises Duplicate when the
        rows break a constraint, ValueError for an unknown column.
        """
        request_id = current_request_id.get()
        events = [encode_event(event, request_id) for event in audit]
        await self._writer.submit(Work(None, prepare_rows(rows), events))

    async def ping(self) -> None:
        """Raise Unavailable unless the database answers and can be written."""
        if self._closed or time.monotonic() - self._writer.last_success > _PING_SECONDS:
            await self.write(_touch)

    async def change_counter(self) -> int:
        """The number that `Transaction.changed` counts up."""
        return await self.read(_counter)

    @property
    def queue_depth(self) -> int:
        """How many writes wait to be begun."""
        return len(self._writer)

    async def close(self) -> None:
        """Finish what was asked for, refuse what comes later, and close all connections."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        self._writer.close()
        self._readers.shutdown(wait=True)
        self._reading.dispose()
        self._writing.dispose()

    def _read(self, fn: Callable[[Connection], T]) -> T:
        try:
            try:
                with self._reading.connect() as connection:
                    return fn(connection)
            except sa.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
            # The server was restarted: the pool has dropped its connections, the next is new.
            with self._reading.connect() as connection:
                return fn(connection)
        except (sa.DBAPIError, sa.TimeoutError) as error:
            if kind_of(error) is Kind.OWN:
                raise
            log.error("database unavailable", problem=describe(error))
            raise unavailable() from error


def _touch(transaction: Transaction) -> None:
    transaction.execute(_TOUCH)


def _counter(connection: Connection) -> int:
    return int(connection.execute(_COUNTER).scalar_one())


async def open_database(
    *, url: str | None, data_dir: Path, clock: Clock, keyring: Keyring
) -> Database:
    """Open the database, with its tables brought up to date; None is SQLite in the data directory.

    With SQLite the caller holds the data directory's lock. Raises Misconfigured for a bad address,
    a database of a newer certctl or one that the keyring does not open, Unavailable when it cannot
    be reached.
    """
    address = database_url(url, data_dir)
    writing, reading = writer_engine(address), reader_engine(address)
    try:
        await asyncio.to_thread(ensure_schema, writing)
        audit_key = await asyncio.to_thread(load_audit_key, writing, reading, keyring, clock)
    except BaseException as error:
        reading.dispose()
        writing.dispose()
        if not isinstance(error, sa.DBAPIError) or kind_of(error) is Kind.OWN:
            raise
        raise unavailable(f"the database cannot be opened: {describe(error)}") from error
    return Database(writing, reading, clock, keyring, audit_key)
