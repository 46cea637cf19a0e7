"""Rows to store, and ways to hold the writer up while others queue."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import event, func, insert, select

from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Unavailable
from certctl.storage import tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Table

    from certctl.storage.database import Database, Row, Transaction

CHAIN_ID = "c" * 64


def seed_parents(transaction: Transaction) -> None:
    """The issuer and the profile that the sample rows refer to."""
    common = {"enabled": True, "revision": 1, "created_at": 1, "updated_at": 1}
    transaction.execute(
        insert(tables.issuers),
        {**common, "id": "iss-a", "name": "A", "type": "T", "config": "{}", "source": "env"},
    )
    transaction.execute(
        insert(tables.profiles), {**common, "id": "prof-a", "name": "A", "rules": "{}"}
    )


def sample_rows(
    number: int, *, key: str | None = None, serial: str | None = None
) -> list[tuple[Table, Row]]:
    """What one issuance stores; the same key or serial twice is a duplicate."""
    certificate, order, version = f"cert-{number}", f"ord-{number}", f"ver-{number}"
    times = {"created_at": 1, "updated_at": 1}
    return [
        # Not in the order that the foreign keys ask for.
        (
            tables.idempotency_keys,
            {
                "api_key_id": "key-a",
                "key": key or f"idem-{number}",
                "request_hash": "0" * 64,
                "order_id": order,
                "created_at": 1,
            },
        ),
        (
            tables.versions,
            {
                "id": version,
                "certificate_id": certificate,
                "issuer_id": "iss-a",
                "order_id": order,
                "serial": serial or f"{number:x}",
                "not_before": 1,
                "not_after": 2**41,
                "der": bytes(range(256)),
                "chain_id": CHAIN_ID,
                "created_at": 1,
            },
        ),
        (
            tables.orders,
            {
                "id": order,
                "certificate_id": certificate,
                "issuer_id": "iss-a",
                "state": "issued",
                "csr": b"\x00\xff",
                "request": '{"names": ["\\u00fc"]}',
                "attempts": 0,
                "epoch": 0,
                **times,
            },
        ),
        (
            tables.certificate_names,
            {
                "value": "a.example.org",
                "certificate_id": certificate,
                "kind": "dns",
                "reversed": "gro.elpmaxe.a",
            },
        ),
        (tables.chains, {"id": CHAIN_ID, "pem": "-----BEGIN"}),
        (
            tables.certificates,
            {
                "id": certificate,
                "issuer_id": "iss-a",
                "profile_id": "prof-a",
                "owner": 'ünïcode "quoted" \\ %s ? $1',
                "names": "[]",
                "status": "issued",
                **times,
            },
        ),
    ]


def sample_event(number: int = 0, *, action: str = "certificate.issued") -> AuditEvent:
    """An audit event."""
    return AuditEvent(
        1_000 + number, "key-a", action, "certificate", f"cert-{number}", {"n": number}
    )


async def count(database: Database, table: Table) -> int:
    """How many rows a table has."""
    return await database.read(
        lambda connection: connection.execute(select(func.count()).select_from(table)).scalar_one()
    )


@asynccontextmanager
async def held_up(database: Database) -> AsyncIterator[None]:
    """Keep the writer busy within the block, so that what is asked for there shares a batch.

    A database that does not work cannot be held up: the block runs all the same.
    """
    entered, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait(_: Transaction) -> None:
        loop.call_soon_threadsafe(entered.set)
        release.wait(10)

    holding = asyncio.create_task(database.write(wait))
    entering = asyncio.create_task(entered.wait())
    await asyncio.wait([holding, entering], return_when=asyncio.FIRST_COMPLETED)
    entering.cancel()
    try:
        yield
        await let_queue()
    finally:
        release.set()
        with suppress(Unavailable):
            await holding


async def let_queue() -> None:
    """Let tasks that were just made run up to their queueing, which takes them two turns."""
    for _ in range(3):
        await asyncio.sleep(0)


def count_commits(database: Database) -> list[None]:
    """A list that grows by one with each commit of the writer from now on."""
    commits: list[None] = []
    event.listen(database._writing, "commit", lambda _connection: commits.append(None))
    return commits
