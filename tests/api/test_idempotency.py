"""A request that is repeated with its key is carried out once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from certctl.domain.keys import KeyType
from certctl.storage.tables import idempotency_keys, issuers
from tests.support.control_plane import add_issuer
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from certctl.storage.database import Transaction
    from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
KEY = {"Idempotency-Key": "3f1c-retry"}


def body() -> dict[str, Any]:
    return {
        "issuer_id": "iss-local",
        "csr": make_csr(make_key(KeyType.P256), ["www.example.org"]),
    }


def disable_issuers(transaction: Transaction) -> None:
    transaction.execute(update(issuers).values(enabled=False, revision=9))
    transaction.changed()


async def count(plane: ControlPlane) -> int:
    return len((await plane.client.get(PATH)).json()["data"])


async def test_a_retry_answers_the_same_certificate(plane: ControlPlane) -> None:
    request = body()
    first = await plane.client.post(PATH, json=request, headers=KEY)
    second = await plane.client.post(PATH, json=request, headers=KEY)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert await count(plane) == 1


async def test_races_are_settled(plane: ControlPlane) -> None:
    request = body()
    answers = await asyncio.gather(
        *(plane.client.post(PATH, json=request, headers=KEY) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await count(plane) == 1


async def test_another_request_with_the_same_key_is_refused(plane: ControlPlane) -> None:
    request = body()
    await plane.client.post(PATH, json=request, headers=KEY)
    other = await plane.client.post(PATH, json={**request, "owner": "else"}, headers=KEY)
    assert other.status_code == 422
    assert other.json()["type"].endswith(":idempotency-key-reused")
    assert await count(plane) == 1


async def test_a_retry_is_answered_even_if_the_request_would_be_refused_now(
    plane: ControlPlane,
) -> None:
    request = body()
    first = await plane.client.post(PATH, json=request, headers=KEY)
    await plane.services.database.write(disable_issuers)
    await plane.services.catalog.refresh()
    second = await plane.client.post(PATH, json=request, headers=KEY)
    assert second.json() == first.json()
    new = await plane.client.post(PATH, json=request)
    assert new.json()["type"].endswith(":issuer-disabled")


async def test_after_a_day_the_key_is_new_again(plane: ControlPlane) -> None:
    request = body()
    first = await plane.client.post(PATH, json=request, headers=KEY)
    await plane.services.database.write(
        lambda t: t.execute(
            update(idempotency_keys).values(
                created_at=idempotency_keys.c.created_at - 24 * 3600 * 1000
            )
        )
    )
    second = await plane.client.post(PATH, json=request, headers=KEY)
    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]


async def test_a_key_with_other_characters_is_refused(plane: ControlPlane) -> None:
    response = await plane.client.post(PATH, json=body(), headers={"Idempotency-Key": "a b"})
    assert response.status_code == 422
    assert response.json()["field"] == "Idempotency-Key"


async def test_a_disabled_issuer_is_named(plane: ControlPlane) -> None:
    await add_issuer(plane.services.database, "iss-off", "GenericCA", enabled=False)
    await plane.services.catalog.refresh()
    response = await plane.client.post(PATH, json={**body(), "issuer_id": "iss-off"})
    assert response.status_code == 422
    assert response.json()["type"].endswith(":issuer-disabled")
    assert response.json()["field"] == "issuer_id"
