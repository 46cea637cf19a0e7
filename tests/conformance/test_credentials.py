"""What every connector promises when the CA does not take its credentials, or its account is empty.

An order costs nothing then: it is neither lost nor counted, the CA is left alone, and one alert is
raised, not one for each order.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.conformance.driver import for_drivers
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.world import SCHEDULE, open_world, outcomes

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database
    from tests.conformance.driver import Driver, OpenAccount, Pair, Peer
    from tests.conformance.world import World

pytestmark = pytest.mark.anyio

#: A circuit is probed after six seconds: before that, only what a test does can close it.
PATIENT = replace(SCHEDULE, scale=0.1)
#: On a slow machine it may have been probed.
PROBES = 2


@for_drivers(Mischief.UNAUTHORIZED, representative=True)
async def test_a_locked_account_is_one_alert_and_heals_with_other_credentials(
    own_database: Database, tmp_path: Path, driver: Driver, peer: Peer
) -> None:
    async with open_world(own_database, tmp_path, driver, peer, schedule=PATIENT) as world:
        peer.lock(world.open_account)
        orders = [await world.order() for _ in range(3)]
        await world.until_condition("open")
        before = peer.asked()
        orders += [await world.order() for _ in range(16)]
        await asyncio.sleep(0.3)
        assert peer.asked() - before <= PROBES, "the CA is left alone"
        condition = (await world.issuer())["condition"]
        assert driver.locked in condition["problem"]
        assert await world.audited("issuer.circuit_opened") == 1
        for order_id in orders:
            order = await world.look(order_id)
            assert (order["state"], order["attempts"]) == ("ready", 0)
            assert "circuit" in order["waits_for"]
        await world.change(peer.open_account(tmp_path).settings)
        for order_id in orders:
            order = await world.until(order_id, "issued")
            assert await world.ordered(order_id) == 1
        assert await world.until_condition(None) is None


@for_drivers(Mischief.FORBIDDEN, representative=True)
async def test_a_forbidden_account_is_tried_again_by_itself(world: World) -> None:
    world.peer.misbehave(Mischief.FORBIDDEN)
    order = await world.until(await world.order(), "issued")
    assert outcomes(order)[0] == "unauthorized"
    assert order["attempts"] == len(order["history"]) - 1, "it is not counted"
    assert await world.ordered(order["id"]) == 1


@for_drivers(Mischief.UNAUTHORIZED, representative=True, asynchronous=True, on=[Operation.POLL])
async def test_a_pending_order_outlives_a_locked_account(world: World) -> None:
    world.peer.misbehave(Mischief.UNAUTHORIZED, on=Operation.POLL)
    order = await world.until(await world.order(), "issued")
    assert outcomes(order, "submit") == ["pending"]
    assert outcomes(order, "poll") == ["unauthorized", "issued"]
    assert await world.ordered(order["id"]) == 1


@for_drivers(Mischief.QUOTA, representative=True)
async def test_an_empty_account_is_waited_for(
    own_database: Database, tmp_path: Path, driver: Driver, peer: Peer
) -> None:
    schedule = replace(SCHEDULE, scale=0.0002)  # an hour is 0.7 seconds
    async with open_world(own_database, tmp_path, driver, peer, schedule=schedule) as world:
        peer.misbehave(Mischief.QUOTA)
        order_id = await world.order()
        order = await world.until(order_id, "issued")
        assert outcomes(order)[0] == "quota_exhausted"
        assert await world.audited("issuer.quota_exhausted") == 1
        first, second = await world.times(order_id)
        assert second - first >= 600
        assert await world.ordered(order_id) == 1


@for_drivers(Mischief.QUOTA, representative=True)
async def test_an_empty_account_is_shown_and_costs_no_attempt(
    own_database: Database, tmp_path: Path, driver: Driver, peer: Peer
) -> None:
    async with open_world(own_database, tmp_path, driver, peer, schedule=PATIENT) as world:
        peer.misbehave(Mischief.QUOTA, times=None)
        order_id = await world.order()
        condition = await world.until_condition("quota")
        assert condition is not None
        order = await world.look(order_id)
        assert (order["state"], order["attempts"]) == ("ready", 0)
        assert "quota" in order["waits_for"]
        peer.behave()
        await world.change(peer.open_account(tmp_path).settings)
        await world.until(order_id, "issued")
        assert await world.ordered(order_id) == 1


def swap(pair: Pair, account: tuple[str, str], which: str) -> None:
    """What `mv -f new.crt client.crt` does, or the same with the key."""
    path, text = {
        "certificate": (pair.certificate, account[0]),
        "key": (pair.key, account[1]),
    }[which]
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.chmod(0o600)
    beside.replace(path)


def pair_of(account: OpenAccount) -> Pair:
    assert account.pair is not None
    return account.pair


@pytest.mark.parametrize("first", ["certificate", "key"])
@for_drivers(mutual_tls=True, representative=True)
async def test_a_pair_that_is_changed_half_by_half_costs_no_order(
    own_database: Database, tmp_path: Path, driver: Driver, peer: Peer, first: str
) -> None:
    second = "key" if first == "certificate" else "certificate"
    async with open_world(own_database, tmp_path, driver, peer, schedule=PATIENT) as world:
        pair = pair_of(world.open_account)
        await world.issue()
        new = peer.new_pair(world.open_account)
        swap(pair, new, first)
        asked = peer.asked()
        order_id = await world.order()
        condition = await world.until_condition("open")
        order = await world.look(order_id)
        assert (order["state"], order["attempts"]) == ("ready", 0)
        assert outcomes(order) == ["misconfigured"]
        assert peer.asked() == asked, "nothing is sent with what was there before"
        assert condition is not None
        swap(pair, new, second)
        order = await world.until(order_id, "issued")
        assert await world.ordered(order_id) == 1
        assert await world.until_condition(None) is None


@for_drivers(
    Mischief.PENDING,
    mutual_tls=True,
    representative=True,
    asynchronous=True,
    on=[Operation.POLL],
)
async def test_a_pending_order_outlives_a_half_changed_pair(world: World) -> None:
    pair = pair_of(world.open_account)
    world.peer.misbehave(Mischief.PENDING, times=2, on=Operation.POLL)
    order_id = await world.order()
    await world.until(order_id, "pending")
    new = world.peer.new_pair(world.open_account)
    swap(pair, new, "key")
    await asyncio.sleep(0.1)
    assert (await world.look(order_id))["state"] in {"pending", "issued"}
    swap(pair, new, "certificate")
    order = await world.until(order_id, "issued")
    assert outcomes(order, "submit") == ["pending"]
    assert await world.ordered(order_id) == 1


@for_drivers(mutual_tls=True, representative=True)
async def test_a_missing_key_is_an_error_and_heals_when_it_is_back(
    own_database: Database, tmp_path: Path, driver: Driver, peer: Peer
) -> None:
    async with open_world(own_database, tmp_path, driver, peer, schedule=PATIENT) as world:
        pair = pair_of(world.open_account)
        await world.issue()
        key = pair.key.read_text()
        asked = peer.asked()
        pair.key.unlink()
        order_id = await world.order()
        await world.until_condition("open")
        assert peer.asked() == asked
        pair.key.write_text(key)
        await world.until(order_id, "issued")
