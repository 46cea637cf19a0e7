"""One transaction for many callers.

A batch first runs as a whole: all rows of all callers grouped by table, then the functions. Only
when something of one caller's own goes wrong is it run again with a savepoint around each caller,
so that the savepoints' price is paid where they are needed.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import func, update

from certctl.storage.audit import AuditChain, EncodedEvent, encode_event
from certctl.storage.failures import CommitFailed, Kind, describe, kind_of, own_error, unavailable
from certctl.storage.inserts import Inserter, insert_rows
from certctl.storage.notifications import CHANNEL
from certctl.storage.tables import changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection, CursorResult, Engine, Executable, RootTransaction, Table

    from certctl.domain.audit import AuditEvent
    from certctl.domain.clock import Clock
    from certctl.storage.inserts import PreparedRow, Row

log = structlog.get_logger(__name__)

_COUNT = update(changes).where(changes.c.id == 1).values(counter=changes.c.counter + 1)
#: The same, and whoever listens hears of it once it is committed.
_COUNT_AND_NOTIFY = _COUNT.returning(func.pg_notify(CHANNEL, ""))
_COLLISION_TRIES = 3
#: libpq's PQTRANS_IDLE (nothing was executed, so nothing was begun) and PQTRANS_INTRANS.
_INTACT = frozenset({0, 2})
_MAYBE_STORED = (
    "the database failed while it stored the change, which may or may not be stored: look before "
    "you try again"
)


class Transaction:
    """What a function given to `Database.write` works with. Not for use after it returned."""

    __slots__ = ("_changed", "_events", "_request_id", "connection")

    def __init__(self, connection: Connection, request_id: str | None) -> None:
        self.connection = connection
        self._request_id = request_id
        self._events: list[EncodedEvent] = []
        self._changed = False

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Execute a statement within the transaction."""
        return self.connection.execute(statement, parameters)

    def insert(self, rows: Iterable[tuple[Table, Row]]) -> None:
        """Insert rows, columns left out being null; a row of `chains` may exist already.

        Raises ValueError for a column that the table does not have.
        """
        insert_rows(self.connection, rows)

    def audit(self, event: AuditEvent) -> None:
        """Add an audit event; it is stored if, and only if, the rest is."""
        self._events.append(encode_event(event, self._request_id))

    def changed(self) -> None:
        """Make other processes look again at what they keep in memory."""
        self._changed = True


@dataclass(slots=True)
class Work:
    """What one caller wants stored: a function, or rows and events as data.

    `request_id` is for the events of the function.
    """

    function: Callable[[Transaction], Any] | None
    rows: Sequence[PreparedRow] = ()
    events: Sequence[EncodedEvent] = ()
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one caller gets: the function's value, or an error."""

    value: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Gathered:
    """What is written once for the whole transaction, at its end, to hold its locks briefly."""

    events: list[EncodedEvent] = field(default_factory=list)
    changed: bool = False


class BatchRunner:
    """Runs batches over one connection, which is opened when needed and dropped after an outage.

    Belongs to one thread.
    """

    def __init__(self, engine: Engine, audit_key: bytes, clock: Clock) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._chain = AuditChain(audit_key, clock)
        self._inserter = Inserter(engine.dialect)
        self._count = _COUNT if engine.dialect.name == "sqlite" else _COUNT_AND_NOTIFY

    def run(self, batch: Sequence[Work]) -> list[Outcome]:
        """Store what a batch wants, and say for each work what came of it; never raises."""
        try:
            return self._run(batch)
        except BaseException as error:  # callers wait for an answer
            self._drop()
            self._forget()
            if kind_of(error) is Kind.OWN:
                log.exception("batch failed")
                return [Outcome(error=error) for _ in batch]
            log.error("database unavailable", problem=describe(error))
            words = (_MAYBE_STORED,) if isinstance(error, CommitFailed) else ()
            return [Outcome(error=unavailable(*words)) for _ in batch]

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def check(self) -> None:
        """Drop a connection that has died while nobody used it, so that no caller hears of it."""
        if self._connection is None or self._engine.dialect.name == "sqlite":
            return
        try:
            with self._connection.begin():
                self._connection.exec_driver_sql("SELECT 1").close()
        except Exception:  # noqa: BLE001 - whatever it is, a new connection is the answer
            self._drop()

    def _run(self, batch: Sequence[Work]) -> list[Outcome]:
        for _ in range(_COLLISION_TRIES - 1):
            try:
                return self._attempt(batch)
            except Exception as error:
                if kind_of(error) is not Kind.COLLISION:
                    raise
                self._forget()
        return self._attempt(batch)

    def _attempt(self, batch: Sequence[Work]) -> list[Outcome]:
        connection = self._connect()
        try:
            return self._together(connection, batch)
        except Exception as error:
            if kind_of(error) is not Kind.OWN:
                raise
            self._forget()
            if len(batch) == 1:
                return [Outcome(error=own_error(error))]
        return self._one_by_one(connection, batch)

    def _together(self, connection: Connection, batch: Sequence[Work]) -> list[Outcome]:
        gathered = _Gathered()
        with _transaction(connection) as commit:
            self._inserter.insert(connection, [work.rows for work in batch if work.rows])
            outcomes = [Outcome(_call(connection, work, gathered)) for work in batch]
            if gathered.changed:
                connection.execute(self._count)
            self._chain.append(connection, gathered.events)
            commit()
        self._chain.committed()
        self._inserter.committed()
        return outcomes

    def _one_by_one(self, connection: Connection, batch: Sequence[Work]) -> list[Outcome]:
        outcomes = []
        changed = False
        with _transaction(connection) as commit:
            for work in batch:
                gathered = _Gathered()
                mark = self._chain.mark()
                savepoint = connection.begin_nested()
                try:
                    self._inserter.insert(connection, [work.rows])
                    value = _call(connection, work, gathered)
                    _check_intact(connection)
                    self._chain.append(connection, gathered.events)
                    savepoint.commit()
                except Exception as error:
                    if kind_of(error) is not Kind.OWN:
                        raise
                    savepoint.rollback()
                    self._chain.reset(mark)
                    outcomes.append(Outcome(error=own_error(error)))
                else:
                    changed = changed or gathered.changed
                    outcomes.append(Outcome(value))
            if changed:
                connection.execute(self._count)
            commit()
        self._chain.committed()
        self._inserter.rolled_back()  # some were: remembering less costs nothing
        return outcomes

    def _forget(self) -> None:
        self._chain.rolled_back()
        self._inserter.rolled_back()

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def _call(connection: Connection, work: Work, gathered: _Gathered) -> Any:
    if work.function is None:
        gathered.events.extend(work.events)
        return None
    transaction = Transaction(connection, work.request_id)
    value = work.function(transaction)
    gathered.events.extend(transaction._events)  # noqa: SLF001 - its other half
    gathered.changed = gathered.changed or transaction._changed  # noqa: SLF001
    return value


@contextmanager
def _transaction(connection: Connection) -> Iterator[Callable[[], None]]:
    """A transaction; the block ends by calling what it is given, which commits."""
    transaction = connection.begin()
    try:
        yield lambda: _commit(connection, transaction)
    except BaseException as error:
        if kind_of(error) is not Kind.OUTAGE:  # else the connection is dropped as it is
            transaction.rollback()
        raise


def _commit(connection: Connection, transaction: RootTransaction) -> None:
    _check_intact(connection)
    try:
        transaction.commit()
    except Exception as error:
        raise CommitFailed from error


def _check_intact(connection: Connection) -> None:
    """Raise RuntimeError when an error that a function has swallowed ended the transaction.

    PostgreSQL answers the COMMIT of such a one with success, and keeps nothing.
    """
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        intact = driver.in_transaction
    else:
        intact = driver.info.transaction_status in _INTACT
    if not intact:
        raise RuntimeError("a write function went on after an error of the database")
