"""Rows as data: turned into tuples once, grouped by table, inserted whoever they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certctl.storage.bulk import Values, bulk_insert
from certctl.storage.tables import INSERT_ORDER, chains

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Dialect, Table

Row = dict[str, Any]
#: A table's place in the insertion order, and the values of all its columns.
PreparedRow = tuple[int, Values]

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


def insert_rows(connection: Connection, rows: Iterable[tuple[Table, Row]]) -> None:
    """Insert a few rows, whatever the order they come in; a row of `chains` may exist already."""
    groups = [(INSERT_ORDER[place], [values]) for place, values in sorted(prepare_rows(rows))]
    bulk_insert(connection.dialect)(connection, groups)


class Inserter:
    """Inserts prepared rows, and remembers which chains need not be inserted again."""

    def __init__(self, dialect: Dialect) -> None:
        self._insert = bulk_insert(dialect)
        self._known: set[str] = set()
        self._new: set[str] = set()

    def insert(self, connection: Connection, items: Iterable[Sequence[PreparedRow]]) -> None:
        """Insert all rows of all items, in an order that satisfies the foreign keys."""
        by_table: list[list[Values]] = [[] for _ in INSERT_ORDER]
        for rows in items:
            for place, values in rows:
                by_table[place].append(values)
        if by_table[_CHAINS]:
            by_table[_CHAINS] = self._unknown(by_table[_CHAINS])
        groups = [(table, rows) for table, rows in zip(INSERT_ORDER, by_table, strict=True) if rows]
        if groups:
            self._insert(connection, groups)

    def _unknown(self, rows: list[Values]) -> list[Values]:
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
