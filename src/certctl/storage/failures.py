"""What an error of the database means: somebody's own rows, a collision, or an outage."""

from __future__ import annotations

import re
import sqlite3
from enum import Enum, auto

from sqlalchemy import UniqueConstraint
from sqlalchemy import exc as sa

from certctl.domain.errors import Unavailable
from certctl.storage.tables import metadata

RETRY_AFTER_SECONDS = 5


class Duplicate(Exception):
    """The caller's own rows broke a constraint; none of them was stored.

    `constraint` is the constraint's name on every database, or None where it does not tell (a
    foreign key or a missing value on SQLite).
    """

    def __init__(self, constraint: str | None) -> None:
        super().__init__(f"violates {constraint or 'a constraint'}")
        self.constraint = constraint

    @property
    def is_of_reference(self) -> bool:
        """Whether a row named another that is not there, as far as the database tells."""
        return self.constraint is None or self.constraint.startswith("fk_")


class CommitFailed(Exception):
    """COMMIT was sent and did not succeed for all we know; its cause says why."""


class Kind(Enum):
    """Who is to blame, and so who hears of it."""

    OWN = auto()  # one caller's rows or function
    COLLISION = auto()  # two transactions in each other's way: trying again is right
    OUTAGE = auto()  # the database cannot be used now, by anybody


# Everything else that sqlite3 reports is a mistake in a statement or in a caller's rows.
_SQLITE_OUTAGES = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
# Connection, transaction state (a read-only server), resources, an operator's doing, the system.
_OUTAGE_CLASSES = frozenset({"08", "25", "53", "57", "58"})
_COLLISION_CLASS = "40"  # deadlock, serialization
_LIMIT_CLASS = "54"  # too large a row: its owner's doing, though the driver files it elsewhere
_ALREADY_FAILED = "25P02"  # a function went on after an error of its own


def kind_of(error: BaseException) -> Kind:
    """What happened, for an error raised by the database or by a caller's function."""
    if isinstance(error, CommitFailed | sa.TimeoutError):  # the latter: no connection became free
        return Kind.OUTAGE
    if not isinstance(error, sa.DBAPIError):
        return Kind.OWN
    if error.connection_invalidated:
        return Kind.OUTAGE
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return Kind.OUTAGE if code in _SQLITE_OUTAGES else Kind.OWN
    return _kind_of_postgresql(error, getattr(cause, "sqlstate", None) or "")


def _kind_of_postgresql(error: sa.DBAPIError, sqlstate: str) -> Kind:
    group = sqlstate[:2]
    if group == _COLLISION_CLASS:
        return Kind.COLLISION
    if group == _LIMIT_CLASS or sqlstate == _ALREADY_FAILED:
        return Kind.OWN
    if group in _OUTAGE_CLASSES or isinstance(error, sa.OperationalError | sa.InterfaceError):
        return Kind.OUTAGE
    return Kind.OWN


def unavailable(detail: str = "the database cannot be used at the moment") -> Unavailable:
    """The error for callers of a database that does not work; each gets one of its own."""
    return Unavailable("database-unavailable", detail, retry_after=RETRY_AFTER_SECONDS)


def describe(error: BaseException) -> str:
    """What the driver said, for the log: in one line, without statements and values."""
    if isinstance(error, CommitFailed) and error.__cause__ is not None:
        return f"COMMIT failed: {describe(error.__cause__)}"
    cause = error.orig if isinstance(error, sa.DBAPIError) else error
    return " ".join(f"{type(cause).__name__}: {cause}".split())


def own_error(error: Exception) -> Exception:
    """What the caller at fault gets: Duplicate for a broken constraint, else the error itself."""
    if isinstance(error, sa.IntegrityError):
        duplicate = Duplicate(_constraint(error))
        duplicate.__cause__ = error
        return duplicate
    return error


_SQLITE_UNIQUE = re.compile(r"UNIQUE constraint failed: (.+)")


def _names_by_columns() -> dict[tuple[str, ...], str]:
    found: dict[tuple[str, ...], str] = {}
    for table in metadata.tables.values():
        unique = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
        indexes = [index for index in table.indexes if index.unique]
        named = [(c.name, c.columns) for c in (table.primary_key, *unique)]
        named += [(index.name, index.columns) for index in indexes]
        for name, columns in named:
            found[tuple(f"{table.name}.{column.name}" for column in columns)] = str(name)
    return found


_NAMES = _names_by_columns()


def _constraint(error: sa.IntegrityError) -> str | None:
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None:
        name: str | None = diagnosis.constraint_name
        return name
    # SQLite names the columns, not the constraint.
    match = _SQLITE_UNIQUE.match(str(error.orig))
    return _NAMES.get(tuple(match[1].split(", "))) if match else None
