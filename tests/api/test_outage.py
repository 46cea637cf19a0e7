"""The API while its database fails: 503, nothing acknowledged, and on it goes by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg import sql
from sqlalchemy import event

from certctl.domain.keys import KeyType
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from certctl.storage.database import Database
    from tests.support.control_plane import ControlPlane
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
TERMINATE = sql.SQL(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def order(plane: ControlPlane, key: str) -> Any:
    csr = make_csr(make_key(KeyType.P256), ["www.example.org"])
    return await plane.client.post(
        PATH, json={"issuer_id": "iss-local", "csr": csr}, headers={"Idempotency-Key": key}
    )


async def fill_up(plane: ControlPlane) -> list[Any]:
    """Order until nothing works any more, which a cut connection notices with the first one: in a
    full file, pages that were begun have room for some rows: one order has it, the next has not.
    Returns what worked all the same."""
    made: list[Any] = []
    failures = 0
    for number in range(60):
        answer = await order(plane, f"first-{number}")
        if answer.status_code == 201:
            made.append(answer)
        failures = 0 if answer.status_code == 201 else failures + 1
        if failures == 6:
            return made
    raise AssertionError("it is not broken")


async def check_outage(
    plane: ControlPlane,
    break_it: Callable[[], Awaitable[None]],
    mend_it: Callable[[], None],
    *,
    takes_updates: bool = False,
) -> None:
    before = await order(plane, "before")
    assert before.status_code == 201
    await break_it()
    made = [before, *await fill_up(plane)]
    for key in ("during", "during"):
        response = await order(plane, key)
        assert response.status_code == 503
        assert response.json()["type"].endswith(":database-unavailable")
        assert int(response.headers["Retry-After"]) > 0
    if not takes_updates:
        assert (await plane.client.get("/readyz")).status_code == 503
    mend_it()
    after = await order(plane, "during")
    assert after.status_code == 201, "the same request succeeds, once the database does"
    listed = (await plane.client.get(PATH)).json()["data"]
    assert {row["id"] for row in listed} == {answer.json()["id"] for answer in (*made, after)}
    assert (await plane.client.post("/api/v1/audit/verify")).json()["problems"] == []


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("pragma", ["max_page_count = 1", "query_only = ON"])
async def test_sqlite_is_full_or_read_only(
    plane: ControlPlane, database: Database, pragma: str
) -> None:
    def apply(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA {pragma}").close()

    async def break_it() -> None:
        event.listen(database._writing, "connect", apply)
        # In the writer's own thread: nobody else may touch its connection.
        await database.write(lambda t: t.connection.exec_driver_sql(f"PRAGMA {pragma}").close())

    await check_outage(
        plane,
        break_it,
        lambda: event.remove(database._writing, "connect", apply),
        takes_updates=pragma.startswith("max_page_count"),  # a full file has no room for new rows
    )


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_postgresql_goes_away_and_comes_back_read_only(
    plane: ControlPlane, database: Database, postgres: PostgresServer
) -> None:
    name = database._writing.url.database
    assert name is not None

    def set_read_only(value: str) -> None:
        statement = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
        postgres.execute(statement.format(sql.Identifier(name), sql.SQL(value)))
        postgres.execute(TERMINATE, database=name)

    async def break_it() -> None:
        set_read_only("on")

    await check_outage(plane, break_it, lambda: set_read_only("off"))
