"""Rows as data: turned into tuples once, inserted table by table with one statement each.

A general insert costs SQLAlchemy more than SQLite; here the text is built once per table, and one
call of the driver inserts all rows of a table, whoever they belong to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certctl.storage.tables import INSERT_ORDER, chains

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Dialect, Table

Row = dict[str, Any]
#: A table's place in the insertion order, and the values of all its columns.
PreparedRow = tuple[int, tuple[Any, ...]]

_PLACES = {table: place for place, table in enumerate(INSERT_ORDER)}
_COLUMNS = [tuple(column.name for column in table.columns) for table in INSERT_ORDER]
_COLUMN_SETS = [frozenset(names) for names in _COLUMNS]
_CHAINS = _PLACES[chains]
#: Chains are few (one for each issuing CA); a bound only in case that is ever untrue.
_MAX_KNOWN_CHAINS = 4096


def prepare_rows(rows: Iterable[tuple[Table, Row]]) -> list[PreparedRow]:
    """Bring rows into the form that `Inserter` takes; columns left out are null.

    Raises ValueError for a column that the table does not have.
    """
    prepared = []
    for table, row in rows:
        place = _PLACES[table]
        if not row.keys() <= _COLUMN_SETS[place]:
            unknown = ", ".join(sorted(row.keys() - _COLUMN_SETS[place]))
            raise ValueError(f"table {table.name} has no column {unknown}")
        prepared.append((place, tuple(map(row.get, _COLUMNS[place]))))
    return prepared


class Inserter:
    """Inserts prepared rows over one writer's connections."""

    def __init__(self, dialect: Dialect) -> None:
        self._statements = [_statement(table, dialect) for table in INSERT_ORDER]
        self._known: set[str] = set()
        self._new: set[str] = set()

    def insert(self, connection: Connection, items: Iterable[Sequence[PreparedRow]]) -> None:
        """Insert all rows of all items, in an order that satisfies the foreign keys."""
        by_table: list[list[tuple[Any, ...]]] = [[] for _ in INSERT_ORDER]
        for rows in items:
            for place, values in rows:
                by_table[place].append(values)
        if by_table[_CHAINS]:
            by_table[_CHAINS] = self._unknown(by_table[_CHAINS])
        for statement, values_list in zip(self._statements, by_table, strict=True):
            if values_list:
                connection.exec_driver_sql(statement, values_list)

    def _unknown(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        fresh = {row[0]: row for row in rows if row[0] not in self._known}
        self._new.update(fresh)
        return [fresh[key] for key in sorted(fresh)]  # one order everywhere: no deadlocks

    def committed(self) -> None:
        """What was inserted is there to stay."""
        if len(self._known) > _MAX_KNOWN_CHAINS:
            self._known.clear()
        self._known |= self._new
        self._new.clear()

    def rolled_back(self) -> None:
        """Trust nothing remembered: it may be what went wrong."""
        self._known.clear()
        self._new.clear()


def insert_statement(table: Table, dialect: Dialect) -> str:
    """The text that inserts one row of all columns, in the driver's own parameter style."""
    quote = dialect.identifier_preparer
    columns = ", ".join(quote.quote(column.name) for column in table.columns)
    marks = ", ".join([placeholder(dialect)] * len(table.columns))
    return f"INSERT INTO {quote.format_table(table)} ({columns}) VALUES ({marks})"  # noqa: S608 - our own names


def placeholder(dialect: Dialect) -> str:
    """How the driver marks a positional parameter."""
    return "?" if dialect.paramstyle == "qmark" else "%s"


def _statement(table: Table, dialect: Dialect) -> str:
    statement = insert_statement(table, dialect)
    # The same content under the same id, whoever comes first.
    return f"{statement} ON CONFLICT DO NOTHING" if table is chains else statement
