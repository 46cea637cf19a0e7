"""A signature over the bare public key: from the request to the CA, and to the next version."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from certctl.domain.keys import KeyType
from certctl.pki.key_signatures import parse_key_signature, sign_key
from certctl.pki.requests import parse_request
from certctl.storage.tables import orders
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.connectors.contract import IssuanceRequest, IssuedCertificate, Pending
    from certctl.storage.database import Connection, Database

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
NAMES = ["www.example.org"]
WAIT = {"Prefer": "wait=20"}


class CollectingCA(ScriptedCA):
    """Keeps the signature of each request that it was given."""

    def __init__(self, script: list[Any]) -> None:
        super().__init__(script)
        self.signatures: list[tuple[str, bytes | None]] = []

    async def _answer(
        self, action: str, request: IssuanceRequest
    ) -> IssuedCertificate | Pending | None:
        self.signatures.append((action, request.key_signature))
        return await super()._answer(action, request)


def csr(which: int = 0, key_type: KeyType = KeyType.P256) -> str:
    return make_csr(make_key(key_type, which), NAMES)


def signature(which: int = 0) -> str:
    return sign_key(make_key(KeyType.P256, which))


def bytes_of(text: str, which: int = 0) -> bytes:
    return parse_key_signature(text, parse_request(csr(which)))


def body(**more: Any) -> dict[str, Any]:
    return {"issuer_id": "iss-slow", "csr": csr(), **more}


async def ordered(plane: ControlPlane, **more: Any) -> dict[str, Any]:
    """A certificate that the CA has issued."""
    response = await plane.client.post(PATH, json=body(**more), headers=WAIT)
    assert response.status_code == 201, response.text
    certificate: dict[str, Any] = response.json()
    return certificate


async def stored_requests(plane: ControlPlane) -> list[str]:
    """What is stored of each order's request, as text."""

    def load(connection: Connection) -> list[str]:
        return list(connection.execute(select(orders.c.request)).scalars())

    return await plane.services.database.read(load)


async def test_the_ca_is_given_it_with_every_call(database: Database, tmp_path: Path) -> None:
    ca = CollectingCA(["pending", "pending", "issue"])
    text = signature()
    async with control_plane(database, tmp_path, ca=ca) as plane:
        await ordered(plane, key_signature=text)
    sent = bytes_of(text)
    assert ca.signatures == [("submit", sent), ("poll", sent), ("poll", sent)]


async def test_without_one_nothing_is_stored_of_it(database: Database, tmp_path: Path) -> None:
    ca = CollectingCA(["issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        await ordered(plane)
        (stored,) = await stored_requests(plane)
    assert ca.signatures == [("submit", None)]
    assert "signature" not in stored


async def test_our_own_ca_takes_it_and_needs_none(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path) as plane:
        for more in ({}, {"key_signature": signature()}):
            response = await plane.client.post(
                PATH, json={"issuer_id": "iss-local", "csr": csr(), **more}
            )
            assert response.status_code == 201, response.text


async def test_a_renewal_with_the_stored_csr_takes_the_signature_over(
    database: Database, tmp_path: Path
) -> None:
    ca = CollectingCA(["issue"])
    text = signature()
    async with control_plane(database, tmp_path, ca=ca) as plane:
        first = await ordered(plane, key_signature=text)
        path = f"{PATH}/{first['id']}/renew"
        for _ in range(2):
            assert (await plane.client.post(path, json={}, headers=WAIT)).status_code == 201
    assert ca.signatures == [("submit", bytes_of(text))] * 3


async def test_a_renewal_with_a_new_key_has_a_signature_of_its_own_or_none(
    database: Database, tmp_path: Path
) -> None:
    ca = CollectingCA(["issue"])
    text = signature(1)
    async with control_plane(database, tmp_path, ca=ca) as plane:
        first = await ordered(plane, key_signature=signature())
        path = f"{PATH}/{first['id']}/renew"
        for more in ({"csr": csr(1), "key_signature": text}, {}, {"csr": csr(2)}, {}):
            answer = await plane.client.post(path, json=more, headers=WAIT)
            assert answer.status_code == 201, answer.text
    given = [of for _, of in ca.signatures]
    assert given[1:] == [bytes_of(text, 1), bytes_of(text, 1), None, None]


async def test_an_order_that_awaits_a_csr_is_continued_with_both(
    database: Database, tmp_path: Path
) -> None:
    ca = CollectingCA(["issue"])
    text = signature(1)
    async with control_plane(database, tmp_path, ca=ca) as plane:
        first = await ordered(plane, profile_id="prof-tls-47-day", key_signature=signature())
        path = f"{PATH}/{first['id']}/renew"
        waiting = await plane.client.post(path, json={})
        assert waiting.status_code == 202
        alone = await plane.client.post(path, json={"key_signature": text})
        assert alone.status_code == 422
        assert alone.json()["type"].endswith(":key-signature-without-csr")
        wrong = await plane.client.post(path, json={"csr": csr(1), "key_signature": signature(2)})
        assert wrong.status_code == 422
        assert wrong.json()["type"].endswith(":key-signature-wrong")
        both = {"csr": csr(1), "key_signature": text}
        answer = await plane.client.post(path, json=both, headers=WAIT)
        assert answer.status_code == 201, answer.text
        assert answer.json()["order_id"] == waiting.json()["order_id"]
    assert [of for _, of in ca.signatures][1:] == [bytes_of(text, 1)]


async def test_it_survives_the_process_that_took_it(database: Database, tmp_path: Path) -> None:
    text = signature()
    async with control_plane(
        database, tmp_path, ca=CollectingCA(["issue"]), run_scheduler=False
    ) as plane:
        accepted = await plane.client.post(PATH, json=body(key_signature=text))
        assert accepted.status_code == 202
    ca = CollectingCA(["issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        for _ in range(400):
            order = await plane.client.get(accepted.headers["Location"])
            if order.json()["state"] == "issued":
                break
            await asyncio.sleep(0.02)
    assert ca.signatures == [("submit", bytes_of(text))]


@pytest.mark.parametrize(
    ("key_type", "of", "code"),
    [
        (KeyType.P256, "not base64!", "key-signature-unreadable"),
        (KeyType.P256, signature(2), "key-signature-wrong"),
        (KeyType.ED25519, signature(), "key-signature-key-type"),
    ],
    ids=["unreadable", "wrong", "key-type"],
)
async def test_a_renewal_with_a_bad_one_is_refused_and_nothing_is_stored(
    database: Database, tmp_path: Path, key_type: KeyType, of: str, code: str
) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await ordered(plane, issuer_id="iss-local")
        response = await plane.client.post(
            f"{PATH}/{first['id']}/renew", json={"csr": csr(1, key_type), "key_signature": of}
        )
        assert response.status_code == 422
        problem = response.json()
        assert problem["type"].endswith(f":{code}")
        assert (problem["field"], bool(problem["hint"])) == ("key_signature", True)
        assert of not in response.text
        assert len(await stored_requests(plane)) == 1


async def test_a_renewal_with_a_signature_and_no_csr_is_refused(
    database: Database, tmp_path: Path
) -> None:
    async with control_plane(database, tmp_path) as plane:
        first = await ordered(plane, issuer_id="iss-local", key_signature=signature())
        response = await plane.client.post(
            f"{PATH}/{first['id']}/renew", json={"key_signature": signature()}
        )
        assert response.status_code == 422
        problem = response.json()
        assert problem["type"].endswith(":key-signature-without-csr")
        assert problem["field"] == "key_signature"


async def test_another_signature_under_the_same_idempotency_key_is_another_request(
    database: Database, tmp_path: Path
) -> None:
    async with control_plane(database, tmp_path) as plane:
        headers = {"Idempotency-Key": "with-a-signature"}
        wanted = body(issuer_id="iss-local", key_signature=signature())
        first = await plane.client.post(PATH, json=wanted, headers=headers)
        same = await plane.client.post(PATH, json=wanted, headers=headers)
        assert (first.status_code, same.status_code) == (201, 201)
        assert same.json()["id"] == first.json()["id"]
        path = f"{PATH}/{first.json()['id']}/renew"
        renewal = {"csr": csr(1), "key_signature": signature(1)}
        headers_of_renewal = {"Idempotency-Key": "renewed-with-a-signature"}
        for _ in range(2):
            renewed = await plane.client.post(path, json=renewal, headers=headers_of_renewal)
            assert renewed.status_code == 201, renewed.text
        listed = (await plane.client.get(f"{PATH}/{first.json()['id']}/versions")).json()["data"]
        assert len(listed) == 2
        for address, request, key, which in (
            (PATH, wanted, headers, 0),
            (path, renewal, headers_of_renewal, 1),
        ):
            # ECDSA signs anew each time, so this is a good signature with another value.
            for other in (signature(which), None):
                changed = {**request, "key_signature": other}
                answer = await plane.client.post(address, json=changed, headers=key)
                assert answer.status_code == 422
                assert answer.json()["type"].endswith(":idempotency-key-reused")
