"""Orders that wait, and steps whose calls to a CA a test holds in its hands."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from certctl.connectors.registry import connector_type
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.seeding import seed
from certctl.storage import tables
from certctl.storage.database import open_database
from certctl.storage.issuers import IssuerRecord, insert_issuer
from certctl.storage.leases import RELEASED, TakenOver
from tests.support.scripted_ca import ScriptedCA, finding

if TYPE_CHECKING:
    from certctl.storage.database import Connection, Database, SqlRow, Transaction
    from tests.support.targets import DatabaseTarget


async def add_issuers(database: Database, *issuer_ids: str, **limits: int) -> None:
    """Issuers of a scripted CA, with limits."""
    now = database.clock.now_ms()
    records = [
        IssuerRecord(which, which, "Scripted", {}, {}, "api", True, 1, now, now, **limits)
        for which in issuer_ids
    ]

    def write(transaction: Transaction) -> None:
        for record in records:
            insert_issuer(transaction, database.keyring, record)

    await database.write(write)


async def change_limits(database: Database, issuer_id: str, **limits: int | None) -> None:
    """What a PUT does about them."""

    def write(transaction: Transaction) -> None:
        its = tables.issuers.c
        transaction.execute(
            update(tables.issuers)
            .where(its.id == issuer_id)
            .values(**limits, revision=its.revision + 1)
        )
        transaction.changed()

    await database.write(write)


async def following(database: Database) -> Catalog:
    """A catalog of a seeded database that knows the scripted CA."""
    await seed(database, {})
    catalog = Catalog(database, database.clock, finding(ScriptedCA(["pending"]), connector_type))
    await catalog.refresh()
    return catalog


async def another_process(database: Database, target: DatabaseTarget) -> Database:
    """The same database, as another process opens it; to be closed."""
    return await open_database(
        url=target.url, data_dir=target.data_dir, clock=database.clock, keyring=database.keyring
    )


async def add_orders(
    database: Database, issuer_id: str, count: int, *, due_at: int, apart_ms: int = 0
) -> list[str]:
    """Pending orders of a seeded database, each due `apart_ms` after the one before; their ids."""
    numbers = [f"{issuer_id}-{due_at}-{number:06}" for number in range(count)]
    times = {"created_at": 1, "updated_at": 1}

    def write(transaction: Transaction) -> None:
        profile = transaction.execute(select(func.min(tables.profiles.c.id))).scalar_one()
        transaction.execute(
            insert(tables.certificates),
            [
                {
                    "id": f"cert-{number}",
                    "issuer_id": issuer_id,
                    "profile_id": profile,
                    "names": "[]",
                    "status": "pending",
                    **times,
                }
                for number in numbers
            ],
        )
        transaction.execute(
            insert(tables.orders),
            [
                {
                    "id": f"ord-{number}",
                    "certificate_id": f"cert-{number}",
                    "issuer_id": issuer_id,
                    "state": "pending",
                    "request": "{}",
                    "attempts": 0,
                    "epoch": 0,
                    "due_at": due_at + apart_ms * place,
                    **times,
                }
                for place, number in enumerate(numbers)
            ],
        )

    await database.write(write)
    return [f"ord-{number}" for number in numbers]


async def open_circuit(database: Database, issuer_id: str, state: str = "open") -> None:
    """Leave a CA alone, for good."""
    row = {
        "issuer_id": issuer_id, "state": state, "problem": "401", "since": 1, "revision": 1,
        "epoch": 0, "created_at": 1, "updated_at": 1,
    }  # fmt: skip

    def write(transaction: Transaction) -> None:
        transaction.execute(insert(tables.issuer_conditions), row)
        transaction.changed()

    await database.write(write)


async def close_circuit(database: Database, issuer_id: str) -> None:
    """End that."""

    def write(transaction: Transaction) -> None:
        its = tables.issuer_conditions
        transaction.execute(delete(its).where(its.c.issuer_id == issuer_id))
        transaction.changed()

    await database.write(write)


async def epochs(database: Database, issuer_id: str) -> list[int]:
    """How often each order of an issuer was claimed."""

    def read(connection: Connection) -> list[int]:
        its = tables.orders.c
        found = select(its.epoch).where(its.issuer_id == issuer_id).order_by(its.id)
        return list(connection.execute(found).scalars())

    return await database.read(read)


class Calls:
    """A CA at the other end of the steps, which sees what every process does at the same time.

    Calls end at once, or when `let_go` is called where `held` is set.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.begun: list[tuple[str, str]] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.seconds = 0.0
        self._open = asyncio.Event()
        if not held:
            self._open.set()

    def count(self, issuer_id: str) -> int:
        """How many calls began."""
        return sum(1 for which, _ in self.begun if which == issuer_id)

    def let_go(self) -> None:
        """Let those that are held, and all that come, be answered at once."""
        self._open.set()

    def of(self, database: Database) -> Any:
        """The step of one process's queue: it calls, and closes the order."""

        async def step(row: SqlRow[Any]) -> bool:
            await self._call(row.issuer_id, row.id)

            def write(transaction: Transaction) -> None:
                its = tables.orders.c
                done = (
                    update(tables.orders)
                    .where(its.id == row.id, its.epoch == row.epoch)
                    .values(due_at=None, **RELEASED)
                )
                if not transaction.execute(done).rowcount:
                    raise TakenOver

            await database.write(write)
            return True

        return step

    async def _call(self, issuer_id: str, order_id: str) -> None:
        self.begun.append((issuer_id, order_id))
        self.running[issuer_id] += 1
        self.most[issuer_id] = max(self.most[issuer_id], self.running[issuer_id])
        try:
            await self._open.wait()
            if self.seconds:
                await asyncio.sleep(self.seconds)
        finally:
            self.running[issuer_id] -= 1
