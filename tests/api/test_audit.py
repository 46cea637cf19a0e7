"""The audit log over REST: filters, and exports that are checked without the server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, insert, select, update

from certctl.api import audit_export as streaming
from certctl.api.cursors import encode_cursor
from certctl.domain.audit import AuditEvent
from certctl.domain.audit_check import ExportCheck
from certctl.domain.audit_export import MAX_BLOCK_LINES, is_proof
from certctl.pki.audit_keys import ExportKey
from certctl.storage.audit import encode_event
from certctl.storage.database import open_database
from certctl.storage.tables import audit_chains, audit_events
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from certctl.domain.audit_check import ExportReport
    from certctl.domain.clock import SystemClock
    from certctl.storage.sealing import Keyring
    from tests.support.control_plane import ControlPlane
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

AUDIT = "/api/v1/audit"


async def listed(plane: ControlPlane, **query: str) -> list[dict[str, Any]]:
    """All pages of a filter, three events each."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await plane.client.get(AUDIT, params={**query, "limit": "3", **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


async def ordered(plane: ControlPlane) -> str:
    """A certificate of the local CA."""
    body = {"issuer_id": "iss-local", "csr": make_csr(make_key(), ["a.example.org"])}
    answer = await plane.client.post("/api/v1/certificates", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def exported(plane: ControlPlane, **query: str) -> list[bytes]:
    answer = await plane.client.get(f"{AUDIT}/export", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.content.endswith(b"\n")
    return answer.content[:-1].split(b"\n")


async def checked(plane: ControlPlane, lines: list[bytes]) -> ExportReport:
    """What somebody finds who has the lines and the public key."""
    served = (await plane.client.get(f"{AUDIT}/export/key")).json()
    key = ExportKey.from_pem(served["public_key"].encode())
    assert (served["key_id"], served["algorithm"]) == (key.key_id, "Ed25519")
    check = ExportCheck(key.is_signed, key.key_id)
    for line in lines:
        check.take(line)
    return check.report()


async def test_filters(plane: ControlPlane) -> None:
    certificates = [await ordered(plane) for _ in range(4)]
    await plane.client.post(f"/api/v1/certificates/{certificates[1]}/revoke", json={})
    everything = await listed(plane)
    assert {event["action"] for event in await listed(plane, action="certificate.issued")} == {
        "certificate.issued"
    }
    assert len(await listed(plane, action="certificate.issued")) == 4
    assert await listed(plane, action="certificate.") == [
        event for event in everything if event["action"].startswith("certificate.")
    ]
    assert [event["action"] for event in await listed(plane, object_id=certificates[1])] == [
        "certificate.revoked",
        "certificate.issued",
    ]
    assert await listed(plane, actor="system", object_type="profile") == [
        event for event in everything if event["object_type"] == "profile"
    ]
    assert await listed(plane, actor="nobody") == []
    middle = everything[len(everything) // 2]["at"]
    before, after = await listed(plane, to=middle), await listed(plane, **{"from": middle})
    assert after + before == everything
    assert all(event["at"] >= middle for event in after)
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert await listed(plane, **{"from": later.isoformat()}) == []


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({"action": "certificate.planted"}, "audit-action-unknown", "action"),
        ({"action": "planted."}, "audit-action-unknown", "action"),
        ({"object_type": "planted"}, "audit-object-type-unknown", "object_type"),
        ({"action": "Planted"}, None, "action"),
        ({"actor": "planted\x00"}, None, "actor"),
        ({"from": "planted"}, None, "from"),
        ({"to": "2026-01-01T00:00:00"}, None, "to"),  # of which zone?
        ({"object_id": "PLANTED"}, None, "object_id"),
    ],
)
async def test_what_no_event_can_be_is_a_problem(
    plane: ControlPlane, query: dict[str, str], code: str | None, field: str
) -> None:
    answer = await plane.client.get(AUDIT, params=query)
    assert answer.status_code == 422
    found = answer.json()
    assert found["field"].endswith(field)
    assert code is None or found["type"].endswith(f":{code}")
    assert "planted" not in answer.text.lower().replace("not-planted", "")


async def test_an_export_has_every_event_and_verifies(plane: ControlPlane) -> None:
    for _ in range(3):
        await ordered(plane)
    lines = await exported(plane)
    report = await checked(plane, lines)
    assert report.problems == []
    counted = (await plane.client.post(f"{AUDIT}/verify")).json()
    assert (report.chains, report.events) == (counted["chains"], counted["events"])
    events = [record for record in map(json.loads, lines) if record["type"] == "event"]
    everything = await listed(plane)
    assert [
        {name: value for name, value in event.items() if name not in {"type", "mac", "at"}}
        for event in events
    ] == [
        {name: value for name, value in event.items() if name != "at"}
        for event in sorted(everything, key=lambda event: (event["chain_id"], event["seq"]))
    ]
    for event in events:
        assert datetime.fromisoformat(event["at"]) in {
            datetime.fromisoformat(other["at"]) for other in everything
        }


async def test_the_macs_and_heads_are_those_of_the_database(plane: ControlPlane) -> None:
    await ordered(plane)
    records = [json.loads(line) for line in await exported(plane)]
    database = plane.services.database
    rows = await database.read(lambda c: c.execute(select(audit_events)).all())
    assert {(r["chain_id"], r["seq"]): r["mac"] for r in records if r["type"] == "event"} == {
        (row.chain_id, row.seq): row.mac.hex() for row in rows
    }
    (head,) = await database.read(lambda c: c.execute(select(audit_chains)).all())
    (end,) = [record for record in records if record["type"] == "chain_end"]
    assert (end["last_seq"], end["last_mac"]) == (head.last_seq, head.last_mac.hex())
    (start,) = [record for record in records if record["type"] == "chain"]
    assert (start["base_seq"], start["base_mac"]) == (head.base_seq, head.base_mac.hex())
    assert database.audit_key.hex().encode() not in b"".join(await exported(plane))


async def test_an_export_is_carried_on_from_any_proof(
    plane: ControlPlane,
    database_target: DatabaseTarget,
    clock: SystemClock,
    keyring: Keyring,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Several chains, in blocks so small that they end at every kind of line."""
    for _ in range(2):
        other = await open_database(
            url=database_target.url, data_dir=database_target.data_dir, clock=clock, keyring=keyring
        )
        for number in range(3):
            await other.append([], [revoked(number)])
        await other.close()
    for size in (3, 4, 5, 7):
        monkeypatch.setattr(streaming, "MAX_BLOCK_LINES", size)
        lines = await exported(plane)
        assert (await checked(plane, lines)).problems == []
        proofs = [number for number, line in enumerate(lines) if is_proof(line)]
        assert len(proofs) > 3
        for number in proofs[:-1]:
            cursor = json.loads(lines[number])["continues"]
            rest = await exported(plane, cursor=cursor)
            assert (await checked(plane, [*lines[: number + 1], *rest])).problems == []


def revoked(number: int) -> AuditEvent:
    return AuditEvent(
        1_000 + number, "admin", "certificate.revoked", "certificate", f"cert-{number}", {}
    )


async def test_a_long_log_comes_in_blocks_of_one_size(plane: ControlPlane) -> None:
    await plane.services.database.append([], [revoked(n) for n in range(3 * MAX_BLOCK_LINES)])
    lines = await exported(plane)
    report = await checked(plane, lines)
    assert report.problems == []
    assert report.events > 3 * MAX_BLOCK_LINES
    proofs = [number for number, line in enumerate(lines) if is_proof(line)]
    sizes = [after - before - 1 for before, after in zip([-1, *proofs], proofs, strict=False)]
    assert sizes[:-1] == [MAX_BLOCK_LINES] * (len(sizes) - 1)


async def test_a_server_that_stops_ends_an_export_between_two_blocks(plane: ControlPlane) -> None:
    await plane.services.database.append([], [revoked(n) for n in range(MAX_BLOCK_LINES)])
    plane.services.stopping.set()
    lines = await exported(plane)
    assert json.loads(lines[-1])["continues"] is not None
    (problem,) = (await checked(plane, lines)).problems
    assert problem == (len(lines) + 1, "the file ends too early: lines are missing here")


async def tamper(plane: ControlPlane, *statements: Any) -> None:
    await plane.services.database.write(lambda t: [t.execute(s) for s in statements] and None)


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (
            [update(audit_events).where(audit_events.c.seq == 3).values(actor="x")],
            "event 3 was altered, moved or put in",
        ),
        (
            [update(audit_events).where(audit_events.c.seq == 3).values(detail="no\nJSON")],
            "event 3 was altered, moved or put in",
        ),
        ([delete(audit_events).where(audit_events.c.seq == 3)], "event 3 is missing"),
        (
            [delete(audit_events).where(audit_events.c.seq == 3)],
            "event 4 cannot be checked without the event before it",
        ),
        (
            [update(audit_chains).values(last_seq=3)],
            "the row that holds its beginning and end was altered",
        ),
        ([delete(audit_chains)], "the row that holds its beginning and end was removed"),
    ],
)
async def test_what_was_altered_in_the_database_is_told_of_an_export(
    plane: ControlPlane, statements: list[Any], words: str
) -> None:
    await tamper(plane, *statements)
    lines = await exported(plane)
    report = await checked(plane, lines)
    problem = next(problem for problem in report.problems if problem.what.endswith(words))
    record = json.loads(lines[problem.line - 1])
    assert record["chain_id"] in problem.what
    if "event 3 was altered" in words:
        assert (record["type"], record["seq"]) == ("event", 3)


async def test_an_event_that_was_put_in_below_all_others_is_exported(plane: ControlPlane) -> None:
    found = await plane.services.database.read(lambda c: c.execute(select(audit_chains)).one())
    row = {"chain_id": found.id, "seq": -5, "mac": b"\x00" * 32}
    event = encode_event(revoked(1))._asdict()
    await tamper(plane, insert(audit_events).values(**row, **event))
    (problem,) = (await checked(plane, await exported(plane))).problems
    assert problem.what.endswith("event -5 is before the beginning of the chain")


@pytest.mark.parametrize(
    "cursor",
    [
        "planted",
        encode_cursor("exp-1", "chain-1", "planted", 0),
        encode_cursor("exp-1", "chain-1", str(2**64), 0),
        encode_cursor('exp"', "chain-1", "1", 0),
        encode_cursor("exp-1", "chain-1", 1, 0),
    ],
)
async def test_a_cursor_of_nobodys_is_refused(plane: ControlPlane, cursor: str) -> None:
    answer = await plane.client.get(f"{AUDIT}/export", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:certctl:problem:cursor-invalid"
    assert "planted" not in answer.text
