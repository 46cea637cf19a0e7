"""What a scrape costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from certctl.storage.gauges import count_open_orders

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_closed_orders_are_not_looked_at(database: Database) -> None:
    statements: list[str] = []

    def look(connection: Connection) -> list[str]:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_trace_callback(statements.append)
        try:
            count_open_orders(connection)
        finally:
            raw.set_trace_callback(None)
        (asked,) = [words for words in statements if words.startswith("SELECT orders")]
        rows = connection.execute(text(f"EXPLAIN QUERY PLAN {asked}"))
        return [row.detail for row in rows]

    assert "SCAN orders USING INDEX uq_orders_open" in await database.read(look)
