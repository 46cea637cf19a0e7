"""What every connector promises of a revocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certctl.connectors.contract import ReleasesHolds
from certctl.domain.revocations import RevocationReason
from tests.conformance.driver import for_drivers
from tests.conformance.mischief import UNSURE, Mischief, Operation

if TYPE_CHECKING:
    from tests.conformance.world import Json, World

pytestmark = pytest.mark.anyio


async def revoke(world: World, certificate: Json, reason: str = "superseded") -> None:
    await world.post(f"certificates/{certificate['id']}/revoke", {"reason": reason})


def serial_of(certificate: Json) -> str:
    return str(certificate["version"]["serial"])


@for_drivers(representative=True, peer=False)
async def test_every_reason_reaches_the_ca(world: World) -> None:
    connector = world.plane.services.catalog.issuer(world.issuer_id).connector
    assert connector is not None
    reasons = [
        reason
        for reason in RevocationReason
        if reason is not RevocationReason.CERTIFICATE_HOLD or connector.abilities.hold
    ]
    certificates = [await world.issue() for _ in reasons]
    for certificate, reason in zip(certificates, reasons, strict=True):
        await revoke(world, certificate, reason.value)
    for certificate, reason in zip(certificates, reasons, strict=True):
        found = await world.revocation_until(certificate, "confirmed")
        assert found["reason"] == reason.value
        if world.given_peer is not None:
            told = world.driver.reasons.get(reason, reason.value)
            assert world.peer.revoked(serial_of(certificate)) == told


@for_drivers(representative=True, peer=False)
async def test_a_hold_is_taken_back_where_there_are_holds(world: World) -> None:
    connector = world.plane.services.catalog.issuer(world.issuer_id).connector
    assert connector is not None
    if not connector.abilities.hold:
        assert not isinstance(connector, ReleasesHolds)
        return
    assert isinstance(connector, ReleasesHolds)
    certificate = await world.issue()
    await revoke(world, certificate, "certificateHold")
    await world.revocation_until(certificate, "confirmed")
    await world.post(f"certificates/{certificate['id']}/release")
    await world.revocation_until(certificate, "none")
    assert (await world.get(f"certificates/{certificate['id']}"))["status"] == "issued"


@for_drivers(representative=True)
async def test_what_somebody_else_revoked_is_revoked(world: World) -> None:
    certificate = await world.issue()
    world.peer.revoke(serial_of(certificate))
    await revoke(world, certificate)
    await world.revocation_until(certificate, "confirmed")


@for_drivers(
    Mischief.PENDING, representative=True, on=[Operation.REVOKE, Operation.REVOCATION_POLL]
)
async def test_a_revocation_that_is_worked_on_is_asked_for(world: World) -> None:
    certificate = await world.issue()
    world.peer.misbehave(Mischief.PENDING, on=Operation.REVOKE)
    world.peer.misbehave(Mischief.PENDING, on=Operation.REVOCATION_POLL)
    await revoke(world, certificate)
    await world.revocation_until(certificate, "confirmed")
    assert world.peer.revoked(serial_of(certificate)) is not None


@for_drivers(Mischief.REFUSED, representative=True, on=[Operation.REVOKE])
async def test_a_refused_revocation_is_said_and_can_be_tried_again(world: World) -> None:
    certificate = await world.issue()
    world.peer.misbehave(Mischief.REFUSED, on=Operation.REVOKE)
    await revoke(world, certificate)
    found = await world.revocation_until(certificate, "refused")
    assert world.driver.refusal in found["problem"]
    assert world.peer.revoked(serial_of(certificate)) is None
    await revoke(world, certificate)
    await world.revocation_until(certificate, "confirmed")
    assert world.peer.revoked(serial_of(certificate)) == "superseded"


@for_drivers(
    *UNSURE,
    Mischief.RATE_LIMITED,
    Mischief.RESET_BEFORE,
    Mischief.FORBIDDEN,
    representative=True,
    on=[Operation.REVOKE],
)
async def test_a_revocation_is_told_until_it_is_heard(world: World) -> None:
    for mischief in (
        *UNSURE,
        Mischief.RATE_LIMITED,
        Mischief.RESET_BEFORE,
        Mischief.FORBIDDEN,
    ):
        certificate = await world.issue()
        world.peer.misbehave(mischief, on=Operation.REVOKE)
        await revoke(world, certificate)
        await world.revocation_until(certificate, "confirmed")
        assert world.peer.revoked(serial_of(certificate)) == "superseded", mischief
