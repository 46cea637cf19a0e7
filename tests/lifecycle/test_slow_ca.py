"""The long way: a CA that answers later, not at all, or wrongly."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from certctl.connectors import errors
from certctl.domain.keys import KeyType
from certctl.domain.orders import Recovery
from certctl.domain.polling import PollSchedule
from certctl.storage.leases import TakenOver
from certctl.storage.orders import LEASES, OrderRecord, load_order
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database, Transaction

pytestmark = pytest.mark.anyio

WAIT = {"Prefer": "wait=20"}
FASTER = PollSchedule(scale=0.001)


def body() -> dict[str, Any]:
    csr = make_csr(make_key(KeyType.P256), ["slow.example.org", "also.example.org"])
    return {"issuer_id": "iss-slow", "csr": csr}


async def order_of(plane: ControlPlane, answer: dict[str, Any]) -> dict[str, Any]:
    response = await plane.client.get(f"/api/v1/orders/{answer['order_id']}")
    assert response.status_code == 200
    order: dict[str, Any] = response.json()
    return order


async def until_settled(plane: ControlPlane, state: str) -> None:
    answer = (await plane.client.post("/api/v1/certificates", json=body())).json()
    await until_closed(plane, answer, state)


async def until_closed(plane: ControlPlane, answer: dict[str, Any], state: str) -> None:
    for _ in range(400):
        order = await order_of(plane, answer)
        if order["state"] == state:
            return
        await asyncio.sleep(0.025)
    pytest.fail(f"the order is {order['state']}, not {state}: {order['problem']}")


async def abandon(task: asyncio.Task[None]) -> None:
    """End a scheduler as a crash would: nothing more is written."""
    for running in asyncio.all_tasks():
        if running.get_name().startswith("order-"):
            running.cancel()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def forget_leases(transaction: Transaction) -> None:
    LEASES.release_all(transaction)


def claim_one(transaction: Transaction) -> OrderRecord:
    (row,) = LEASES.claim(
        transaction,
        owner="test",
        now_ms=time.time_ns() // 1_000_000,
        lease_ms=60_000,
        limit=1,
    )
    return load_order(row)


async def test_the_answer_is_202_and_the_certificate_comes_later(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["pending", "pending", "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        response = await plane.client.post("/api/v1/certificates", json=body())
        assert response.status_code == 202
        answer = response.json()
        assert answer["version"] is None
        assert answer["status"] == "pending"
        assert response.headers["Location"] == f"/api/v1/orders/{answer['order_id']}"
        for _ in range(200):
            certificate = (await plane.client.get(f"/api/v1/certificates/{answer['id']}")).json()
            if certificate["version"] is not None:
                break
            await asyncio.sleep(0.05)
        assert certificate["status"] == "issued"
        order = await order_of(plane, answer)
        assert order["state"] == "issued"
        assert order["version_id"] == certificate["version"]["id"]
        assert order["reference"] == {"id": answer["order_id"]}
        assert [(a["action"], a["outcome"]) for a in order["history"]] == [
            ("submit", "pending"),
            ("poll", "pending"),
            ("poll", "issued"),
        ]


async def test_prefer_wait_answers_201_when_it_came(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["pending", "issue"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        response = await plane.client.post("/api/v1/certificates", json=body(), headers=WAIT)
        assert response.status_code == 201
        assert response.json()["version"]["certificate"].startswith("-----BEGIN CERTIFICATE")


async def test_a_stopping_server_answers_202_at_once(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["hang"])
    async with control_plane(database, tmp_path, ca=ca, run_scheduler=False) as plane:
        waiting = asyncio.create_task(
            plane.client.post("/api/v1/certificates", json=body(), headers=WAIT)
        )
        await asyncio.sleep(0.3)
        plane.services.stopping.set()
        response = await asyncio.wait_for(waiting, 5)
        assert response.status_code == 202


async def test_a_refusal_is_final_and_in_the_ca_s_words(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["pending", errors.Refused("domain not validated")])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        response = await plane.client.post("/api/v1/certificates", json=body(), headers=WAIT)
        assert response.status_code == 202
        answer = response.json()
        assert answer["status"] == "failed"
        order = await order_of(plane, answer)
        assert (order["state"], order["problem"]) == ("rejected", "domain not validated")
        assert order["due_at"] is None


@pytest.mark.parametrize("step", ["wrong-key", "wrong-names"])
async def test_another_certificate_than_asked_for_is_an_error_not_a_version(
    database: Database, tmp_path: Path, step: str
) -> None:
    async with control_plane(database, tmp_path, ca=ScriptedCA([step])) as plane:
        response = await plane.client.post("/api/v1/certificates", json=body(), headers=WAIT)
        answer = response.json()
        assert answer["version"] is None
        order = await order_of(plane, answer)
        assert order["state"] == "rejected"
        assert order["history"][0]["outcome"] == "wrong_certificate"


@pytest.mark.parametrize(
    "failure",
    [
        errors.RateLimited("slow down"),
        errors.Unavailable("connection refused"),
        errors.Unauthorized("wrong password"),
        errors.QuotaExhausted("nothing left"),
    ],
)
async def test_not_now_is_asked_again(
    database: Database, tmp_path: Path, failure: errors.IssuerError
) -> None:
    ca = ScriptedCA([failure, "issue"])
    async with control_plane(database, tmp_path, ca=ca, schedule=FASTER) as plane:
        response = await plane.client.post("/api/v1/certificates", json=body(), headers=WAIT)
        assert response.status_code == 201
        assert ca.books.count("submit") == 2


@pytest.mark.parametrize(
    ("recovery", "lookups", "state", "submissions"),
    [
        (Recovery.IDEMPOTENT, None, "issued", 2),
        (Recovery.REPEATABLE, None, "issued", 2),
        (Recovery.LOOKUP, ["issue"], "issued", 1),  # the look-up found it
        (Recovery.LOOKUP, [None], "issued", 2),  # it was never there, however often one looks
        (Recovery.ASK, None, "uncertain", 1),
    ],
)
async def test_a_lost_answer_is_recovered_by_class(
    database: Database,
    tmp_path: Path,
    recovery: Recovery,
    lookups: list[Any] | None,
    state: str,
    submissions: int,
) -> None:
    ca = ScriptedCA([errors.NoAnswer("connection reset"), "issue"], recovery, lookups=lookups)
    async with control_plane(database, tmp_path, ca=ca, schedule=FASTER) as plane:
        await until_settled(plane, state)
        assert ca.books.count("submit") == submissions


@pytest.mark.parametrize(
    ("recovery", "script", "state", "submissions"),
    [
        (Recovery.IDEMPOTENT, ["issue"], "issued", 2),
        (Recovery.LOOKUP, ["issue"], "issued", 1),
        (Recovery.ASK, ["issue"], "uncertain", 1),
    ],
)
async def test_a_process_that_dies_between_send_and_record_is_recovered_by_class(
    database: Database,
    tmp_path: Path,
    recovery: Recovery,
    script: list[Any],
    state: str,
    submissions: int,
) -> None:
    ca = ScriptedCA(["hang", *script], recovery)
    async with control_plane(database, tmp_path, ca=ca, run_scheduler=False) as plane:
        # The first process: it sends the order and is gone before it can record an answer.
        dying = asyncio.create_task(plane.services.use_cases.scheduler.run(asyncio.Event()))
        answer = (await plane.client.post("/api/v1/certificates", json=body())).json()
        await asyncio.wait_for(ca.called.wait(), 10)
        assert (await order_of(plane, answer))["state"] == "submitting"
        await abandon(dying)
    async with control_plane(database, tmp_path, ca=ca, schedule=FASTER) as plane:
        await database.write(forget_leases)  # as the lease's end, or an embedded start, does
        await until_closed(plane, answer, state)
        assert ca.books.count("submit") == submissions


async def test_a_process_that_comes_back_too_late_changes_nothing(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["hang", "issue"], Recovery.IDEMPOTENT)
    async with control_plane(database, tmp_path, ca=ca, run_scheduler=False) as plane:
        answer = (await plane.client.post("/api/v1/certificates", json=body())).json()
        claimed = await database.write(claim_one)
        late = asyncio.create_task(plane.services.use_cases.advance(claimed))
        await asyncio.wait_for(ca.called.wait(), 10)
        await database.write(forget_leases)
        advance = plane.services.use_cases.advance
        recovered = await advance(await database.write(claim_one))
        assert recovered.state == "ready"
        late.cancel()
        with pytest.raises(TakenOver):  # the first claim, now with an answer
            await advance(claimed)
        after = await advance(await database.write(claim_one))
        assert after.state == "issued"
        certificate = (await plane.client.get(f"/api/v1/certificates/{answer['id']}")).json()
        assert certificate["version"]["id"] == after.version_id
        history = (await order_of(plane, answer))["history"]
        assert [attempt["outcome"] for attempt in history] == ["lost", "issued"]


async def test_an_order_that_was_not_sent_can_be_cancelled(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["issue"])
    async with control_plane(database, tmp_path, ca=ca, run_scheduler=False) as plane:
        answer = (await plane.client.post("/api/v1/certificates", json=body())).json()
        path = f"/api/v1/orders/{answer['order_id']}/cancel"
        for _ in range(2):  # twice is the same answer
            response = await plane.client.post(path)
            assert response.status_code == 200
            assert response.json()["state"] == "cancelled"
        certificate = (await plane.client.get(f"/api/v1/certificates/{answer['id']}")).json()
        assert certificate["status"] == "failed"
        assert ca.books.asked == []


async def test_an_order_that_the_ca_has_cannot_be_cancelled(
    database: Database, tmp_path: Path
) -> None:
    ca = ScriptedCA(["pending"])
    async with control_plane(database, tmp_path, ca=ca) as plane:
        answer = (await plane.client.post("/api/v1/certificates", json=body())).json()
        await until_closed(plane, answer, "pending")
        response = await plane.client.post(f"/api/v1/orders/{answer['order_id']}/cancel")
        assert response.status_code == 409
        assert response.json()["type"].endswith(":order-not-cancellable")


async def test_an_order_is_given_up_when_it_is_too_old(database: Database, tmp_path: Path) -> None:
    ca = ScriptedCA(["pending"])
    schedule = PollSchedule(scale=0.001, order_max_age=0.2)
    async with control_plane(database, tmp_path, ca=ca, schedule=schedule) as plane:
        answer = (await plane.client.post("/api/v1/certificates", json=body())).json()
        await until_closed(plane, answer, "expired")
