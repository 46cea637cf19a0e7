"""PostgreSQL databases that are used by one test after the other: emptied, which is cheaper."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from certctl.storage.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

LEAVE_SECONDS = 10.0

_OTHERS = sql.SQL(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
#: What a test may have changed besides rows: whose database differs in it is not used again.
_STRUCTURE = sql.SQL(
    """
    SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace),
           (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
           (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal),
           (SELECT count(*) FROM pg_statistic
             JOIN pg_class ON pg_class.oid = starelid
            WHERE relnamespace = 'public'::regnamespace),
           (SELECT count(*) FROM pg_db_role_setting
             JOIN pg_database ON pg_database.oid = setdatabase
            WHERE datname = current_database()),
           (SELECT version_num FROM alembic_version)
    """
)
_EMPTY = sql.SQL("TRUNCATE {}; INSERT INTO changes (id, counter) VALUES (1, 0)").format(
    sql.SQL(", ").join(sql.Identifier(table.name) for table in metadata.sorted_tables)
)


@dataclass
class Databases:
    """Copies of a template, whose names begin with `prefix`."""

    server: PostgresServer
    template: str
    prefix: str
    _structure: tuple[Any, ...] = field(init=False)
    _made: int = 0
    _free: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self._connect(self.template) as connection:
            self._structure = self._structure_of(connection)

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The name of a migrated database with nothing in it, which is no one else's."""
        name = self._free.pop() if self._free else self._make()
        try:
            yield name
        finally:
            self._take_back(name)

    def close(self) -> None:
        """Remove them."""
        for name in self._free:
            self.server.drop_database(name)

    def _make(self) -> str:
        self._made += 1
        name = f"{self.prefix}_{self._made}"
        self.server.create_database(name, self.template)
        return name

    def _take_back(self, name: str) -> None:
        try:
            is_empty = self._make_empty(name)
        except psycopg.Error:  # a test has removed it, or its tables, or lets nobody in
            is_empty = False
        if is_empty:
            self._free.append(name)
        else:
            self.server.drop_database(name)

    def _make_empty(self, name: str) -> bool:
        """Whether nothing is left in it that a test has made."""
        with self._connect(name) as connection:
            self._throw_out_others(connection)
            if self._structure_of(connection) != self._structure:
                return False
            connection.execute(_EMPTY)
        return True

    def _connect(self, name: str) -> psycopg.Connection[tuple[Any, ...]]:
        settings = "-c default_transaction_read_only=off"  # a test may have set it for the database
        parameters = {**self.server.parameters, "dbname": name, "options": settings}
        return psycopg.connect(make_conninfo(**parameters), autocommit=True)

    @staticmethod
    def _throw_out_others(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        """End what a test left connected, and wait until its locks are gone."""
        deadline = time.monotonic() + LEAVE_SECONDS
        while connection.execute(_OTHERS).fetchall():
            assert time.monotonic() < deadline, "somebody does not leave the database"
            time.sleep(0.005)

    @staticmethod
    def _structure_of(connection: psycopg.Connection[tuple[Any, ...]]) -> tuple[Any, ...]:
        found = connection.execute(_STRUCTURE).fetchone()
        assert found is not None
        return found
