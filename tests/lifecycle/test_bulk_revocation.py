"""Many certificates revoked by one request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.keys import KeyType
from certctl.lifecycle import bulk_revocation
from certctl.storage.bulk_revocations import LEASES
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
BULK = "/api/v1/bulk-revocations"


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven certificates take three steps."""
    monkeypatch.setattr(bulk_revocation, "BATCH", 3)


async def issue(plane: ControlPlane, name: str, issuer: str = "iss-local", **more: Any) -> str:
    csr = make_csr(make_key(KeyType.P256), [name])
    response = await plane.client.post(
        PATH, json={"issuer_id": issuer, "csr": csr, **more}, headers={"Prefer": "wait=20"}
    )
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def preview(plane: ControlPlane, **wanted: Any) -> dict[str, Any]:
    response = await plane.client.post(f"{BULK}/preview", json={"filter": wanted})
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


async def start(plane: ControlPlane, expected: int, **wanted: Any) -> dict[str, Any]:
    response = await plane.client.post(
        BULK, json={"filter": wanted, "reason": "keyCompromise", "expected": expected}
    )
    assert response.status_code == 202, response.text
    bulk: dict[str, Any] = response.json()
    return bulk


async def finished(plane: ControlPlane, bulk: dict[str, Any]) -> dict[str, Any]:
    for _ in range(400):
        found: dict[str, Any] = (await plane.client.get(f"{BULK}/{bulk['id']}")).json()
        if found["state"] != "running":
            return found
        await asyncio.sleep(0.02)
    pytest.fail(f"still {found}")


async def revoked(plane: ControlPlane) -> set[str]:
    listed = (await plane.client.get(f"{PATH}?limit=500")).json()["data"]
    return {row["id"] for row in listed if row["status"] == "revoked"}


async def test_each_part_of_a_filter(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        web = await issue(plane, "www.example.org", owner="web")
        wild = await issue(plane, "*.example.org", owner="web", profile_id="prof-mtls")
        other = await issue(plane, "www.notexample.org", "iss-slow", owner="mail")
        shown = (await plane.client.get(f"{PATH}/{web}")).json()
        begins = shown["version"]["not_before"]
        for wanted, ids in (
            ({"owner": "web"}, {web, wild}),
            ({"issuer_id": "iss-slow"}, {other}),
            ({"profile_id": "prof-mtls"}, {wild}),
            ({"name": "www.example.org"}, {web}),
            ({"name": "*.example.org"}, {web, wild}),
            ({"name": "WWW.Example.ORG"}, {web}),
            ({"owner": "web", "name": "www.notexample.org"}, set()),
            ({"issued_after": begins}, {web, wild, other}),
            ({"issued_before": begins}, set()),
            ({"issued_before": "2999-01-01T00:00:00Z", "owner": "mail"}, {other}),
        ):
            page = await preview(plane, **wanted)
            assert {row["id"] for row in page["data"]} == ids, wanted
            assert page["total"] == len(ids)
        assert await revoked(plane) == set()


async def test_a_preview_comes_in_pages(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        ids = [await issue(plane, f"h{n}.example.org", owner="web") for n in range(5)]
        seen: list[str] = []
        cursor = ""
        while True:
            response = await plane.client.post(
                f"{BULK}/preview?limit=2{cursor}", json={"filter": {"owner": "web"}}
            )
            page = response.json()
            assert page["total"] == 5
            seen += [row["id"] for row in page["data"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert seen == ids[::-1]


async def test_all_that_fit_and_nothing_else(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        wanted = {await issue(plane, f"h{n}.example.org", owner="web") for n in range(7)}
        kept = await issue(plane, "www.example.org", owner="mail")
        for one in wanted:  # older versions go too
            assert (await plane.client.post(f"{PATH}/{one}/renew", json={})).status_code == 201
        bulk = await start(plane, 7, owner="web")
        assert (bulk["total"], bulk["state"]) == (7, "running")
        done = await finished(plane, bulk)
        assert (done["state"], done["done"]) == ("done", 7)
        assert done["revocations"] == {"confirmed": 14}
        assert await revoked(plane) == wanted
        assert (await plane.client.get(f"{PATH}/{kept}")).json()["status"] == "issued"
        listed = await plane.client.get(f"/api/v1/revocations?bulk_id={bulk['id']}&limit=500")
        assert {row["reason"] for row in listed.json()["data"]} == {"keyCompromise"}
        assert len(listed.json()["data"]) == 14
        listing = (await plane.client.get(BULK)).json()["data"]
        assert [row["id"] for row in listing] == [bulk["id"]]
        actions = [
            event["action"]
            for event in (await plane.client.get("/api/v1/audit?limit=500")).json()["data"]
        ]
        assert actions.count("certificate.revoked") == 14
        assert actions.count("bulk_revocation.started") == 1
        assert actions.count("bulk_revocation.done") == 1


async def test_a_ca_is_told_about_each(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        for number in range(7):
            await issue(plane, f"h{number}.example.org", "iss-slow")
        bulk = await start(plane, 7, issuer_id="iss-slow")
        for _ in range(400):
            done = await finished(plane, bulk)
            if done["revocations"] == {"confirmed": 7}:
                break
            await asyncio.sleep(0.02)
        assert done["revocations"] == {"confirmed": 7}
        assert ca.books.count("revoke") == 7


async def test_it_goes_on_after_the_process_has_died(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path, run_scheduler=False) as plane:
        wanted = {await issue(plane, f"h{n}.example.org", owner="web") for n in range(7)}
        bulk = await start(plane, 7, owner="web")
        claimed = await database.write(
            lambda t: LEASES.claim(
                t, owner="gone", now_ms=database.clock.now_ms(), lease_ms=60_000, limit=1
            )
        )
        step = bulk_revocation.BulkStep(
            database, plane.services.catalog, database.clock, lambda: None
        )
        assert await step.step(claimed[0]) is False
        halfway = (await plane.client.get(f"{BULK}/{bulk['id']}")).json()
        assert (halfway["done"], halfway["state"]) == (3, "running")
        assert len(await revoked(plane)) == 3
    async with control_plane(database, tmp_path) as plane:
        done = await finished(plane, bulk)
        assert (done["done"], done["revocations"]) == (7, {"confirmed": 7})
        assert await revoked(plane) == wanted


async def test_it_can_be_stopped(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path, run_scheduler=False) as plane:
        for number in range(4):
            await issue(plane, f"h{number}.example.org", owner="web")
        bulk = await start(plane, 4, owner="web")
        cancelled = await plane.client.post(f"{BULK}/{bulk['id']}/cancel")
        assert cancelled.json()["state"] == "cancelled"
        again = await plane.client.post(f"{BULK}/{bulk['id']}/cancel")
        assert again.json() == cancelled.json()
    async with control_plane(database, tmp_path) as plane:
        await asyncio.sleep(0.3)
        assert await revoked(plane) == set()
        other = await finished(plane, await start(plane, 4, owner="web"))
        late = await plane.client.post(f"{BULK}/{other['id']}/cancel")
        assert late.status_code == 409
        assert late.json()["type"].endswith(":bulk-revocation-done")


async def test_what_was_issued_in_the_same_millisecond_is_not_missed(
    database: Database, tmp_path: Path
) -> None:
    moment = database.clock.now_ms()
    database.clock.now_ms = lambda: moment  # type: ignore[method-assign] # time stands still
    async with control_plane(database, tmp_path) as plane:
        for number in range(5):
            await issue(plane, f"h{number}.example.org", owner="web")
        done = await finished(plane, await start(plane, 5, owner="web"))
        assert (done["total"], done["done"]) == (5, 5)
        assert done["revocations"] == {"confirmed": 5}


async def test_what_is_issued_meanwhile_is_not_meant(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path, run_scheduler=False) as plane:
        old = await issue(plane, "old.example.org", owner="web")
        bulk = await start(plane, 1, owner="web")
        await asyncio.sleep(0.005)  # ids sort by the millisecond
        new = await issue(plane, "new.example.org", owner="web")
    async with control_plane(database, tmp_path) as plane:
        await finished(plane, bulk)
        assert await revoked(plane) == {old}
        assert new not in await revoked(plane)


async def test_what_is_asked_wrongly(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        await issue(plane, "www.example.org", owner="web")
        count = {"filter": {"owner": "web"}, "expected": 2}
        for body, status, code in (
            ({"filter": {}, "expected": 0}, 422, "invalid-body"),
            ({"filter": {"name": "not a name"}, "expected": 0}, 422, "name-"),
            (count, 409, "bulk-count-changed"),
        ):
            response = await plane.client.post(BULK, json=body)
            assert response.status_code == status
            assert f":{code}" in response.json()["type"]
            assert "not a name" not in response.text
        ca.abilities = type(ca.abilities)()
        response = await plane.client.post(
            BULK, json={"filter": {"owner": "web"}, "reason": "certificateHold", "expected": 1}
        )
        assert response.json()["type"].endswith(":hold-not-supported")
        assert await revoked(plane) == set()
        assert (await plane.client.get(f"{BULK}/bulk-none")).status_code == 404
