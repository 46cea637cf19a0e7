"""Renewal by request: the next version, with the key there is or with a new one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from certctl.domain.keys import KeyType
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
NAMES = ["www.example.org", "10.0.0.1"]
WAIT = {"Prefer": "wait=20"}


def csr(which: int = 0, names: list[str] | None = None, common_name: str | None = None) -> str:
    return make_csr(make_key(KeyType.P256, which), NAMES if names is None else names, common_name)


async def issue(plane: ControlPlane, **more: Any) -> dict[str, Any]:
    body = {"issuer_id": "iss-local", "csr": csr(), **more}
    response = await plane.client.post(PATH, json=body, headers=WAIT)
    assert response.status_code == 201, response.text
    certificate: dict[str, Any] = response.json()
    return certificate


def leaf(certificate: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate["version"]["certificate"].encode())


async def test_with_the_stored_csr(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await issue(plane, owner="web", validity_days=30)
        path = f"{PATH}/{first['id']}"
        response = await plane.client.post(f"{path}/renew", json={"validity_days": 20})
        assert response.status_code == 201
        assert response.headers["Location"] == path
        renewed = response.json()
        assert renewed == (await plane.client.get(path)).json()
        assert renewed["id"] == first["id"]
        assert (renewed["owner"], renewed["names"]) == ("web", NAMES)
        assert renewed["version"]["serial"] != first["version"]["serial"]
        assert leaf(renewed).public_key() == leaf(first).public_key()
        assert leaf(renewed).not_valid_after_utc < leaf(first).not_valid_after_utc
        assert renewed["renew_at"] != first["renew_at"]
        listed = (await plane.client.get(f"{path}/versions")).json()["data"]
        assert [version["id"] for version in listed] == [
            renewed["version"]["id"],
            first["version"]["id"],
        ]
        old = await plane.client.get(f"{path}/download?version={first['version']['id']}")
        assert old.text == first["version"]["certificate"]
        assert (await plane.client.get(f"{path}/download")).text == renewed["version"][
            "certificate"
        ]


@pytest.mark.parametrize("names", [NAMES, NAMES[:1], []], ids=["all", "some", "none"])
async def test_with_a_new_key_the_names_stay(
    database: Database, tmp_path: Path, names: list[str]
) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await issue(plane)
        response = await plane.client.post(
            f"{PATH}/{first['id']}/renew", json={"csr": csr(1, names)}
        )
        assert response.status_code == 201
        renewed = response.json()
        assert leaf(renewed).public_key() == make_key(KeyType.P256, 1).public_key()
        names_of = [
            leaf(one).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            for one in (first, renewed)
        ]
        assert names_of[0] == names_of[1]
        # What is stored now is the new request.
        third = await plane.client.post(f"{PATH}/{first['id']}/renew", json={})
        assert leaf(third.json()).public_key() == leaf(renewed).public_key()


@pytest.mark.parametrize(
    "request_for",
    [csr(1, [*NAMES, "more.example.org"]), csr(1, NAMES, "more.example.org")],
    ids=["name", "common-name"],
)
async def test_other_names_are_refused(
    database: Database, tmp_path: Path, request_for: str
) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await issue(plane)
        response = await plane.client.post(f"{PATH}/{first['id']}/renew", json={"csr": request_for})
        assert response.status_code == 422
        assert response.json()["type"].endswith(":names-differ")
        assert "more.example.org" not in response.text


async def test_a_profile_that_demands_a_new_key_waits_for_it(
    database: Database, tmp_path: Path
) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await issue(plane, profile_id="prof-tls-47-day")
        path = f"{PATH}/{first['id']}/renew"
        waiting = await plane.client.post(path, json={"validity_days": 9}, headers=WAIT)
        assert waiting.status_code == 202
        order_path = waiting.headers["Location"]
        order = (await plane.client.get(order_path)).json()
        assert order["state"] == "awaiting_csr"
        assert "CSR" in order["problem"]
        assert waiting.json()["version"] == first["version"]
        again = await plane.client.post(path, json={})
        assert again.status_code == 409
        assert again.json()["type"].endswith(":order-open")
        old_key = await plane.client.post(path, json={"csr": csr(0)})
        assert old_key.status_code == 422
        assert old_key.json()["type"].endswith(":key-reused")
        renewed = await plane.client.post(path, json={"csr": csr(1)})
        assert renewed.status_code == 201
        assert renewed.json()["order_id"] == order["id"]
        lifetime = (
            leaf(renewed.json()).not_valid_after_utc - leaf(renewed.json()).not_valid_before_utc
        )
        assert lifetime.days == 8  # the nine days that were asked for at first, less a second
        assert (await plane.client.get(order_path)).json()["state"] == "issued"


async def test_an_order_that_waits_for_a_csr_can_be_cancelled(
    database: Database, tmp_path: Path
) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await issue(plane, profile_id="prof-tls-47-day")
        path = f"{PATH}/{first['id']}"
        waiting = await plane.client.post(f"{path}/renew", json={})
        cancelled = await plane.client.post(f"{waiting.headers['Location']}/cancel")
        assert cancelled.json()["state"] == "cancelled"
        assert (await plane.client.get(path)).json()["status"] == "issued"
        assert (await plane.client.post(f"{path}/renew", json={"csr": csr(1)})).status_code == 201


async def test_a_compromised_key_never_comes_back(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await issue(plane)
        path = f"{PATH}/{first['id']}"
        assert (await plane.client.post(f"{path}/renew", json={"csr": csr(1)})).status_code == 201
        await plane.client.post(
            f"{path}/versions/{first['version']['id']}/revoke", json={"reason": "keyCompromise"}
        )
        response = await plane.client.post(f"{path}/renew", json={"csr": csr(0)})
        assert response.status_code == 422
        assert response.json()["type"].endswith(":key-compromised")


async def test_a_slow_ca(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["issue", "pending", "pending", "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        first = await issue(plane, issuer_id="iss-slow")
        path = f"{PATH}/{first['id']}"
        answer = await plane.client.post(f"{path}/renew", json={})
        assert answer.status_code == 202
        # Until the new one is there, the old one is what clients are to use.
        assert answer.json()["version"] == first["version"]
        second = await plane.client.post(f"{path}/renew", json={"csr": csr(1)})
        assert second.status_code == 409
        assert second.json()["type"].endswith(":order-open")
        for _ in range(400):
            if (await plane.client.get(answer.headers["Location"])).json()["state"] == "issued":
                break
            await asyncio.sleep(0.02)
        renewed = (await plane.client.get(path)).json()
        assert renewed["version"]["id"] != first["version"]["id"]
        assert ca.books.count("submit") == 2


async def test_prefer_wait(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["issue", "pending", "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        first = await issue(plane, issuer_id="iss-slow")
        answer = await plane.client.post(f"{PATH}/{first['id']}/renew", json={}, headers=WAIT)
        assert answer.status_code == 201
        assert answer.json()["version"]["id"] != first["version"]["id"]


async def test_the_same_idempotency_key_renews_once(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await issue(plane)
        path = f"{PATH}/{first['id']}/renew"
        headers = {"Idempotency-Key": "renew-1"}
        answers = await asyncio.gather(
            *(plane.client.post(path, json={}, headers=headers) for _ in range(5))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["version"]["serial"] for answer in answers}) == 1
        listed = (await plane.client.get(f"{PATH}/{first['id']}/versions")).json()["data"]
        assert len(listed) == 2
        other = await plane.client.post(path, json={"validity_days": 3}, headers=headers)
        assert other.status_code == 422
        assert other.json()["type"].endswith(":idempotency-key-reused")


async def test_of_two_at_once_one_wins(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await issue(plane)
        path = f"{PATH}/{first['id']}/renew"
        answers = await asyncio.gather(*(plane.client.post(path, json={}) for _ in range(4)))
        won = [answer for answer in answers if answer.status_code == 201]
        lost = [answer for answer in answers if answer.status_code == 409]
        assert len(won) + len(lost) == 4
        assert won
        assert {answer.json()["type"].rpartition(":")[2] for answer in lost} <= {
            "certificate-changed"
        }
        listed = (await plane.client.get(f"{PATH}/{first['id']}/versions")).json()["data"]
        assert len(listed) == 1 + len(won)


async def test_versions_come_in_pages(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await issue(plane)
        path = f"{PATH}/{first['id']}"
        for _ in range(4):
            assert (await plane.client.post(f"{path}/renew", json={})).status_code == 201
        seen: list[str] = []
        url: str | None = f"{path}/versions?limit=2"
        while url is not None:
            page = (await plane.client.get(url)).json()
            seen += [version["serial"] for version in page["data"]]
            url = page["next"] and f"{path}/versions?limit=2&cursor={page['next']}"
        assert len(seen) == len(set(seen)) == 5
        assert seen[-1] == first["version"]["serial"]


async def test_what_cannot_be_renewed(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["pending"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        pending = (
            await plane.client.post(PATH, json={"issuer_id": "iss-slow", "csr": csr()})
        ).json()
        response = await plane.client.post(f"{PATH}/{pending['id']}/renew", json={})
        assert response.status_code == 409
        assert response.json()["type"].endswith(":certificate-not-issued")
        missing = await plane.client.post(f"{PATH}/cert-none/renew", json={})
        assert missing.status_code == 404
