"""What every connector promises to show, and never to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.conformance.driver import for_drivers
from tests.conformance.mischief import UNSURE, Mischief, Operation

if TYPE_CHECKING:
    from tests.conformance.world import World

pytestmark = pytest.mark.anyio


@for_drivers(peer=False, representative=True)
async def test_a_test_of_the_connection_says_who_answered(world: World) -> None:
    found = await world.post(f"issuers/{world.issuer_id}/test")
    assert found["status"] == "ok", found
    assert found["detail"]
    assert (found["host"] is None) == (world.given_peer is None)
    assert (await world.issuer())["check"] == found
    if world.given_peer is not None:
        assert world.peer.asked(Operation.ACCOUNT) > 0


@for_drivers(Mischief.UNAUTHORIZED, representative=True)
async def test_a_test_that_fails_says_why_in_the_ca_s_words(world: World) -> None:
    world.peer.lock(world.open_account)
    found = await world.post(f"issuers/{world.issuer_id}/test")
    assert found["status"] == "failed"
    assert world.driver.locked in found["detail"]
    assert found["host"]
    assert (await world.issuer())["check"] == found


@for_drivers(Mischief.ERROR, Mischief.GARBAGE, representative=True, on=[Operation.ACCOUNT])
async def test_a_test_fails_where_the_answer_is_none(world: World) -> None:
    for mischief in (Mischief.ERROR, Mischief.GARBAGE):
        world.peer.misbehave(mischief, on=Operation.ACCOUNT)
        found = await world.post(f"issuers/{world.issuer_id}/test")
        assert found["status"] == "failed", mischief


@for_drivers(peer=False, representative=True)
async def test_no_secret_is_ever_shown(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    seen = [json.dumps(await world.issuer())]
    if world.given_peer is not None:
        await _have_everything_go_wrong(world)
    certificate = await world.issue()
    await world.post(f"certificates/{certificate['id']}/revoke", {"reason": "superseded"})
    await world.revocation_until(certificate, "confirmed")
    await world.post(f"issuers/{world.issuer_id}/test")
    lists = ("issuers", "issuers/types", "orders", "certificates", "revocations", "audit")
    orders = [f"orders/{line['id']}" for line in (await world.get("orders"))["data"]]
    seen += [json.dumps(await world.get(path)) for path in (*lists, *orders)]
    settings = {} if world.account is None else world.account.settings
    refused = {"name": "another", "type": world.driver.connector.name}
    answer = await world.plane.client.post(
        "/api/v1/issuers", json=refused | {"config": settings | {"nonsense": 1}}
    )
    assert answer.status_code == 422
    seen.append(answer.text)
    documents = ("/api/v1/openapi.json", "/metrics")
    seen += [(await world.plane.client.get(path)).text for path in documents]
    captured = capfd.readouterr()
    everything = "\n".join([*seen, captured.out, captured.err])
    # About one certificate of our own CA there may be nothing in the log.
    if world.given_peer is not None:
        assert world.issuer_id in captured.out, "the log was read"
    for secret in () if world.account is None else world.account.secrets:
        assert secret not in everything


async def _have_everything_go_wrong(world: World) -> None:
    """Orders and tests that fail in every way that has words of the CA in it."""
    possible = world.driver.mischief & {
        *UNSURE,
        Mischief.ECHO,
        Mischief.UNAUTHORIZED,
        Mischief.RATE_LIMITED,
        Mischief.REFUSED,
    }
    for mischief in sorted(possible):
        world.peer.misbehave(mischief)
        order = await world.until(await world.order(), "issued", "rejected", "uncertain")
        assert order["history"], mischief
        if Operation.ACCOUNT in world.driver.operations:
            world.peer.misbehave(mischief, on=Operation.ACCOUNT)
            await world.post(f"issuers/{world.issuer_id}/test")
        world.peer.behave()
