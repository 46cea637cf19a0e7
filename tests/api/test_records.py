"""One certificate over REST: edited, archived and put back, with its orders and its events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from certctl.storage.orders import lock_order, take_order
from tests.support.callers import caller
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from pathlib import Path

    from httpx2 import Response

    from certctl.storage.database import Database, Transaction

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def issue(plane: ControlPlane, name: str = "www.example.org", **more: Any) -> dict[str, Any]:
    body = {"issuer_id": "iss-local", "csr": make_csr(make_key(), [name]), **more}
    answer = await plane.client.post(PATH, json=body, headers={"Prefer": "wait=20"})
    assert answer.status_code in {201, 202}, answer.text
    made: dict[str, Any] = answer.json()
    return made


def problem(answer: Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:certctl:problem:{code}"
    assert found["field"] == field
    assert found["hint"]
    return found


async def events(plane: ControlPlane, certificate_id: str) -> list[dict[str, Any]]:
    answer = await plane.client.get(f"{PATH}/{certificate_id}/audit")
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def listed(plane: ControlPlane) -> list[str]:
    return [each["id"] for each in (await plane.client.get(PATH)).json()["data"]]


# Editing


async def test_owner_and_labels_are_given_when_ordering_and_merged_later(
    plane: ControlPlane,
) -> None:
    made = await issue(plane, owner="web", labels={"env": "prod", "team/name": "shop"})
    path = f"{PATH}/{made['id']}"
    assert made == (await plane.client.get(path)).json()
    assert made["labels"] == {"env": "prod", "team/name": "shop"}
    answer = await plane.client.patch(
        path, json={"owner": None, "labels": {"env": None, "tier": "1", "team/name": "shop"}}
    )
    assert answer.status_code == 200, answer.text
    edited = answer.json()
    assert (edited["owner"], edited["labels"]) == (None, {"team/name": "shop", "tier": "1"})
    assert edited == (await plane.client.get(path)).json()
    assert edited["updated_at"] > made["updated_at"]
    event = (await events(plane, made["id"]))[0]
    assert (event["action"], event["actor"]) == ("certificate.edited", "admin")
    assert event["detail"] == {
        "changes": {
            "labels.env": {"from": "prod"},
            "labels.tier": {"to": "1"},
            "owner": {"from": "web"},
        }
    }
    assert (await plane.client.patch(path, json={"labels": None})).json()["labels"] == {}


@on_sqlite
async def test_it_is_a_merge_patch_by_that_name_too(plane: ControlPlane) -> None:
    made = await issue(plane, owner="web")
    answer = await plane.client.patch(
        f"{PATH}/{made['id']}",
        content=b'{"owner": null}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert (answer.status_code, answer.json()["owner"]) == (200, None)


@on_sqlite
async def test_what_changes_nothing_is_no_event(plane: ControlPlane) -> None:
    made = await issue(plane, owner="web", labels={"env": "prod"})
    before = await events(plane, made["id"])
    for body in ({}, {"owner": "web"}, {"labels": {"env": "prod", "gone": None}}):
        answer = await plane.client.patch(f"{PATH}/{made['id']}", json=body)
        assert answer.json() == made
    assert await events(plane, made["id"]) == before


@on_sqlite
async def test_nobody_overwrites_what_they_have_not_seen(plane: ControlPlane) -> None:
    made = await issue(plane)
    path = f"{PATH}/{made['id']}"
    seen = made["updated_at"]
    first = await plane.client.patch(path, json={"owner": "one", "updated_at": seen})
    assert first.status_code == 200, first.text
    second = await plane.client.patch(path, json={"owner": "two", "updated_at": seen})
    problem(second, 409, "certificate-changed", "updated_at")
    # Without it, what is not named stays: two labels of two people do not fight.
    for key in ("a", "b"):
        await plane.client.patch(path, json={"labels": {key: "1"}})
    found = (await plane.client.get(path)).json()
    assert (found["owner"], found["labels"]) == ("one", {"a": "1", "b": "1"})


BAD_LABELS: list[Any] = [
    {"Planted": "x"},
    {"planted key": "x"},
    {"": "planted"},
    {"-planted": "x"},
    {"planted.": "x"},
    {"planted" * 10: "x"},
    {"key": "planted\x00"},
    {"key": "planted\n"},
    {"key": "planted" * 40},
    {"key": 1},
    {"key": ["planted"]},
    ["planted"],
    "planted",
    {f"planted{n}": "x" for n in range(51)},
]


@on_sqlite
async def test_labels_that_cannot_be_are_refused_and_not_echoed(plane: ControlPlane) -> None:
    made = await issue(plane)
    order = {"issuer_id": "iss-local", "csr": make_csr(make_key(), ["a.org"])}
    for labels in BAD_LABELS:
        for answer in (
            await plane.client.patch(f"{PATH}/{made['id']}", json={"labels": labels}),
            await plane.client.post(PATH, json={**order, "labels": labels}),
        ):
            problem(answer, 422, "invalid-body", "labels")
            assert "planted" not in answer.text.lower()
    assert await listed(plane) == [made["id"]]


@on_sqlite
async def test_fifty_labels_are_the_most_after_the_merge(plane: ControlPlane) -> None:
    made = await issue(plane, labels={f"key{n}": "" for n in range(50)})
    path = f"{PATH}/{made['id']}"
    answer = await plane.client.patch(path, json={"labels": {"one-more": "x"}})
    problem(answer, 422, "too-many-labels", "labels")
    swapped = await plane.client.patch(path, json={"labels": {"one-more": "x", "key0": None}})
    assert len(swapped.json()["labels"]) == 50


@on_sqlite
async def test_the_same_order_with_other_labels_is_another_one(plane: ControlPlane) -> None:
    body = {"issuer_id": "iss-local", "csr": make_csr(make_key(), ["a.org"])}
    key = {"Idempotency-Key": "labels"}
    first = await plane.client.post(PATH, json={**body, "labels": {"a": "1"}}, headers=key)
    again = await plane.client.post(PATH, json={**body, "labels": {"a": "1"}}, headers=key)
    assert first.json() == again.json()
    other = await plane.client.post(PATH, json={**body, "labels": {"a": "2"}}, headers=key)
    problem(other, 422, "idempotency-key-reused", "Idempotency-Key")


# Archiving


async def test_an_archived_certificate_is_not_listed_and_not_renewed(plane: ControlPlane) -> None:
    made, other = await issue(plane), await issue(plane, "other.example.org")
    path = f"{PATH}/{made['id']}"
    problem(await plane.client.post(f"{path}/archive"), 409, "certificate-valid")
    assert (await plane.client.get(path)).json() == made
    answer = await plane.client.post(f"{path}/archive", json={"although_valid": True})
    assert answer.status_code == 200, answer.text
    archived = answer.json()
    assert (archived["status"], archived["renew_at"]) == ("archived", None)
    assert archived["archived_at"]
    assert await listed(plane) == [other["id"]]
    assert (await plane.client.get(path)).json() == archived
    problem(await plane.client.post(f"{path}/renew"), 409, "certificate-archived")
    again = await plane.client.post(f"{path}/archive", json={"although_valid": True})
    assert again.json() == archived
    back = (await plane.client.post(f"{path}/unarchive")).json()
    # To the moment when it was to be renewed before.
    assert back == {**made, "updated_at": back["updated_at"]}
    assert (await plane.client.post(f"{path}/unarchive")).json() == back
    assert set(await listed(plane)) == {made["id"], other["id"]}
    told = [
        (each["action"], each["detail"].get("changes")) for each in await events(plane, made["id"])
    ]
    assert told[:2] == [
        ("certificate.unarchived", {"archived": {"from": True}}),
        ("certificate.archived", {"archived": {"to": True}}),
    ]
    assert (await plane.client.post(f"{path}/renew")).status_code == 201


@on_sqlite
async def test_a_revoked_one_needs_no_more_words_and_is_not_renewed_when_it_is_back(
    plane: ControlPlane,
) -> None:
    made = await issue(plane)
    path = f"{PATH}/{made['id']}"
    await plane.client.post(f"{path}/revoke")
    assert (await plane.client.post(f"{path}/archive")).json()["status"] == "archived"
    back = (await plane.client.post(f"{path}/unarchive")).json()
    assert (back["status"], back["renew_at"]) == ("revoked", None)


@on_sqlite
async def test_an_older_version_that_is_valid_counts_as_well(plane: ControlPlane) -> None:
    made = await issue(plane)
    path = f"{PATH}/{made['id']}"
    renewed = (await plane.client.post(f"{path}/renew")).json()
    await plane.client.post(f"{path}/versions/{renewed['version']['id']}/revoke")
    problem(await plane.client.post(f"{path}/archive"), 409, "certificate-valid")
    await plane.client.post(f"{path}/versions/{made['version']['id']}/revoke")
    assert (await plane.client.post(f"{path}/archive")).status_code == 200


async def test_an_archived_one_is_revoked_alone_and_with_many(plane: ControlPlane) -> None:
    alone, many = await issue(plane), await issue(plane, "other.example.org", owner="many")
    for each in (alone, many):
        answer = await plane.client.post(
            f"{PATH}/{each['id']}/archive", json={"although_valid": True}
        )
        assert answer.status_code == 200
    answer = await plane.client.post(f"{PATH}/{alone['id']}/revoke", json={"reason": "superseded"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "archived"
    assert answer.json()["version"]["revocation"]["state"] == "confirmed"
    wanted = {"filter": {"owner": "many"}}
    preview = await plane.client.post("/api/v1/bulk-revocations/preview", json=wanted)
    assert [(each["id"], each["status"]) for each in preview.json()["data"]] == [
        (many["id"], "archived")
    ]
    started = await plane.client.post("/api/v1/bulk-revocations", json={**wanted, "expected": 1})
    assert started.status_code == 202
    for _ in range(200):
        bulk = (await plane.client.get(f"/api/v1/bulk-revocations/{started.json()['id']}")).json()
        if bulk["state"] == "done":
            break
    revoked = (await plane.client.get("/api/v1/revocations")).json()["data"]
    assert {each["certificate_id"] for each in revoked} == {alone["id"], many["id"]}


@on_sqlite
async def test_the_end_of_a_hold_does_not_renew_what_is_archived(
    database: Database, tmp_path: Path
) -> None:
    async with control_plane(database, tmp_path, ca=ScriptedCA(["issue"])) as plane:
        made = await issue(plane, issuer_id="iss-slow")
        path = f"{PATH}/{made['id']}"
        await plane.client.post(f"{path}/revoke", json={"reason": "certificateHold"})
        while (await plane.client.get(path)).json()["version"]["revocation"][
            "state"
        ] != "confirmed":
            pass
        assert (await plane.client.post(f"{path}/archive")).status_code == 200
        await plane.client.post(f"{path}/release")
        while (await plane.client.get(path)).json()["version"]["revocation"] is not None:
            pass
        found = (await plane.client.get(path)).json()
        assert (found["status"], found["renew_at"]) == ("archived", None)
        back = (await plane.client.post(f"{path}/unarchive")).json()
        assert (back["status"], back["renew_at"]) == ("issued", made["renew_at"])


@on_sqlite
async def test_an_open_order_is_in_the_way(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path, ca=ScriptedCA(["issue", "pending"])) as plane:
        made = await issue(plane, issuer_id="iss-slow")
        path = f"{PATH}/{made['id']}"
        ordered = (await plane.client.post(f"{path}/renew")).json()
        answer = await plane.client.post(f"{path}/archive", json={"although_valid": True})
        found = problem(answer, 409, "order-open")
        assert ordered["order_id"] in found["detail"]

        def give_up(transaction: Transaction) -> None:
            order = lock_order(transaction, ordered["order_id"])
            assert order is not None
            order.state = type(order.state).REJECTED
            order.due_at = None
            take_order(transaction, order)

        await plane.services.database.write(give_up)
        answer = await plane.client.post(f"{path}/archive", json={"although_valid": True})
        assert answer.status_code == 200, answer.text


async def test_at_the_same_moment_as_a_renewal(plane: ControlPlane) -> None:
    made = await issue(plane)
    path = f"{PATH}/{made['id']}"
    answers = await asyncio.gather(
        *[plane.client.post(f"{path}/renew") for _ in range(2)],
        plane.client.post(f"{path}/archive", json={"although_valid": True}),
        plane.client.post(f"{path}/renew"),
    )
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    found = (await plane.client.get(path)).json()
    assert (found["status"], found["renew_at"]) == ("archived", None)


async def test_an_issuer_of_archived_certificates_is_in_use(plane: ControlPlane) -> None:
    wanted = {"id": "iss-other", "name": "Other", "type": "GenericCA", "config": {}}
    assert (await plane.client.post("/api/v1/issuers", json=wanted)).status_code == 201
    made = await issue(plane, issuer_id="iss-other")
    await plane.client.post(f"{PATH}/{made['id']}/archive", json={"although_valid": True})
    problem(await plane.client.delete("/api/v1/issuers/iss-other"), 409, "issuer-in-use")


# History


async def test_orders_and_events_are_paged(plane: ControlPlane) -> None:
    made, other = await issue(plane), await issue(plane, "other.example.org")
    path = f"{PATH}/{made['id']}"
    await plane.client.post(f"{path}/renew")
    newest = (await plane.client.post(f"{path}/renew")).json()["order_id"]
    seen: list[str] = []
    for what, length in (("orders", 3), ("audit", 3)):
        cursor, rows = None, []
        while True:
            query = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
            page = (await plane.client.get(f"{path}/{what}", params=query)).json()
            rows += page["data"]
            cursor = page["next"]
            if cursor is None:
                break
        assert len(rows) == length
        seen += [row.get("id", row.get("action")) for row in rows]
    assert seen[0] == newest
    assert other["order_id"] not in seen
    assert seen[3:] == ["certificate.renewed", "certificate.renewed", "certificate.issued"]
    for what in ("orders", "audit"):
        answer = await plane.client.get(f"{PATH}/cert-nothing/{what}")
        problem(answer, 404, "certificate-not-found")


@on_sqlite
async def test_who_may_do_what(plane: ControlPlane) -> None:
    made = await issue(plane)
    path = f"{PATH}/{made['id']}"
    operator = await caller(plane.client, "operator")
    viewer = await caller(plane.client, "viewer")
    auditor = await caller(plane.client, "auditor")
    assert (await operator.send("PATCH", path, json={"owner": "x"})).status_code == 200
    assert (await operator.get(f"{path}/audit")).status_code == 403
    for who in (viewer, auditor):
        assert (await who.send("PATCH", path, json={"owner": "y"})).status_code == 403
        assert (await who.post(f"{path}/archive")).status_code == 403
        assert (await who.get(f"{path}/orders")).status_code == 200
    assert (await auditor.get(f"{path}/audit")).status_code == 200
    assert (await viewer.get(f"{path}/audit")).status_code == 403
