"""Many rows at once, straight through the driver: what the hot path is made of.

SQLAlchemy's own execution costs more than SQLite's work. sqlite3 lets go of the interpreter at each
step of a statement, and may wait half a millisecond to get it back from a busy event loop, so a
table takes one statement of many rows rather than an `executemany`. psycopg's costs more per value
than PostgreSQL's own work, so there a table takes one statement with all rows as one JSON text, and
all tables one round trip. What the driver raises comes as SQLAlchemy's errors all the same.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import exc as sa

from certctl.storage.tables import chains

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection, Dialect, Table

#: Most rows of one statement on SQLite: few enough that all sizes stay prepared.
_SQLITE_ROWS = 32

#: The values of all columns of a row, in the table's order.
Values = tuple[Any, ...]


class BulkInsert(Protocol):
    """Inserts rows, table after table in the order given."""

    def __call__(
        self, connection: Connection, groups: Iterable[tuple[Table, list[Values]]]
    ) -> None:
        """Insert them within the connection's transaction; raises SQLAlchemy's DBAPIError."""
        ...


def bulk_insert(dialect: Dialect) -> BulkInsert:
    """The way for this kind of database."""
    return _insert_sqlite if dialect.name == "sqlite" else _insert_postgresql


def execute_raw(connection: Connection, statement: str, values: Values) -> int:
    """Execute one statement, with `?` for its values on either database; the rows it changed."""
    if connection.dialect.name != "sqlite":
        statement = statement.replace("?", "%s")
    with _driver(connection) as driver:
        cursor = driver.execute(statement, values)
        count: int = cursor.rowcount
        cursor.close()
    return count


def _insert_sqlite(connection: Connection, groups: Iterable[tuple[Table, list[Values]]]) -> None:
    with _driver(connection) as driver:
        for table, rows in groups:
            for start in range(0, len(rows), _SQLITE_ROWS):
                some = rows[start : start + _SQLITE_ROWS]
                values = list(chain.from_iterable(some))
                driver.execute(_sqlite_statement(table, len(some)), values)


def _insert_postgresql(
    connection: Connection, groups: Iterable[tuple[Table, list[Values]]]
) -> None:
    with _driver(connection) as driver, driver.cursor() as cursor, driver.pipeline():
        for table, rows in groups:
            names = table.columns.keys()
            text = _to_json([dict(zip(names, values, strict=True)) for values in rows])
            cursor.execute(_postgresql_statement(table), (text,))


@contextmanager
def _driver(connection: Connection) -> Iterator[Any]:
    dialect = connection.dialect
    errors: type[Exception] = dialect.loaded_dbapi.Error
    try:
        yield connection.connection.driver_connection
    except errors as error:
        raise sa.DBAPIError.instance(
            "bulk insert", None, error, errors, hide_parameters=True, dialect=dialect
        ) from error


@cache
def _sqlite_statement(table: Table, row_count: int) -> str:
    names = table.columns.keys()
    columns = ", ".join(f'"{name}"' for name in names)
    row = "(" + ", ".join("?" * len(names)) + ")"
    rows = ", ".join([row] * row_count)
    return f'INSERT INTO "{table.name}" ({columns}) VALUES {rows}{_conflict(table)}'  # noqa: S608 - our own names


@lru_cache
def _postgresql_statement(table: Table) -> str:
    names = table.columns.keys()
    columns = ", ".join(f'"{name}"' for name in names)
    return (
        f'INSERT INTO "{table.name}" ({columns}) SELECT {columns}'  # noqa: S608 - our own names
        f' FROM json_populate_recordset(NULL::"{table.name}", %s::json){_conflict(table)}'
    )


def _conflict(table: Table) -> str:
    # The same content under the same id, whoever comes first.
    return " ON CONFLICT DO NOTHING" if table is chains else ""


def _bytea(value: object) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(f"a column cannot hold a {type(value).__name__}")


_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_bytea).encode
