"""One id for a request: in the header, in the problem, in the log and in the audit log."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from sqlalchemy import select

from certctl.api.app import route_table
from certctl.domain.keys import KeyType
from certctl.logs import add_request_id
from certctl.storage.audit import verify
from certctl.storage.tables import audit_events
from tests.support.callers import caller
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio

ROUTES = sorted(route_table())
Lines = list[Any]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged, as the server has it."""
    processors = [structlog.contextvars.merge_contextvars, add_request_id]
    with structlog.testing.capture_logs(processors=processors) as captured:
        yield captured


def access_line(lines: Lines, request_id: str) -> Any:
    (line,) = [
        line
        for line in lines
        if line["event"] == "request" and line.get("request_id") == request_id
    ]
    return line


async def audited(plane: ControlPlane, request_id: str | None) -> list[str]:
    query = select(audit_events.c.action).where(audit_events.c.request_id == request_id)
    return await plane.services.database.read(
        lambda connection: list(connection.execute(query.order_by(audit_events.c.seq)).scalars())
    )


def body(issuer_id: str = "iss-local") -> dict[str, Any]:
    csr = make_csr(make_key(KeyType.P256), ["ids.example.org"])
    return {"issuer_id": issuer_id, "csr": csr}


on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@on_sqlite
async def test_every_route_has_the_same_id_everywhere(plane: ControlPlane, lines: Lines) -> None:
    auditor = await caller(plane.client, "auditor")
    refused = 0
    for number, (method, template) in enumerate(ROUTES):
        path = template.replace("{", "").replace("}", "").replace("_", "-")
        for who in ("nobody", "auditor"):
            sent = f"walk-{who}-{number}"
            key = {} if who == "auditor" else {"Authorization": ""}
            send = auditor.send if who == "auditor" else plane.client.request
            sends_body: dict[str, Any] = {} if method == "GET" else {"json": {}}
            answer = await send(method, path, headers={"X-Request-Id": sent, **key}, **sends_body)
            assert answer.headers["x-request-id"] == sent
            line = access_line(lines, sent)
            assert (line["method"], line["route"]) == (method, template)
            assert line["status"] == answer.status_code
            if answer.status_code >= 400:
                assert answer.json()["request_id"] == sent
            if answer.status_code == 403 and refused < 15:  # more at once are only counted
                refused += 1
                assert await audited(plane, sent) == ["access.refused"]
                assert line["key"] == auditor.id
            elif answer.status_code == 401:
                assert line["key"] is None
    assert refused


async def test_a_change_is_audited_under_its_id_and_what_follows_without(
    database: Database, tmp_path: Path, lines: Lines
) -> None:
    ca = ScriptedCA(["pending", "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        headers = {"X-Request-Id": "first.order", "Prefer": "wait=10"}
        made = await plane.client.post(
            "/api/v1/certificates", json=body("iss-slow"), headers=headers
        )
        assert made.json()["status"] == "issued"
        assert await audited(plane, "first.order") == ["certificate.ordered"]
        local = await plane.client.post("/api/v1/certificates", json=body())
        own = local.headers["x-request-id"]
        assert await audited(plane, own) == ["certificate.issued"]
        query = {"object_id": made.json()["id"]}
        events = (await plane.client.get("/api/v1/audit", params=query)).json()["data"]
        assert [(event["action"], event["actor"], event["request_id"]) for event in events] == [
            ("certificate.issued", "system", None),
            ("order.pending", "system", None),
            ("certificate.ordered", "admin", "first.order"),
        ]
        export = await plane.client.get("/api/v1/audit/export")
        exported = [json.loads(line) for line in export.text.splitlines()]
        ids = [line["request_id"] for line in exported if line["type"] == "event"]
        assert {None, "first.order", own} <= set(ids)
        report = await database.read(lambda c: verify(c, database.audit_key))
        assert report.problems == []
    of_steps = [line for line in lines if line["event"] == "order"]
    assert [(line["order"], line["issuer"], line["state"]) for line in of_steps] == [
        (made.json()["order_id"], "iss-slow", "pending"),
        (made.json()["order_id"], "iss-slow", "issued"),
    ]
    assert all("request_id" not in line for line in of_steps)


async def test_requests_at_the_same_time_keep_theirs_apart(
    plane: ControlPlane, lines: Lines
) -> None:
    async def issue(number: int) -> None:
        headers = {"X-Request-Id": f"at-once-{number}"}
        answer = await plane.client.post("/api/v1/certificates", json=body(), headers=headers)
        renewal = await plane.client.post(
            f"/api/v1/certificates/{answer.json()['id']}/renew", json={}, headers=headers
        )
        assert renewal.status_code == 201

    await asyncio.gather(*(issue(number) for number in range(8)))
    for number in range(8):
        found = await audited(plane, f"at-once-{number}")
        assert found == ["certificate.issued", "certificate.renewed"]


@on_sqlite
async def test_an_id_that_is_not_well_formed_is_not_repeated(
    plane: ControlPlane, lines: Lines
) -> None:
    planted = "pl{anted}"
    answer = await plane.client.get("/api/v1/certificates", headers={"X-Request-Id": planted})
    assert len(answer.headers["x-request-id"]) == 16
    assert planted not in repr(lines) + answer.text + repr(answer.headers)


@on_sqlite
async def test_the_log_says_nothing_of_what_was_sent(plane: ControlPlane, lines: Lines) -> None:
    await plane.client.get("/api/v1/planted?planted=1")
    await plane.client.get("/api/v1/certificates", params={"owner": "planted"})
    await plane.client.post("/api/v1/certificates", json={"planted": "planted"})
    await plane.client.request("PLANTED", "/healthz")
    assert "planted" not in repr(lines).lower()
    (found,) = [line for line in lines if line["event"] == "request" and line["method"] == "other"]
    assert (found["route"], found["status"], found["key"]) == (None, 405, "admin")


@on_sqlite
async def test_a_fault_is_logged_under_the_id(
    plane: ControlPlane, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_id: str) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(plane.services.catalog, "issuer", broken)
        fault = await plane.client.get("/api/v1/issuers/iss-local")
    assert fault.status_code == 500
    (line,) = [line for line in lines if line["event"] == "request failed"]
    assert line["request_id"] == fault.json()["request_id"]
    assert line["route"] == "/api/v1/issuers/{issuer_id}"
