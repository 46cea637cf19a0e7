"""An issuer's key and secret are swapped while it issues: no order fails, and no pair is mixed."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.mischief import Operation
from tests.conformance.stand_in import stand_in
from tests.support.fleet import STAND_IN_PACKAGE, Fleet, Regulars, orders_of, running_fleet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import httpx2

    from tests.conformance.stand_in import StandIn
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)

SETTINGS = {"CERTCTL_SCHEDULE_SCALE": "0.1", "CERTCTL_LOG_LEVEL": "warning"}
ISSUER = "iss-swapped"
CLIENTS = 16
SWAP_SECONDS = 1.0


def put(client: httpx2.Client, config: Mapping[str, Any]) -> None:
    answer = client.put(
        f"/api/v1/issuers/{ISSUER}", json={"name": "Swapped", "config": dict(config)}
    )
    assert answer.status_code == 200, answer.text


def issue_while_swapping(fleet: Fleet, ca: StandIn, folder: Path, seconds: float) -> Regulars:
    """Sixteen clients; each second a new key and secret by PUT, and now and then a new pair."""
    clients = Regulars(fleet, [ISSUER], CLIENTS)
    chance = random.Random(20261125)
    with fleet.client(0) as first, fleet.client(1) as second:
        body = {
            "id": ISSUER,
            "name": "Swapped",
            "type": "StandIn",
            "config": ca.settings(ca.new_account(), folder, "pair-0"),
        }
        assert first.post("/api/v1/issuers", json=body).status_code == 201
        assert second.get("/healthz").status_code == 200
        with clients:
            end = time.monotonic() + seconds
            swaps = 0
            while time.monotonic() < end:
                time.sleep(SWAP_SECONDS)
                swaps += 1
                put(
                    chance.choice((first, second)),
                    ca.settings(ca.new_account(), folder, f"pair-{swaps}"),
                )
    return clients


def check(seconds: float, target: DatabaseTarget, folder: Path) -> None:
    with (
        stand_in(folder) as ca,
        running_fleet(target, folder, SETTINGS, STAND_IN_PACKAGE) as fleet,
    ):
        clients = issue_while_swapping(fleet, ca, folder, seconds)
        assert clients.failures == []
        assert fleet.faults() == []
        assert clients.issued > seconds
        with fleet.client(0) as client:
            states = {order["state"] for order in orders_of(client).values()}
        assert states == {"issued"}
        asked = ca.books.entries(Operation.SUBMIT)
        assert ca.books.mixed() == []
        assert len({entry.key_generation for entry in asked}) > seconds / 2, "pairs were swapped"
        assert all(entry.key_generation == entry.secret_generation for entry in asked)
        assert ca.books.doubled() == {}


@pytest.mark.timeout(120)
def test_no_order_fails_and_no_pair_is_mixed(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    check(10, database_target, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_for_a_minute(database_target: DatabaseTarget, tmp_path: Path) -> None:
    check(60, database_target, tmp_path)
