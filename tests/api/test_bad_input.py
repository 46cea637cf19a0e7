"""The table of bad requests, walked through the API: a clear no, and nothing stored."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from certctl.storage import tables
from tests.support.bad_csrs import build

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.anyio

TABLE = tomllib.loads((Path(__file__).parents[1] / "bad_input.toml").read_text())
CASES: list[dict[str, Any]] = TABLE["case"]


def stored(connection: Connection) -> dict[str, int]:
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in tables.metadata.sorted_tables
    }


@pytest.fixture(params=CASES, ids=[case["id"] for case in CASES])
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


async def test_it_is_refused_and_nothing_is_stored(
    plane: ControlPlane, case: dict[str, Any]
) -> None:
    body = build(case)
    before = await plane.services.database.read(stored)
    response = await plane.client.post(
        "/api/v1/certificates", json=body, headers={"Idempotency-Key": "bad-input"}
    )
    assert response.status_code == 422, response.text
    problem = response.json()
    assert problem["type"].endswith(f":{case['code']}"), problem
    assert problem["field"] == case.get("field"), problem
    assert problem["hint"]
    assert await plane.services.database.read(stored) == before
    for value in leaves(body):
        if len(value) > 8 and value not in {"iss-local", "prof-tls-server"}:
            assert value not in response.text
            assert json.dumps(value)[1:-1] not in response.text


def leaves(value: Any) -> list[str]:
    """Every string in a body."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return []
