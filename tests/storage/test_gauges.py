"""What a scrape costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, text

from certctl.lifecycle.seeding import seed
from certctl.storage.gauges import (
    Inventory,
    count_open_orders,
    count_open_revocations,
    read_inventory,
)
from certctl.storage.tables import certificates

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio


NOW = 1_800_000_000_000
HOUR = 3600 * 1000
WINDOWS = {"1d": 24 * HOUR, "7d": 7 * 24 * HOUR, "30d": 30 * 24 * HOUR}


def plans(connection: Connection, read: Callable[[Connection], object]) -> list[str]:
    """How SQLite finds what `read` asks for."""
    statements: list[str] = []
    raw = connection.connection.driver_connection
    assert raw is not None
    raw.set_trace_callback(statements.append)
    try:
        read(connection)
    finally:
        raw.set_trace_callback(None)
    asked = [words for words in statements if words.startswith("SELECT")]
    return [
        row.detail
        for words in asked
        for row in connection.execute(text(f"EXPLAIN QUERY PLAN {words}"))
        if row.detail.startswith(("SCAN", "SEARCH"))
    ]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_what_is_closed_is_not_looked_at(database: Database) -> None:
    found = await database.read(lambda c: plans(c, count_open_orders))
    assert found == ["SCAN orders USING INDEX uq_orders_open"]
    found = await database.read(lambda c: plans(c, count_open_revocations))
    assert found == ["SCAN revocations USING INDEX ix_revocations_issuer_id_due_at"]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_certificates_are_counted_in_an_index_alone(database: Database) -> None:
    found = await database.read(lambda c: plans(c, lambda c: read_inventory(c, NOW, WINDOWS)))
    # Two for each window, what has expired, the whole, the unusual, and the earliest.
    assert len(found) == 2 * (len(WINDOWS) + 1) + 3
    read = {words.partition(" (")[0].replace("COVERING ", "") for words in found}
    assert read <= {
        f"{how} certificates USING INDEX ix_certificates_{index}"
        for how in ("SCAN", "SEARCH")
        for index in ("not_after", "status", "status_not_after", "profile_id")
    }


async def test_certificates_by_status_and_by_when_they_expire(database: Database) -> None:
    await seed(database, {})
    # What expires this very moment is expired, and the last moment of a window is within it.
    issued = [-HOUR, 0, 1, 24 * HOUR, 24 * HOUR + 1, 8 * 24 * HOUR, 30 * 24 * HOUR, 40 * 24 * HOUR]
    rows: list[tuple[str, int | None, int | None]] = [
        ("issued", NOW + offset, None) for offset in issued
    ]
    rows += [
        ("revoked", NOW + HOUR, None),
        ("failed", None, None),
        ("pending", None, None),
        ("pending", None, None),
        ("issued", NOW + HOUR, NOW),
        ("issued", NOW - HOUR, NOW),
    ]
    values = [
        {
            "id": f"cert-{number}",
            "issuer_id": "iss-local",
            "profile_id": "prof-tls-server",
            "names": "[]",
            "status": status,
            "not_after": not_after,
            "archived_at": archived_at,
            "created_at": NOW,
            "updated_at": NOW,
        }
        for number, (status, not_after, archived_at) in enumerate(rows)
    ]
    await database.write(lambda t: t.execute(insert(certificates), values))
    assert await database.read(lambda c: read_inventory(c, NOW, WINDOWS)) == Inventory(
        statuses={"issued": 8, "revoked": 1, "failed": 1, "pending": 2},
        expired=2,
        expiring={"1d": 2, "7d": 3, "30d": 5},
        earliest=NOW + 1,
    )
    late = NOW + 365 * 24 * HOUR
    assert (await database.read(lambda c: read_inventory(c, late, WINDOWS))).earliest is None
