"""Revocations: recorded here, told to the CA, and never forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from certctl.connectors import errors
from certctl.domain.keys import KeyType
from certctl.domain.profiles import Abilities
from certctl.domain.revocations import RevocationReason
from certctl.storage.revocations import LEASES
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
WAIT = {"Prefer": "wait=20"}
COMPROMISED = {"reason": "keyCompromise"}


async def issue(
    plane: ControlPlane, issuer: str = "iss-slow", *, which: int = 0, **more: Any
) -> dict[str, Any]:
    csr = make_csr(make_key(KeyType.P256, which), ["www.example.org"])
    response = await plane.client.post(
        PATH, json={"issuer_id": issuer, "csr": csr, **more}, headers=WAIT
    )
    assert response.status_code == 201, response.text
    certificate: dict[str, Any] = response.json()
    return certificate


async def show(plane: ControlPlane, certificate: dict[str, Any]) -> dict[str, Any]:
    response = await plane.client.get(f"{PATH}/{certificate['id']}")
    found: dict[str, Any] = response.json()
    return found


async def until(plane: ControlPlane, certificate: dict[str, Any], state: str) -> dict[str, Any]:
    """The newest version's revocation once it is in that state."""
    for _ in range(400):
        revocation: dict[str, Any] = (await show(plane, certificate))["version"]["revocation"]
        if revocation["state"] == state:
            return revocation
        await asyncio.sleep(0.025)
    pytest.fail(f"the revocation is {revocation['state']}, not {state}: {revocation['problem']}")


async def events(plane: ControlPlane, certificate: dict[str, Any]) -> list[str]:
    listed = (await plane.client.get("/api/v1/audit?limit=500")).json()["data"]
    return [event["action"] for event in listed if event["object_id"] == certificate["id"]][::-1]


async def crash(tasks: str) -> None:
    """End the steps under way as a crash would: nothing more is written."""
    ended = [task for task in asyncio.all_tasks() if task.get_name().startswith(tasks)]
    for task in ended:
        task.cancel()
    await asyncio.gather(*ended, return_exceptions=True)


async def test_our_own_ca_confirms_at_once(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        certificate = await issue(plane, "iss-local")
        assert certificate["renew_at"] is not None
        assert certificate["version"]["revocation"] is None
        response = await plane.client.post(f"{PATH}/{certificate['id']}/revoke", json=COMPROMISED)
        assert response.status_code == 200
        revoked = response.json()
        assert revoked["status"] == "revoked"
        assert revoked["renew_at"] is None
        revocation = revoked["version"]["revocation"]
        assert (revocation["reason"], revocation["state"]) == ("keyCompromise", "confirmed")
        again = await plane.client.post(f"{PATH}/{certificate['id']}/revoke", json=COMPROMISED)
        assert again.status_code == 200
        assert again.json() == revoked
        assert await events(plane, certificate) == ["certificate.issued", "certificate.revoked"]
        (line,) = (await plane.client.get("/api/v1/revocations?state=confirmed")).json()["data"]
        assert line["serial"] == certificate["version"]["serial"]


async def test_the_default_reason_is_unspecified(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        certificate = await issue(plane, "iss-local")
        revoked = await plane.client.post(f"{PATH}/{certificate['id']}/revoke", json={})
        assert revoked.json()["version"]["revocation"]["reason"] == "unspecified"


@pytest.mark.parametrize("reason", RevocationReason)
async def test_every_reason_reaches_the_ca(
    database: Database, tmp_path: Path, reason: RevocationReason
) -> None:
    ca = ScriptedCA(["issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        certificate = await issue(plane)
        response = await plane.client.post(
            f"{PATH}/{certificate['id']}/revoke", json={"reason": reason.value}
        )
        assert response.status_code == 202
        assert response.json()["status"] == "revoked"
        await until(plane, certificate, "confirmed")
        assert ca.books.asked[-1] == ("revoke", certificate["version"]["serial"])
        assert ca.books.reasons == [reason.value]


async def test_a_slow_ca_is_polled_until_it_confirms(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(
        ["issue"], revocations=["pending", errors.Unavailable("down"), "pending", "done"]
    )
    async with control_plane(database, tmp_path, ca=ca) as plane:
        certificate = await issue(plane)
        await plane.client.post(f"{PATH}/{certificate['id']}/revoke", json=COMPROMISED)
        await until(plane, certificate, "confirmed")
        kinds = [kind for kind, _ in ca.books.asked]
        assert kinds == [
            "submit",
            "revoke",
            "poll-revocation",
            "poll-revocation",
            "poll-revocation",
        ]
        assert (await events(plane, certificate))[-3:] == [
            "certificate.revoked",
            "revocation.told",
            "revocation.confirmed",
        ]


async def test_a_refused_one_says_why_and_can_be_tried_again(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["issue"], revocations=[errors.Refused("not yours"), "done"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        certificate = await issue(plane)
        path = f"{PATH}/{certificate['id']}/revoke"
        await plane.client.post(path, json=COMPROMISED)
        refused = await until(plane, certificate, "refused")
        assert refused["problem"] == "not yours"
        assert refused["due_at"] is None
        (line,) = (await plane.client.get("/api/v1/revocations?state=refused")).json()["data"]
        assert line["certificate_id"] == certificate["id"]
        # Whoever declared it invalid meant it: the refusal does not make it valid again.
        assert (await show(plane, certificate))["status"] == "revoked"
        again = await plane.client.post(path, json={"reason": "superseded"})
        assert again.status_code == 202
        confirmed = await until(plane, certificate, "confirmed")
        assert (confirmed["reason"], confirmed["problem"]) == ("superseded", None)


@pytest.mark.parametrize(
    "error",
    [
        errors.Unauthorized("bad key"),
        errors.QuotaExhausted("none left"),
        errors.RateLimited("slowly", retry_after=0.01),
        errors.NoAnswer("reset"),
        errors.BadAnswer("garbage"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_is_not_a_final_no_is_told_again(
    database: Database, tmp_path: Path, error: errors.IssuerError
) -> None:
    from tests.lifecycle.test_slow_ca import FASTER

    ca = ScriptedCA(["issue"], revocations=[error, "done"])
    async with control_plane(database, tmp_path, ca=ca, schedule=FASTER) as plane:
        certificate = await issue(plane)
        await plane.client.post(f"{PATH}/{certificate['id']}/revoke", json=COMPROMISED)
        await until(plane, certificate, "confirmed")
        assert ca.books.count("revoke") == 2


@pytest.mark.parametrize("lost", ["the answer", "the confirmation"])
async def test_a_process_that_dies_meanwhile_forgets_nothing(
    database: Database, tmp_path: Path, lost: str
) -> None:
    script = ["hang", "done"] if lost == "the answer" else ["pending", "hang", "done"]
    ca = ScriptedCA(["issue"], revocations=script)
    async with control_plane(database, tmp_path, ca=ca) as plane:
        certificate = await issue(plane)
        await plane.client.post(f"{PATH}/{certificate['id']}/revoke", json=COMPROMISED)
        for _ in range(400):
            if len(ca.revocations) == 1:
                break
            await asyncio.sleep(0.01)
        await crash("revocation-")
        await database.write(LEASES.release_all)
        await until(plane, certificate, "confirmed")
        kinds = [kind for kind, _ in ca.books.asked][1:]
    if lost == "the answer":
        assert kinds == ["revoke", "revoke"]  # told once more
    else:
        assert kinds == ["revoke", "poll-revocation", "poll-revocation"]  # found told


async def test_one_version_of_several(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        certificate = await issue(plane, "iss-local")
        path = f"{PATH}/{certificate['id']}"
        renewed = (await plane.client.post(f"{path}/renew", json={})).json()
        first, second = certificate["version"]["id"], renewed["version"]["id"]
        answer = await plane.client.post(f"{path}/versions/{first}/revoke", json=COMPROMISED)
        assert answer.status_code == 200
        assert answer.json()["revocation"]["state"] == "confirmed"
        shown = await show(plane, certificate)
        assert shown["status"] == "issued"
        assert shown["renew_at"] is not None
        listed = (await plane.client.get(f"{path}/versions")).json()["data"]
        assert [(v["id"], v["revocation"] is not None) for v in listed] == [
            (second, False),
            (first, True),
        ]
        # The whole certificate: what is left of it. The first keeps its reason.
        whole = await plane.client.post(f"{path}/revoke", json={"reason": "superseded"})
        assert whole.json()["status"] == "revoked"
        listed = (await plane.client.get(f"{path}/versions")).json()["data"]
        assert [v["revocation"]["reason"] for v in listed] == ["superseded", "keyCompromise"]


async def test_the_answer_is_202_while_any_version_is_open(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["issue"], revocations=["pending", "done"])
    async with control_plane(database, tmp_path, ca=ca, run_scheduler=False) as plane:
        running = asyncio.create_task(plane.services.use_cases.scheduler.run(asyncio.Event()))
        certificate = await issue(plane)
        path = f"{PATH}/{certificate['id']}"
        await plane.client.post(f"{path}/renew", json={}, headers=WAIT)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        old = f"{path}/versions/{certificate['version']['id']}"
        first = await plane.client.post(f"{old}/revoke", json=COMPROMISED)
        assert first.status_code == 202
        assert (await plane.client.get(old)).json() == first.json()
        newest = (await show(plane, certificate))["version"]
        assert newest["revocation"] is None
        whole = await plane.client.post(f"{path}/revoke", json=COMPROMISED)
        assert whole.status_code == 202


async def test_a_reason_is_not_changed_afterwards(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        certificate = await issue(plane, "iss-local")
        path = f"{PATH}/{certificate['id']}/revoke"
        await plane.client.post(path, json={"reason": "superseded"})
        response = await plane.client.post(path, json=COMPROMISED)
        assert response.status_code == 409
        assert response.json()["type"].endswith(":already-revoked")


async def test_revoking_ends_a_renewal_that_waits(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        certificate = await issue(plane, "iss-local", profile_id="prof-tls-47-day")
        path = f"{PATH}/{certificate['id']}"
        waiting = await plane.client.post(f"{path}/renew", json={})
        assert waiting.status_code == 202
        await plane.client.post(f"{path}/revoke", json=COMPROMISED)
        order = (await plane.client.get(waiting.headers["Location"])).json()
        assert (order["state"], order["problem"]) == ("cancelled", "the certificate was revoked")
        assert (await events(plane, certificate))[-2:] == ["certificate.revoked", "order.cancelled"]
        refused = await plane.client.post(f"{path}/renew", json={})
        assert refused.status_code == 409
        assert refused.json()["type"].endswith(":certificate-revoked")


async def test_a_version_that_comes_after_the_revocation_is_revoked_too(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["issue", "pending", "pending", "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        certificate = await issue(plane)
        path = f"{PATH}/{certificate['id']}"
        renewal = await plane.client.post(f"{path}/renew", json={})
        assert renewal.status_code == 202
        for _ in range(400):
            if ca.books.count("submit") == 2:
                break
            await asyncio.sleep(0.01)
        await plane.client.post(f"{path}/revoke", json=COMPROMISED)
        for _ in range(400):
            shown = await show(plane, certificate)
            if shown["version"]["id"] != certificate["version"]["id"]:
                break
            await asyncio.sleep(0.02)
        assert shown["status"] == "revoked"
        late = await until(plane, certificate, "confirmed")
        assert late["reason"] == "cessationOfOperation"
        assert shown["renew_at"] is None


async def test_a_version_that_comes_during_a_hold_is_held_and_released_with_it(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["issue", "pending", "pending", "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        certificate = await issue(plane)
        path = f"{PATH}/{certificate['id']}"
        await plane.client.post(f"{path}/renew")
        for _ in range(400):
            if ca.books.count("submit") == 2:
                break
            await asyncio.sleep(0.01)
        await plane.client.post(f"{path}/revoke", json={"reason": "certificateHold"})
        for _ in range(400):
            shown = await show(plane, certificate)
            if shown["version"]["id"] != certificate["version"]["id"]:
                break
            await asyncio.sleep(0.02)
        assert (await until(plane, certificate, "confirmed"))["reason"] == "certificateHold"
        await plane.client.post(f"{path}/release")
        for _ in range(400):
            listed = (await plane.client.get(f"{path}/versions")).json()["data"]
            if [version["revocation"] for version in listed] == [None, None]:
                break
            await asyncio.sleep(0.02)
        assert [version["revocation"] for version in listed] == [None, None]
        assert (await show(plane, certificate))["status"] == "issued"


async def test_a_hold_is_taken_back_or_made_final(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        certificate = await issue(plane, "iss-local")
        path = f"{PATH}/{certificate['id']}"
        on_hold = {"reason": "certificateHold"}
        held = (await plane.client.post(f"{path}/revoke", json=on_hold)).json()
        assert (held["status"], held["renew_at"]) == ("revoked", None)
        released = await plane.client.post(f"{path}/release")
        assert released.status_code == 202
        for _ in range(400):
            shown = await show(plane, certificate)
            if shown["status"] == "issued":
                break
            await asyncio.sleep(0.01)
        assert shown["version"]["revocation"] is None
        assert shown["renew_at"] == certificate["renew_at"]
        nothing = await plane.client.post(f"{path}/release")
        assert nothing.status_code == 409
        assert nothing.json()["type"].endswith(":not-on-hold")
        await plane.client.post(f"{path}/revoke", json=on_hold)
        final = await plane.client.post(f"{path}/revoke", json=COMPROMISED)
        assert final.json()["version"]["revocation"]["reason"] == "keyCompromise"
        assert (await plane.client.post(f"{path}/release")).status_code == 409
        assert await events(plane, certificate) == [
            "certificate.issued",
            "certificate.revoked",
            "certificate.hold_released",
            "release.confirmed",
            "certificate.revoked",
            "certificate.revoked",
        ]


async def test_a_refused_release_leaves_the_hold(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["issue"], revocations=["done", errors.Refused("it stays held"), "done"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        certificate = await issue(plane)
        path = f"{PATH}/{certificate['id']}"
        await plane.client.post(f"{path}/revoke", json={"reason": "certificateHold"})
        await until(plane, certificate, "confirmed")
        await plane.client.post(f"{path}/release")
        for _ in range(400):
            revocation = (await show(plane, certificate))["version"]["revocation"]
            if revocation["problem"] is not None:
                break
            await asyncio.sleep(0.01)
        assert (revocation["action"], revocation["state"]) == ("revoke", "confirmed")
        assert revocation["problem"] == "it stays held"
        assert (await plane.client.post(f"{path}/release")).status_code == 202


async def test_a_ca_without_holds_is_not_asked_for_one(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["issue"])
    ca.abilities = Abilities()
    async with control_plane(database, tmp_path, ca=ca) as plane:
        certificate = await issue(plane)
        response = await plane.client.post(
            f"{PATH}/{certificate['id']}/revoke", json={"reason": "certificateHold"}
        )
        assert response.status_code == 422
        assert response.json()["type"].endswith(":hold-not-supported")
        assert (await show(plane, certificate))["status"] == "issued"


async def test_what_was_never_issued_or_is_not_there(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["pending"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        csr = make_csr(make_key(), ["www.example.org"])
        body = {"issuer_id": "iss-slow", "csr": csr}
        pending = (await plane.client.post(PATH, json=body)).json()
        for path, status, code in (
            (f"{pending['id']}/revoke", 409, "certificate-not-issued"),
            ("cert-none/revoke", 404, "certificate-not-found"),
            ("cert-none/release", 404, "certificate-not-found"),
        ):
            response = await plane.client.post(f"{PATH}/{path}", json={})
            assert response.status_code == status
            assert response.json()["type"].endswith(f":{code}")
        own = await issue(plane, "iss-local")
        response = await plane.client.post(f"{PATH}/{own['id']}/versions/ver-none/revoke", json={})
        assert response.status_code == 404
        assert response.json()["type"].endswith(":version-not-found")


async def test_another_certificates_version_is_not_reached(
    database: Database, tmp_path: Path
) -> None:
    async with control_plane(database, tmp_path) as plane:
        mine, other = await issue(plane, "iss-local"), await issue(plane, "iss-local", which=1)
        path = f"{PATH}/{mine['id']}/versions/{other['version']['id']}"
        assert (await plane.client.post(f"{path}/revoke", json={})).status_code == 404
        assert (await show(plane, other))["version"]["revocation"] is None
        download = await plane.client.get(
            f"{PATH}/{mine['id']}/download?version={other['version']['id']}"
        )
        assert download.status_code == 404
