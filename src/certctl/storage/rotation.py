"""Sealing anew what is stored, under the keyring's current key, while everybody works.

A batch is read and sealed in a reader's thread and stored by the writer. A value that somebody
else has stored in between is not as it was read, and so is left alone: whoever stored it has
sealed it, and a rotation never brings old contents back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    bindparam,
    func,
    literal,
    select,
    tuple_,
    type_coerce,
    update,
)

from certctl.domain.errors import CertctlError
from certctl.storage.sealing import HEADER_BYTES
from certctl.storage.tables import issuers, sealed_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, Connection, Row, Select, Table, Update

    from certctl.storage.database import Database, Transaction
    from certctl.storage.sealing import Keyring

#: So many values at most are sealed anew in one transaction: others wait for it no longer than for
#: a batch of their own.
BATCH = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value is: what it was sealed for."""

    scope: str
    name: str


@dataclass(frozen=True, slots=True)
class Resealed:
    """What came of one walk over all values: how many were sealed anew, which cannot be opened."""

    count: int
    unopened: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class _Store:
    """A column of sealed values, and the statements that walk it in the order of its places."""

    page: Select[str, str, bytes]
    update: Update
    count: Select[bytes, int]


@dataclass(frozen=True, slots=True)
class _Change:
    place: Place
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class _Batch:
    changes: list[_Change]
    unopened: list[Place]
    last: Place | None  # None: there was nothing left


def _store(
    table: Table, scope: Column[str], name: ColumnElement[str], sealed: Column[bytes]
) -> _Store:
    header = type_coerce(func.substr(sealed, 1, HEADER_BYTES), LargeBinary)
    position = tuple_(scope, name)
    return _Store(
        page=select(scope.label("scope"), name.label("name"), sealed.label("sealed"))
        .where(
            sealed.is_not(None),
            header != bindparam("header", type_=LargeBinary),
            position > tuple_(bindparam("after_scope"), bindparam("after_name")),
        )
        .order_by(scope, name)
        .limit(bindparam("limit")),
        update=update(table)
        .where(
            scope == bindparam("which_scope"),
            name == bindparam("which_name"),
            sealed == bindparam("before", type_=LargeBinary),
        )
        .values({sealed: bindparam("after", type_=LargeBinary)}),
        count=select(header.label("header"), func.count().label("number"))
        .where(sealed.is_not(None))
        .group_by(header),
    )


_STORES = (
    _store(sealed_values, sealed_values.c.scope, sealed_values.c.name, sealed_values.c.sealed),
    _store(issuers, issuers.c.id, literal("config"), issuers.c.sealed_config),
)


def count_by_header(connection: Connection) -> Counter[bytes]:
    """How many values there are by what they begin with, which tells the key; none is opened."""
    found: Counter[bytes] = Counter()
    for store in _STORES:
        for row in connection.execute(store.count):
            found[bytes(row.header)] += row.number
    return found


def find_unopened(connection: Connection, keyring: Keyring) -> list[Place]:
    """Where the sealed values are that this keyring does not open; opens every one of them."""
    found = []
    for store in _STORES:
        last: Place | None = Place("", "")
        while last is not None:
            # A header that nothing begins with: every value is looked at, of whichever key.
            rows = _page(connection, store, b"", last, BATCH)
            for row in rows:
                try:
                    keyring.open(row.scope, row.name, row.sealed)
                except CertctlError:
                    found.append(Place(row.scope, row.name))
            last = Place(rows[-1].scope, rows[-1].name) if rows else None
    return found


async def reseal(database: Database, batch: int = BATCH) -> Resealed:
    """Seal anew, once, whatever the keyring's current key has not sealed.

    What is stored under another key while this runs may be missed. May be given up at any moment,
    and begun again. Raises Unavailable; what was sealed anew by then stays so.
    """
    count = 0
    unopened: list[Place] = []
    for store in _STORES:
        last: Place | None = Place("", "")
        while last is not None:
            found = await database.read(partial(_read, database.keyring, store, last, batch))
            if found.changes:
                count += await database.write(partial(_apply, store, found.changes))
            unopened += found.unopened
            last = found.last
    return Resealed(count, tuple(unopened))


def _read(
    keyring: Keyring, store: _Store, after: Place, limit: int, connection: Connection
) -> _Batch:
    rows = _page(connection, store, keyring.header, after, limit)
    changes, unopened = [], []
    for row in rows:
        place = Place(row.scope, row.name)
        try:
            plain = keyring.open(place.scope, place.name, row.sealed)
        except CertctlError:
            unopened.append(place)
        else:
            sealed = keyring.seal(place.scope, place.name, plain)
            changes.append(_Change(place, row.sealed, sealed))
    last = Place(rows[-1].scope, rows[-1].name) if rows else None
    return _Batch(changes, unopened, last)


def _page(
    connection: Connection, store: _Store, other_than: bytes, after: Place, limit: int
) -> Sequence[Row[str, str, bytes]]:
    """The next values, in the order of their places, that do not begin with `other_than`."""
    values = {
        "header": other_than,
        "after_scope": after.scope,
        "after_name": after.name,
        "limit": limit,
    }
    return connection.execute(store.page, values).all()


def _apply(store: _Store, changes: Sequence[_Change], transaction: Transaction) -> int:
    done = transaction.execute(
        store.update,
        [
            {
                "which_scope": change.place.scope,
                "which_name": change.place.name,
                "before": change.before,
                "after": change.after,
            }
            for change in changes
        ],
    )
    return done.rowcount
