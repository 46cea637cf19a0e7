"""Sealed values by scope and name: a connector's state, and the server's own keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, text, update

from certctl.storage.tables import sealed_values

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

    from certctl.storage.database import Database, Transaction

_GET = select(sealed_values.c.sealed).where(
    sealed_values.c.scope == bindparam("scope"), sealed_values.c.name == bindparam("name")
)
_GET_FOR_UPDATE = _GET.with_for_update()
# Both databases spell it so.
_INSERT = text(
    "INSERT INTO sealed_values (scope, name, sealed, created_at, updated_at)"
    " VALUES (:scope, :name, :sealed, :now, :now) ON CONFLICT (scope, name) DO NOTHING"
)
_UPDATE = (
    update(sealed_values)
    .where(
        sealed_values.c.scope == bindparam("which_scope"),
        sealed_values.c.name == bindparam("which_name"),
    )
    .values(sealed=bindparam("sealed"), updated_at=bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class StoredState:
    """The key-value store of one scope (an issuer's id, or "server"), shared by all processes."""

    database: Database
    scope: str

    async def get(self, key: str) -> bytes | None:
        """The value, or None. Raises Misconfigured when it cannot be opened."""
        sealed = await self.database.read(lambda c: _sealed(c, _GET, self.scope, key))
        return None if sealed is None else self.database.keyring.open(self.scope, key, sealed)

    async def put_if_absent(self, key: str, value: bytes) -> bytes:
        """Store the value unless there is one; returns the one that is there now.

        Raises Misconfigured when that one cannot be opened.
        """
        return await swap(self.database, self.scope, key, expected=None, new=value)


def find_sealed(connection: Connection, scope: str, name: str) -> bytes | None:
    """The value as it is stored, or None."""
    return _sealed(connection, _GET, scope, name)


def insert_sealed(
    connection: Connection, scope: str, name: str, sealed: bytes, now_ms: int
) -> bool:
    """Store a sealed value unless there is one; whether this one was stored."""
    values = {"scope": scope, "name": name, "sealed": sealed, "now": now_ms}
    return connection.execute(_INSERT, values).rowcount == 1


async def swap(
    database: Database, scope: str, name: str, *, expected: bytes | None, new: bytes
) -> bytes:
    """Replace a value that still is as `expected`, or is absent; returns the one there now.

    With None for `expected` only an absent one is replaced. Whoever comes second gets what the
    first has stored. Raises Misconfigured when a stored value cannot be opened.
    """
    keyring = database.keyring

    def write(transaction: Transaction) -> bytes:
        now = database.clock.now_ms()
        sealed = keyring.seal(scope, name, new)
        stored = _sealed(transaction.connection, _GET_FOR_UPDATE, scope, name)
        if stored is None:
            if insert_sealed(transaction.connection, scope, name, sealed, now):
                return sealed
            # Another process was first, between the two statements.
            stored = _sealed(transaction.connection, _GET_FOR_UPDATE, scope, name)
        elif expected is not None and keyring.open(scope, name, stored) == expected:
            values = {"which_scope": scope, "which_name": name, "sealed": sealed, "now": now}
            transaction.execute(_UPDATE, values)
            return sealed
        if stored is None:
            raise LookupError("a sealed value was there and is not")
        return stored

    return keyring.open(scope, name, await database.write(write))


def _sealed(
    connection: Connection, statement: Select[bytes], scope: str, name: str
) -> bytes | None:
    row = connection.execute(statement, {"scope": scope, "name": name}).first()
    return None if row is None else row.sealed
