"""A person says what became of an order in `uncertain`, over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from certctl.connectors import errors
from certctl.domain.orders import OrderState
from certctl.pki.certificates import chain_pem, to_pem
from certctl.storage.orders import LEASES, get_order, load_order, lock_order
from tests.support.clock import TurnableClock
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.timely_ca import TimelyCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from certctl.connectors.contract import IssuanceRequest, IssuedCertificate
    from certctl.storage.database import Database
    from certctl.storage.orders import OrderRecord

pytestmark = pytest.mark.anyio

NAMES = ["slow.example.org", "also.example.org"]


@pytest.fixture
def clock() -> TurnableClock:
    """Stands still between the steps."""
    return TurnableClock()


@pytest.fixture
def ca(clock: TurnableClock) -> TimelyCA:
    """A CA whose first answer is lost, and which is of class `ask`."""
    return TimelyCA(clock, [errors.NoAnswer("connection reset"), "issue"])


@pytest.fixture
async def plane(database: Database, tmp_path: Path, ca: TimelyCA) -> AsyncIterator[ControlPlane]:
    """A control plane whose scheduler stands still."""
    async with control_plane(database, tmp_path, ca=ca, run_scheduler=False) as made:
        yield made


async def step(plane: ControlPlane) -> None:
    database = plane.services.database
    now = database.clock.now_ms()
    rows = await database.write(
        lambda t: LEASES.claim(t, owner="test", now_ms=now, lease_ms=60_000, limit=10)
    )
    for row in rows:
        await plane.services.use_cases.advance(load_order(row))


async def uncertain(plane: ControlPlane) -> dict[str, Any]:
    """A certificate whose order is uncertain."""
    body = {"issuer_id": "iss-slow", "csr": make_csr(make_key(), NAMES)}
    answer: dict[str, Any] = (await plane.client.post("/api/v1/certificates", json=body)).json()
    await step(plane)
    assert (await show(plane, answer))["state"] == "uncertain"
    return answer


async def show(plane: ControlPlane, answer: dict[str, Any]) -> dict[str, Any]:
    response = await plane.client.get(f"/api/v1/orders/{answer['order_id']}")
    order: dict[str, Any] = response.json()
    return order


async def resolve(plane: ControlPlane, answer: dict[str, Any], **body: Any) -> Any:
    return await plane.client.post(f"/api/v1/orders/{answer['order_id']}/resolve", json=body)


async def made_at_the_ca(
    plane: ControlPlane, ca: TimelyCA, answer: dict[str, Any], **changes: Any
) -> IssuedCertificate:
    """What the CA has in its own list."""
    from dataclasses import replace

    from certctl.lifecycle.requests import decode_request

    def load(connection: Any) -> OrderRecord:
        found = get_order(connection, answer["order_id"])
        assert found is not None
        return found

    order = await plane.services.database.read(load)
    request: IssuanceRequest = replace(decode_request(order), **changes)
    return ca._sign(request, "issue")


async def test_what_it_waits_for_is_a_person(plane: ControlPlane) -> None:
    answer = await uncertain(plane)
    order = await show(plane, answer)
    assert order["waits_for"].startswith("a person: ")
    assert "certctl orders resolve" in order["waits_for"]
    assert order["due_at"] is None


async def test_ready_asks_the_ca_again(plane: ControlPlane, ca: TimelyCA) -> None:
    answer = await uncertain(plane)
    response = await resolve(plane, answer, state="ready", reason="not in the CA's list")
    assert response.status_code == 200
    assert response.json()["state"] == "ready"
    await step(plane)
    order = await show(plane, answer)
    assert order["state"] == "issued"
    assert order["waits_for"] is None
    assert ca.books.count("submit") == 2
    resolved = order["history"][1]
    assert (resolved["action"], resolved["outcome"]) == ("resolve", "resolved")
    assert resolved["detail"] == "ready, says admin: not in the CA's list"


async def test_pending_asks_about_it_under_the_reference(
    plane: ControlPlane, clock: TurnableClock, ca: TimelyCA
) -> None:
    answer = await uncertain(plane)
    clock.turn(days=40)  # the burst and the greatest age begin anew
    reference = {"id": answer["order_id"]}
    response = await resolve(plane, answer, state="pending", reference=reference)
    assert (response.json()["state"], response.json()["reference"]) == ("pending", reference)
    assert "every few minutes until" in (await show(plane, answer))["waits_for"]
    await step(plane)
    assert (await show(plane, answer))["state"] == "issued"
    assert [action for action, _ in ca.books.asked] == ["submit", "poll"]


async def test_issued_takes_the_certificate_over(plane: ControlPlane, ca: TimelyCA) -> None:
    answer = await uncertain(plane)
    issued = await made_at_the_ca(plane, ca, answer)
    pem = to_pem(issued.certificate) + chain_pem(issued.chain)
    response = await resolve(plane, answer, state="issued", certificate=pem)
    assert response.status_code == 200
    certificate = (await plane.client.get(f"/api/v1/certificates/{answer['id']}")).json()
    assert certificate["status"] == "issued"
    assert certificate["version"]["serial"] == f"{issued.certificate.serial_number:x}"
    assert certificate["version"]["chain"] == chain_pem(issued.chain)
    assert certificate["renew_at"] is not None
    actions = [e["action"] for e in (await plane.client.get("/api/v1/audit")).json()["data"]]
    assert {"order.resolved", "certificate.issued"} <= set(actions)


@pytest.mark.parametrize("state", ["rejected", "cancelled"])
async def test_an_end_is_an_end(plane: ControlPlane, state: str) -> None:
    answer = await uncertain(plane)
    response = await resolve(plane, answer, state=state, reason="domain not ours")
    assert (response.json()["state"], response.json()["problem"]) == (state, "domain not ours")
    certificate = (await plane.client.get(f"/api/v1/certificates/{answer['id']}")).json()
    assert certificate["status"] == "failed"
    assert response.json()["due_at"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"state": "pending"}, "reference"),
        ({"state": "pending", "reference": {}}, "reference"),
        ({"state": "pending", "reference": {"id": "x" * 5000}}, "reference"),
        ({"state": "issued"}, "certificate"),
        ({"state": "issued", "certificate": "not PEM"}, "certificate"),
        ({"state": "issued", "certificate": "-----BEGIN CERTIFICATE-----\nAAAA"}, "certificate"),
        ({"state": "ready", "reference": {"id": "1"}}, "reference"),
        ({"state": "rejected", "certificate": "x"}, "certificate"),
        ({"state": "submitting"}, "state"),
    ],
)
async def test_what_does_not_fit_names_its_field_and_changes_nothing(
    plane: ControlPlane, body: dict[str, Any], field: str
) -> None:
    answer = await uncertain(plane)
    response = await resolve(plane, answer, **body)
    assert response.status_code == 422
    assert response.json()["field"] == field
    assert (await show(plane, answer))["state"] == "uncertain"


@pytest.mark.parametrize("wrong", ["key", "names", "chain"])
async def test_a_certificate_is_held_against_the_request_like_the_ca_s_own_answer(
    plane: ControlPlane, ca: TimelyCA, clock: TurnableClock, wrong: str
) -> None:
    from certctl.pki.requests import parse_request

    answer = await uncertain(plane)
    other = parse_request(make_csr(make_key(which=7), NAMES))
    changes: dict[str, Any] = {"key": {"csr": other}, "names": {"names": other.names[:1]}}
    issued = await made_at_the_ca(plane, ca, answer, **changes.get(wrong, {}))
    chain = TimelyCA(clock).authority.chain if wrong == "chain" else issued.chain
    pem = to_pem(issued.certificate) + chain_pem(chain)
    response = await resolve(plane, answer, state="issued", certificate=pem)
    assert response.status_code == 422
    assert response.json()["type"].endswith(":certificate-does-not-fit")
    assert response.json()["field"] == "certificate"
    assert (await show(plane, answer))["state"] == "uncertain"


async def test_a_certificate_that_is_kept_already_is_a_conflict(
    plane: ControlPlane, ca: TimelyCA
) -> None:
    first = await uncertain(plane)
    ca.script = [errors.NoAnswer("reset")]
    second = await uncertain(plane)
    issued = await made_at_the_ca(plane, ca, first)
    pem = to_pem(issued.certificate) + chain_pem(issued.chain)
    assert (await resolve(plane, first, state="issued", certificate=pem)).status_code == 200
    response = await resolve(plane, second, state="issued", certificate=pem)
    assert response.status_code == 409
    assert response.json()["type"].endswith(":certificate-known")


async def test_only_an_uncertain_order_is_resolved(plane: ControlPlane) -> None:
    answer = await uncertain(plane)
    assert (await resolve(plane, answer, state="ready")).status_code == 200
    response = await resolve(plane, answer, state="ready")
    assert response.status_code == 409
    assert response.json()["type"].endswith(":order-not-uncertain")
    response = await plane.client.post("/api/v1/orders/ord-none/resolve", json={"state": "ready"})
    assert response.status_code == 404


async def test_whoever_is_late_changes_nothing(plane: ControlPlane) -> None:
    answer = await uncertain(plane)

    def load(transaction: Any) -> OrderRecord:
        found = lock_order(transaction, answer["order_id"])
        assert found is not None
        return found

    before = await plane.services.database.write(load)
    await resolve(plane, answer, state="ready")
    after = await plane.services.database.write(load)
    assert after.epoch == before.epoch + 1
    assert after.state is OrderState.READY


async def test_a_ca_that_cannot_be_polled_has_no_pending_orders(
    plane: ControlPlane, ca: TimelyCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await uncertain(plane)
    from tests.support.scripted_ca import ScriptedCA

    monkeypatch.delattr(ScriptedCA, "poll")
    response = await resolve(plane, answer, state="pending", reference={"id": "1"})
    assert response.status_code == 422
    assert response.json()["type"].endswith(":issuer-does-not-poll")
    del ca


async def test_due_at_is_when_the_ca_is_asked_and_not_before(
    plane: ControlPlane, clock: TurnableClock, ca: TimelyCA
) -> None:
    ca.script = [errors.Unauthorized("wrong password")]
    bodies = [{"issuer_id": "iss-slow", "csr": make_csr(make_key(), NAMES)} for _ in range(2)]
    first = (await plane.client.post("/api/v1/certificates", json=bodies[0])).json()
    await step(plane)
    second = (await plane.client.post("/api/v1/certificates", json=bodies[1])).json()
    clock.turn(seconds=0.1)
    for answer in (first, second):
        order = await show(plane, answer)
        assert order["waits_for"].startswith(
            "the issuer's circuit is open since 2026-01-01 00:00:00"
        )
        assert "wrong password; tried again at" in order["waits_for"]
        assert order["due_at"] == "2026-01-01T00:00:00.600000Z"
    listed = (await plane.client.get("/api/v1/orders")).json()["data"]
    assert {order["due_at"] for order in listed} == {"2026-01-01T00:00:00.600000Z"}
