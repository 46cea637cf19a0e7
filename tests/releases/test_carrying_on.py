"""What an earlier release had begun when it was stopped is carried on after the upgrade."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.orders import OrderState
from certctl.domain.revocations import RevocationAction, RevocationState
from certctl.lifecycle.assembly import free_leases
from tests.releases.history import csr
from tests.releases.upgrading import API, fetch, fetch_all
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.timely_ca import TimelyCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.releases.upgrading import Upgraded

pytestmark = pytest.mark.anyio

#: Where an order goes by itself, with a CA that issues what it is asked for.
ORDERS_AFTERWARDS = {
    OrderState.READY: OrderState.ISSUED,
    OrderState.PENDING: OrderState.ISSUED,
    OrderState.SUBMITTING: OrderState.UNCERTAIN,  # nobody knows whether that CA was asked
}


@pytest.fixture
def ca(upgraded: Upgraded) -> TimelyCA:
    """The CA that was slow, and is there again."""
    return TimelyCA(upgraded.clock)


@pytest.fixture
async def working(upgraded: Upgraded, ca: TimelyCA) -> AsyncIterator[ControlPlane]:
    """A control plane that works on what is due, as an embedded start leaves it."""
    await free_leases(upgraded.database)
    async with control_plane(upgraded.database, upgraded.data_dir, ca=ca) as running:
        yield running


async def settled(plane: ControlPlane, path: str, expected: dict[str, str]) -> None:
    """Wait until each of these is in its state."""
    for _ in range(400):
        shown = await fetch_all(plane.client, path)
        states = {key: one["state"] for key, one in shown.items() if key in expected}
        if states == expected:
            return
        await asyncio.sleep(0.025)
    pytest.fail(f"{path}: {sorted(states.items() - expected.items())}")


def is_release(row: dict[str, Any]) -> bool:
    """Whether a revocation is a hold whose end the CA is being told."""
    return (row["action"], row["state"]) in {
        (RevocationAction.RELEASE, RevocationState.REQUESTED),
        (RevocationAction.RELEASE, RevocationState.TOLD),
    }


async def test_orders(upgraded: Upgraded, working: ControlPlane) -> None:
    rows = upgraded.before["orders"]
    states = {row["id"]: OrderState(row["state"]) for row in rows}
    assert {row["state"] for row in rows if row["lease_until"]} >= {"pending", "submitting"}
    expected = {key: ORDERS_AFTERWARDS.get(state, state) for key, state in states.items()}
    await settled(working, "orders", {key: state.value for key, state in expected.items()})
    for row in rows:
        certificate = await fetch(working.client, f"certificates/{row['certificate_id']}")
        if states[row["id"]] in {OrderState.READY, OrderState.PENDING}:
            assert certificate["status"] == "issued"
            order = await fetch(working.client, f"orders/{row['id']}")
            assert order["version_id"] == certificate["version"]["id"]
        elif states[row["id"]] is OrderState.SUBMITTING:
            assert (certificate["status"], certificate["version"]) == ("pending", None)


async def test_a_renewal_that_waits_for_its_csr(upgraded: Upgraded, working: ControlPlane) -> None:
    (row,) = [row for row in upgraded.before["orders"] if row["state"] == "awaiting_csr"]
    path = f"{API}/certificates/{row['certificate_id']}/renew"
    renewed = await working.client.post(path, json={"csr": csr(key=1)})
    assert renewed.status_code == 201, renewed.text
    assert renewed.json()["order_id"] == row["id"]
    assert (await fetch(working.client, f"orders/{row['id']}"))["state"] == "issued"


async def test_revocations(upgraded: Upgraded, working: ControlPlane, ca: TimelyCA) -> None:
    rows = [row for row in upgraded.before["revocations"] if not is_release(row)]
    assert "requested" in {row["state"] for row in rows if row["lease_until"]}
    refused = RevocationState.REFUSED
    expected = {
        row["id"]: str(refused if row["state"] == refused else RevocationState.CONFIRMED)
        for row in rows
    }
    await settled(working, "revocations", expected)
    for row in rows:
        path = f"certificates/{row['certificate_id']}/versions"
        version = (await fetch_all(working.client, path))[row["version_id"]]
        assert version["revocation"]["reason"] == row["reason"]
        told = [action for action, serial in ca.books.asked if serial == row["serial"]]
        match RevocationState(row["state"]):
            case RevocationState.REQUESTED:
                assert told == ["revoke"]
            case RevocationState.TOLD:
                assert told == ["poll-revocation"]
            case RevocationState.CONFIRMED | RevocationState.REFUSED:
                assert told == []


async def test_holds_that_were_to_end(
    upgraded: Upgraded, working: ControlPlane, ca: TimelyCA
) -> None:
    rows = [row for row in upgraded.before["revocations"] if is_release(row)]
    assert {row["state"] for row in rows} == {"requested", "told"}
    for _ in range(400):
        left = set(await fetch_all(working.client, "revocations")) & {row["id"] for row in rows}
        if not left:
            break
        await asyncio.sleep(0.025)
    assert not left
    for row in rows:
        certificate = await fetch(working.client, f"certificates/{row['certificate_id']}")
        assert (certificate["status"], certificate["version"]["revocation"]) == ("issued", None)
        assert certificate["renew_at"] is not None
        action = "release" if row["state"] == "requested" else "poll-revocation"
        assert (action, row["serial"]) in ca.books.asked


async def test_a_bulk_revocation_that_was_half_way(
    upgraded: Upgraded, working: ControlPlane
) -> None:
    (row,) = [row for row in upgraded.before["bulk_revocations"] if row["state"] == "running"]
    assert 0 < row["done"] < row["total"]
    assert row["lease_until"] is not None
    await settled(working, "bulk-revocations", {row["id"]: "done"})
    bulk = await fetch(working.client, f"bulk-revocations/{row['id']}")
    assert bulk["done"] == bulk["total"] == row["total"]
    known = {one["id"] for one in upgraded.before["revocations"]}
    shown = await fetch_all(working.client, "revocations")
    new = {key for key, one in shown.items() if one["bulk_id"] == row["id"]} - known
    assert len(new) == row["total"] - row["done"]
    await settled(working, "revocations", dict.fromkeys(new, "confirmed"))
