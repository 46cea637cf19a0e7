"""A CA that fails, processes that are killed and paused: every order comes to its end, once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from certctl.domain.keys import KeyType
from tests.conformance.stand_in import stand_in
from tests.support.chaos import FAULT_SHARE, IN_DOUBT, SETTINGS, WAYS, Ordeal, Plan
from tests.support.fleet import STAND_IN_PACKAGE, Wish, running_fleet
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from tests.conformance.stand_in import StandIn
    from tests.support.chaos import Orders
    from tests.support.targets import DatabaseTarget

# A server that starts again has slept through many scaled minutes, and finds orders parked: an hour
# is seven seconds here.
QUICK = SETTINGS | {"CERTCTL_SCHEDULE_SCALE": "0.002"}
CLASSES = ("idempotent", "lookup", "repeatable", "ask")


def issuer_id(recovery: str, asynchronous: bool) -> str:
    return f"iss-{recovery}-{'slow' if asynchronous else 'fast'}"


def configure(client: httpx2.Client, ca: StandIn, folder: Path) -> list[str]:
    """An issuer for every class of recovery, synchronous and asynchronous; their ids."""
    settings = ca.settings(ca.new_account(), folder)
    ids = []
    for recovery in CLASSES:
        for asynchronous in (False, True):
            body = {
                "id": issuer_id(recovery, asynchronous),
                "name": f"{recovery}, asynchronous: {asynchronous}",
                "type": "StandIn",
                "config": {**settings, "recovery": recovery, "asynchronous": asynchronous},
            }
            answer = client.post("/api/v1/issuers", json=body)
            assert answer.status_code == 201, answer.text
            ids.append(body["id"])
    return [str(found) for found in ids]


def wishes(issuers: list[str], number: int, label: str) -> list[Wish]:
    csr = make_csr(make_key(KeyType.P256), ["chaos.example.org"])
    return [
        Wish(
            f"{label}-{n}",
            {"issuer_id": issuers[n % len(issuers)], "csr": csr, "owner": f"{label}-{n}"},
        )
        for n in range(number)
    ]


def check_nothing_doubled(ordeal: Ordeal, ca: StandIn, orders: Orders) -> None:
    """Ordered twice was nothing but what may be: after a lost answer, and the history says so."""
    for reference in ca.books.doubled():
        assert orders[reference]["issuer_id"].startswith("iss-repeatable"), orders[reference]
        assert IN_DOUBT & set(ordeal.outcomes(reference))


def check_doubles_are_shown(ordeal: Ordeal, ca: StandIn, orders: Orders) -> None:
    for reference in ca.books.doubled():
        seen = set(ordeal.outcomes(reference))
        if orders[reference]["issuer_id"].startswith("iss-repeatable"):
            assert (IN_DOUBT | {"doubled"}) & seen, seen
        else:
            assert {"doubled", "perhaps_doubled"} & seen, (orders[reference], seen)


def run(plan: Plan, target: DatabaseTarget, folder: Path) -> None:
    with (
        stand_in(folder) as ca,
        running_fleet(target, folder, QUICK, STAND_IN_PACKAGE) as fleet,
        fleet.client(0) as client,
    ):
        issuers = configure(client, ca, folder)
        ordeal = Ordeal(plan, fleet, client, partial(wishes, issuers))
        # Only class `ask` leaves anything to a person.
        asking = {issuer_id("ask", False), issuer_id("ask", True)}
        ca.chaos(FAULT_SHARE, plan.seed, WAYS, seconds=1)
        orders = ordeal.kill()
        ordeal.check_ends(orders, asking)
        check_nothing_doubled(ordeal, ca, orders)
        orders = ordeal.pause()
        ordeal.check_ends(orders, asking)
        check_doubles_are_shown(ordeal, ca, orders)
        ordeal.check_the_end(orders)


@pytest.mark.timeout(400)
def test_every_order_comes_to_its_end_once(database_target: DatabaseTarget, tmp_path: Path) -> None:
    run(Plan(orders=160, kills=3, pauses=1), database_target, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_thousand_orders_thirty_kills_ten_pauses(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    run(Plan(orders=2_000, kills=30, pauses=10), database_target, tmp_path)
