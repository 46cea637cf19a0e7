"""Seven classes of hole that were found in products of this field.

1. reading by another's id: here, and for every route in `test_access_walk`;
2. secrets echoed by a GET: here for API keys, `test_issuers.py` (planted secrets) and
   `tests/e2e/test_planted_secrets.py` for all others;
3. a server-side request to an address from user input or from a CA's answer: here for who may name
   an address, `tests/connectors/test_triage.py` (an address elsewhere) and `test_transport.py`
   (redirects) for what a CA answers;
4. minting a sub-CA through a leaf request: here, `tests/bad_input.toml` (`ca`, `cert-sign`,
   `crl-sign`) and `tests/ca/test_authority.py`;
5. acting on another's object by a duplicate serial: here, and `test_imports.py` for certificates
   that come from elsewhere;
6. escalating one's own role or scope: here, and `tests/domain/test_access.py`;
7. filters that leak counts of what is out of scope: here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from sqlalchemy import select, update

from certctl.storage.tables import revocations, versions
from tests.support.callers import Caller, caller
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from httpx2 import Response

    from certctl.storage.database import Connection, Database, Transaction

pytestmark = pytest.mark.anyio

CERTIFICATES = "/api/v1/certificates"
BULK = "/api/v1/bulk-revocations"
KEYS = "/api/v1/keys"
SCOPE: dict[str, Any] = {"names": ["*.mine.example.org"]}


@pytest.fixture
async def plane(database: Database, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """With a second issuer, and a scheduler."""
    async with control_plane(database, tmp_path, ca=ScriptedCA(["issue"])) as running:
        yield running


async def issue(plane: ControlPlane, name: str, issuer: str = "iss-local") -> dict[str, Any]:
    answer = await plane.client.post(
        CERTIFICATES,
        json={"issuer_id": issuer, "csr": make_csr(make_key(), [name]), "owner": "web"},
        headers={"Prefer": "wait=20"},
    )
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def code(answer: Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:certctl:problem:")


async def test_1_another_s_version_under_one_s_own_certificate(plane: ControlPlane) -> None:
    mine = await issue(plane, "www.mine.example.org")
    theirs = await issue(plane, "www.theirs.example.org")
    who = await caller(plane.client, "operator", SCOPE)
    version = theirs["version"]["id"]
    below = f"{CERTIFICATES}/{mine['id']}"
    for method, path in [
        ("GET", f"{below}/versions/{version}"),
        ("GET", f"{below}/download?version={version}"),
        ("POST", f"{below}/versions/{version}/revoke"),
    ]:
        answer = await who.send(method, path)
        assert (answer.status_code, code(answer)) == (404, "version-not-found"), path
    shown = await plane.client.get(f"{CERTIFICATES}/{theirs['id']}")
    assert shown.json()["status"] == "issued"


async def test_1_a_repeated_request_is_answered_to_its_own_key_only(plane: ControlPlane) -> None:
    csr = make_csr(make_key(), ["www.theirs.example.org"])
    body = {"issuer_id": "iss-local", "csr": csr}
    headers = {"Idempotency-Key": "the-same"}
    made = await plane.client.post(CERTIFICATES, json=body, headers=headers)
    assert made.status_code == 201
    who = await caller(plane.client, "operator", SCOPE)
    answer = await who.post(CERTIFICATES, body, headers=headers)
    assert (answer.status_code, code(answer)) == (403, "names-out-of-scope")
    assert made.json()["id"] not in answer.text


async def test_2_no_get_shows_a_key_or_its_hash(plane: ControlPlane) -> None:
    who = await caller(plane.client, "viewer")
    secret = who.key.removeprefix(f"certctl_{who.id}_")
    for path in (KEYS, f"{KEYS}/{who.id}", "/api/v1/audit", "/metrics"):
        answer = await plane.client.get(path)
        assert answer.status_code == 200
        assert secret not in answer.text
        assert "hash" not in answer.text


@pytest.mark.parametrize("role", ["operator", "viewer", "auditor"])
async def test_3_only_an_admin_can_name_an_address_to_call(plane: ControlPlane, role: str) -> None:
    who = await caller(plane.client, role)
    body = {"name": "x", "type": "GlobalSign", "config": {"api_url": "https://169.254.169.254/"}}
    for method, path in [
        ("POST", "/api/v1/issuers"),
        ("PUT", "/api/v1/issuers/iss-local"),
        ("POST", "/api/v1/issuers/iss-local/test"),
    ]:
        answer = await who.send(method, path, json=body)
        assert (answer.status_code, code(answer)) == (403, "role-not-enough"), path


async def test_3_nor_can_an_admin_key_with_a_scope(plane: ControlPlane) -> None:
    who = await caller(plane.client, "admin", {"issuers": ["iss-local"]})
    answer = await who.send("PUT", "/api/v1/issuers/iss-local", json={"name": "x"})
    assert (answer.status_code, code(answer)) == (403, "scope-not-enough")


async def test_4_a_request_for_a_leaf_mints_no_ca(plane: ControlPlane) -> None:
    who = await caller(plane.client, "operator", SCOPE)
    extension = x509.BasicConstraints(ca=True, path_length=None)
    csr = make_csr(make_key(), ["a.mine.example.org"], extensions=[extension])
    answer = await who.post(CERTIFICATES, {"issuer_id": "iss-local", "csr": csr})
    assert (answer.status_code, code(answer)) == (422, "csr-asks-for-ca")
    assert not (await who.get(CERTIFICATES)).json()["data"]


async def test_5_the_same_serial_under_another_issuer(
    plane: ControlPlane, database: Database
) -> None:
    mine = await issue(plane, "www.mine.example.org", "iss-slow")
    theirs = await issue(plane, "www.theirs.example.org")
    serial = theirs["version"]["serial"]
    where = versions.c.id == mine["version"]["id"]

    def collide(transaction: Transaction) -> None:
        transaction.execute(update(versions).where(where).values(serial=serial))

    await database.write(collide)
    who = await caller(plane.client, "operator", SCOPE)
    answer = await who.post(f"{CERTIFICATES}/{mine['id']}/revoke", {"reason": "superseded"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["version"]["serial"] == serial

    def revoked(connection: Connection) -> list[tuple[str, str]]:
        rows = connection.execute(select(revocations.c.issuer_id, revocations.c.version_id))
        return [(row.issuer_id, row.version_id) for row in rows]

    assert await database.read(revoked) == [("iss-slow", mine["version"]["id"])]
    shown = await plane.client.get(f"{CERTIFICATES}/{theirs['id']}")
    assert shown.json()["status"] == "issued"
    assert [each["serial"] for each in (await who.get("/api/v1/revocations")).json()["data"]] == [
        serial
    ]


@pytest.mark.parametrize("role", ["operator", "viewer", "auditor"])
async def test_6_only_an_admin_makes_keys(plane: ControlPlane, role: str) -> None:
    who = await caller(plane.client, role)
    for method, path in [
        ("POST", KEYS),
        ("GET", KEYS),
        ("GET", f"{KEYS}/{who.id}"),
        ("POST", f"{KEYS}/{who.id}/revoke"),
    ]:
        answer = await who.send(method, path, json={"name": "x", "role": "admin"})
        assert (answer.status_code, code(answer)) == (403, "role-not-enough"), path


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "scope-not-within-own"),
        ({"scope": None}, "scope-not-within-own"),
        ({"scope": {"issuers": ["iss-local"]}}, "scope-not-within-own"),
        ({"scope": {"names": ["*.example.org"]}}, "scope-not-within-own"),
        ({"scope": {"names": ["mine.example.org"]}}, "scope-not-within-own"),
        ({"scope": {"names": ["a.mine.example.org", "ip:10.0.0.1"]}}, "scope-not-within-own"),
        ({"scope": {"names": ["*.mine.example.org"]}, "days": 11}, "expiry-beyond-own"),
        ({"scope": {"names": ["*.mine.example.org"]}}, "expiry-beyond-own"),
    ],
)
async def test_6_a_key_gives_no_more_than_it_has(
    plane: ControlPlane, body: dict[str, Any], expected: str
) -> None:
    who = await caller(plane.client, "admin", SCOPE, days=10)
    answer = await who.post(KEYS, {"name": "more", "role": "viewer", **body})
    assert (answer.status_code, code(answer)) == (403, expected)
    assert len((await plane.client.get(KEYS)).json()["data"]) == 2


async def test_6_a_scoped_admin_makes_and_sees_its_own_keys(plane: ControlPlane) -> None:
    who = await caller(plane.client, "admin", SCOPE)
    narrower = {"issuers": ["iss-local"], "names": ["*.a.mine.example.org", "b.mine.example.org"]}
    made = await caller(plane.client, "operator", narrower, by=who.key, days=1)
    seen = await who.get(KEYS)
    assert [each["id"] for each in seen.json()["data"]] == [made.id]
    assert seen.json()["data"][0]["created_by"] == who.id
    for other in ("admin", who.id):
        for method, path in [("GET", f"{KEYS}/{other}"), ("POST", f"{KEYS}/{other}/revoke")]:
            answer = await who.send(method, path)
            assert (answer.status_code, code(answer)) == (404, "key-not-found")
    assert (await who.post(f"{KEYS}/{made.id}/revoke")).status_code == 200
    assert (await made.get(CERTIFICATES)).status_code == 401


async def listed(who: Caller, path: str, size: int) -> list[list[str]]:
    """Ids of every row of a list, page by page."""
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": size} | ({} if cursor is None else {"cursor": cursor})
        page = (await who.get(path, params=params)).json()
        pages.append([row["id"] for row in page["data"]])
        cursor = page["next"]
        if cursor is None:
            return pages


async def test_7_pages_tell_nothing_of_what_is_between(plane: ControlPlane) -> None:
    mine = []
    for number in range(4):
        mine.append((await issue(plane, f"w{number}.mine.example.org"))["id"])
        for each in "ab":
            await issue(plane, f"{each}{number}.theirs.example.org")
    who = await caller(plane.client, "operator", SCOPE)
    newest_first = mine[::-1]
    assert await listed(who, CERTIFICATES, 2) == [newest_first[:2], newest_first[2:]]
    orders = await listed(who, "/api/v1/orders", 3)
    assert [len(page) for page in orders] == [3, 1]


async def test_7_counts_and_bulk_revocations_stay_in_scope(plane: ControlPlane) -> None:
    mine = [(await issue(plane, f"w{number}.mine.example.org"))["id"] for number in range(3)]
    theirs = [(await issue(plane, f"w{number}.theirs.example.org"))["id"] for number in range(4)]
    who = await caller(plane.client, "operator", SCOPE)
    everything = {"owner": "web"}
    found = (await who.post(f"{BULK}/preview", {"filter": everything})).json()
    assert found["total"] == 3
    assert {row["id"] for row in found["data"]} == set(mine)
    for beyond in (
        {"name": "*.theirs.example.org"},
        {"name": "*.theirs.example.org", **everything},
    ):
        answer = (await who.post(f"{BULK}/preview", {"filter": beyond})).json()
        assert (answer["total"], answer["data"]) == (0, [])
    refused = await who.post(BULK, {"filter": everything, "expected": 7})
    assert (refused.status_code, code(refused)) == (409, "bulk-count-changed")
    assert "7" not in refused.json()["detail"]
    assert "3" in refused.json()["detail"]
    started = await who.post(BULK, {"filter": everything, "expected": 3})
    assert started.status_code == 202, started.text
    path = f"{BULK}/{started.json()['id']}"
    for _ in range(400):
        bulk = (await who.get(path)).json()
        if bulk["state"] == "done":
            break
        await asyncio.sleep(0.02)
    assert (bulk["state"], bulk["done"]) == ("done", 3)
    rows = (await plane.client.get(CERTIFICATES, params={"limit": 100})).json()["data"]
    assert {row["id"] for row in rows if row["status"] == "revoked"} == set(mine)
    assert {row["id"] for row in rows if row["status"] == "issued"} == set(theirs)
    assert [row["id"] for row in (await who.get(BULK)).json()["data"]] == [started.json()["id"]]
    other = await caller(plane.client, "operator", SCOPE)
    assert (await other.get(path)).status_code == 404
    assert (await plane.client.get(path)).json()["actor"] == who.id
