"""What every connector promises of an order, at once and later."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from certctl.connectors.contract import Lookup, Polls
from certctl.domain.keys import KeyType
from certctl.domain.orders import Recovery
from certctl.pki.certificates import names_of, split_pem_certificates
from certctl.pki.keys import generate_key
from tests.conformance.driver import for_drivers
from tests.conformance.mischief import UNSURE, Mischief, Operation
from tests.conformance.world import NAMES, SCHEDULE, open_world, outcomes
from tests.support.pki import make_csr

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database
    from tests.conformance.driver import Driver, Peer
    from tests.conformance.world import Json, World

pytestmark = pytest.mark.anyio


def serial_of(certificate: Json) -> str:
    return str(certificate["version"]["serial"])


@for_drivers(peer=False)
async def test_a_certificate_comes_with_a_chain_that_verifies(world: World) -> None:
    certificate = await world.issue()
    (leaf,) = split_pem_certificates(certificate["version"]["certificate"])
    chain = split_pem_certificates(certificate["version"]["chain"])
    assert {name.value for name in names_of(leaf)} == set(NAMES)
    for lower, upper in zip([leaf, *chain], chain, strict=False):
        lower.verify_directly_issued_by(upper)
    if world.driver.anchor is not None:
        above = world.driver.anchor(world.peer)
        if chain[-1] != above:
            chain[-1].verify_directly_issued_by(above)
    order = await world.look(certificate["order_id"])
    assert order["waits_for"] is None
    assert order["problem"] is None
    if world.given_peer is not None:
        assert await world.ordered(order["id"]) == 1


@for_drivers(peer=False)
async def test_a_renewal_with_a_new_key_is_the_next_version(world: World) -> None:
    certificate = await world.issue()
    csr = make_csr(generate_key(KeyType.P256), NAMES)
    answer = await world.post(f"certificates/{certificate['id']}/renew", {"csr": csr})
    order = await world.until(answer["order_id"], "issued")
    renewed = await world.certificate(order)
    assert serial_of(renewed) != serial_of(certificate)
    versions = await world.get(f"certificates/{certificate['id']}/versions")
    assert [line["serial"] for line in versions["data"]] == [
        serial_of(renewed),
        serial_of(certificate),
    ]
    if world.given_peer is not None:
        assert await world.ordered(order["id"]) == 1


@for_drivers(peer=False)
async def test_a_connector_is_of_the_class_that_its_driver_says(world: World) -> None:
    connector = world.plane.services.catalog.issuer(world.issuer_id).connector
    assert connector is not None
    if world.given_peer is not None:
        await world.post(f"issuers/{world.issuer_id}/test")  # it may be the CA that decides
    assert connector.recovery is world.driver.recovery
    assert isinstance(connector, Lookup) or connector.recovery is not Recovery.LOOKUP
    assert isinstance(connector, Polls) or not world.driver.asynchronous


@for_drivers(asynchronous=True)
async def test_a_pending_order_is_asked_for_until_it_is_issued(world: World) -> None:
    world.peer.misbehave(Mischief.PENDING, times=2, on=Operation.POLL)
    order = await world.until(await world.order(), "issued")
    assert outcomes(order, "submit") == ["pending"]
    assert outcomes(order, "poll") == ["pending", "pending", "issued"]
    assert order["reference"]
    assert await world.ordered(order["id"]) == 1


@for_drivers(Mischief.PENDING, asynchronous=False)
async def test_an_answer_that_comes_later_than_usual_is_waited_for(world: World) -> None:
    world.peer.misbehave(Mischief.PENDING)
    order = await world.until(await world.order(), "issued")
    assert outcomes(order) == ["pending", "issued"]
    assert await world.ordered(order["id"]) == 1


@for_drivers(Mischief.PENDING, representative=True, asynchronous=True, on=[Operation.POLL])
async def test_an_order_that_never_ends_expires(
    own_database: Database, tmp_path: Path, driver: Driver, peer: Peer
) -> None:
    schedule = replace(SCHEDULE, order_max_age=0.3)
    async with open_world(own_database, tmp_path, driver, peer, schedule=schedule) as world:
        peer.misbehave(Mischief.PENDING, times=None, on=Operation.POLL)
        order = await world.until(await world.order(), "expired")
        assert set(outcomes(order)) == {"pending"}


@for_drivers(Mischief.REFUSED, asynchronous=False)
async def test_a_refusal_is_final_and_in_the_ca_s_words(world: World) -> None:
    world.peer.misbehave(Mischief.REFUSED)
    await assert_refused(world, await world.order())


@for_drivers(Mischief.REFUSED, asynchronous=True, on=[Operation.POLL])
async def test_a_later_refusal_is_final_and_in_the_ca_s_words(world: World) -> None:
    world.peer.misbehave(Mischief.REFUSED, on=Operation.POLL)
    await assert_refused(world, await world.order())


async def assert_refused(world: World, order_id: str) -> None:
    order = await world.until(order_id, "rejected")
    assert world.driver.refusal in order["problem"]
    assert order["due_at"] is None
    assert order["history"][-1]["code"]
    certificate = await world.certificate(order)
    assert (certificate["status"], certificate["version"]) == ("failed", None)


@for_drivers(Mischief.WRONG_KEY, Mischief.WRONG_NAMES, Mischief.EXPIRED)
async def test_another_certificate_than_asked_for_is_not_kept(world: World) -> None:
    on = Operation.POLL if world.driver.asynchronous else Operation.SUBMIT
    for mischief in (Mischief.WRONG_KEY, Mischief.WRONG_NAMES, Mischief.EXPIRED):
        world.peer.misbehave(mischief, on=on)
        order = await world.until(await world.order(), "rejected")
        assert outcomes(order)[-1] == "wrong_certificate", mischief
        certificate = await world.certificate(order)
        assert certificate["version"] is None, mischief
        versions = await world.get(f"certificates/{certificate['id']}/versions")
        assert versions["data"] == [], mischief


@for_drivers(Mischief.RATE_LIMITED)
async def test_not_now_is_asked_again_and_counted(world: World) -> None:
    world.peer.misbehave(Mischief.RATE_LIMITED, times=2)
    order = await world.until(await world.order(), "issued")
    assert outcomes(order, "submit")[:2] == ["rate_limited", "rate_limited"]
    assert order["attempts"] == len(order["history"])
    assert await world.ordered(order["id"]) == 1


@for_drivers(Mischief.RATE_LIMITED_UNTIL, representative=True)
async def test_not_before_is_kept_to(world: World) -> None:
    world.peer.misbehave(Mischief.RATE_LIMITED_UNTIL, seconds=1)
    order = await world.until(await world.order(), "issued")
    assert outcomes(order, "submit")[0] == "rate_limited"
    first, second = await world.times(order["id"])
    assert second - first >= 990


@for_drivers(
    Mischief.RATE_LIMITED_UNTIL, representative=True, asynchronous=True, on=[Operation.POLL]
)
async def test_a_poll_may_be_told_to_come_later(world: World) -> None:
    world.peer.misbehave(Mischief.RATE_LIMITED, on=Operation.POLL)
    world.peer.misbehave(Mischief.RATE_LIMITED_UNTIL, on=Operation.POLL, seconds=1)
    order = await world.until(await world.order(), "issued")
    assert outcomes(order, "poll") == ["rate_limited", "rate_limited", "issued"]


@for_drivers(Mischief.RESET_BEFORE, recovery=set(Recovery) - {Recovery.ASK})
async def test_what_was_lost_on_its_way_there_is_ordered_again(world: World) -> None:
    world.peer.misbehave(Mischief.RESET_BEFORE)
    order = await world.until(await world.order(), "issued")
    assert await world.ordered(order["id"]) == 1
    assert outcomes(order)[0] == "no_answer"


@for_drivers(*UNSURE, recovery=[Recovery.IDEMPOTENT, Recovery.LOOKUP])
async def test_an_answer_that_is_lost_is_found_and_never_ordered_twice(world: World) -> None:
    for mischief in UNSURE:
        world.peer.misbehave(mischief)
        order = await world.until(await world.order(), "issued")
        assert outcomes(order)[0] in {"no_answer", "bad_answer"}, mischief
        assert await world.ordered(order["id"]) == 1, mischief


@for_drivers(*UNSURE, recovery=[Recovery.REPEATABLE])
async def test_a_spare_certificate_is_possible_and_shown(world: World) -> None:
    for mischief in UNSURE:
        world.peer.misbehave(mischief)
        order = await world.until(await world.order(), "issued")
        assert outcomes(order)[0] in {"no_answer", "bad_answer"}, mischief
        assert await world.ordered(order["id"]) == 2, mischief
        submissions = [one for one in order["history"] if one["action"] == "submit"]
        assert len(submissions) == 2, "each time that it was ordered is in its history"


@for_drivers(*UNSURE, recovery=[Recovery.ASK])
async def test_where_only_a_person_can_tell_nothing_is_ordered_again(world: World) -> None:
    for mischief in UNSURE:
        world.peer.misbehave(mischief)
        order = await world.until(await world.order(), "uncertain")
        assert await world.ordered(order["id"]) == 1, mischief
        assert order["due_at"] is None
        assert "a person" in order["waits_for"]
        await world.post(
            f"orders/{order['id']}/resolve", {"state": "rejected", "reason": "not there"}
        )
        assert (await world.look(order["id"]))["state"] == "rejected"


@for_drivers(Mischief.RESET_BEFORE, recovery=[Recovery.ASK])
async def test_a_person_has_it_ordered_again(world: World) -> None:
    world.peer.misbehave(Mischief.RESET_BEFORE)
    order = await world.until(await world.order(), "uncertain")
    assert await world.ordered(order["id"]) == 0
    await world.post(f"orders/{order['id']}/resolve", {"state": "ready"})
    await world.until(order["id"], "issued")
    assert await world.ordered(order["id"]) == 1


@for_drivers(*UNSURE, asynchronous=True, on=[Operation.POLL])
async def test_a_poll_that_fails_is_made_again(world: World) -> None:
    for mischief in UNSURE:
        world.peer.misbehave(mischief, on=Operation.POLL)
    order = await world.until(await world.order(), "issued")
    assert outcomes(order, "submit") == ["pending"]
    *failed, last = outcomes(order, "poll")
    assert last == "issued"
    # A transport may have asked again by itself where the connection broke off.
    assert set(failed) == {"no_answer", "bad_answer"}
    assert len(failed) >= 3
    assert await world.ordered(order["id"]) == 1


@for_drivers(Mischief.UNKNOWN, asynchronous=True, on=[Operation.POLL])
async def test_a_ca_that_forgets_an_order_once_is_asked_again(world: World) -> None:
    world.peer.misbehave(Mischief.UNKNOWN, on=Operation.POLL)
    order = await world.until(await world.order(), "issued")
    assert outcomes(order, "poll") == ["unknown_order", "issued"]


@for_drivers(Mischief.UNKNOWN, representative=True, asynchronous=True, on=[Operation.POLL])
async def test_a_ca_that_keeps_not_knowing_an_order_is_a_person_s_affair(
    own_database: Database, tmp_path: Path, driver: Driver, peer: Peer
) -> None:
    schedule = replace(SCHEDULE, scale=0.0001)  # an hour is a third of a second
    async with open_world(own_database, tmp_path, driver, peer, schedule=schedule) as world:
        peer.misbehave(Mischief.UNKNOWN, times=None, on=Operation.POLL)
        order = await world.until(await world.order(), "uncertain")
        assert set(outcomes(order, "poll")) == {"unknown_order"}
        assert len(outcomes(order, "poll")) > 1
        assert await world.ordered(order["id"]) == 1


@for_drivers(Mischief.SLOW)
async def test_a_client_that_goes_away_loses_nothing(world: World) -> None:
    world.peer.misbehave(Mischief.SLOW, seconds=0.5)
    known = await world.orders()
    leaving = asyncio.create_task(world.order(wait=20))
    order_id = await world.next_order(known)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    order = await world.until(order_id, "issued")
    assert await world.ordered(order["id"]) == 1
    assert (await world.certificate(order))["version"] is not None


@for_drivers(Mischief.SLOW, representative=True)
async def test_a_wait_that_ends_loses_nothing(world: World) -> None:
    world.peer.misbehave(Mischief.SLOW, seconds=1.3)
    order_id = await world.order(wait=1)
    assert (await world.look(order_id))["state"] in {"submitting", "pending"}
    await world.until(order_id, "issued")
    assert await world.ordered(order_id) == 1
