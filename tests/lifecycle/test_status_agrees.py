"""Whatever was renewed, revoked, held and released: API, CRL and OCSP say the same."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from certctl.domain.errors import Conflict, InvalidInput
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.renewal import RenewalRequest
from certctl.storage.revocations import LEASES
from certctl.storage.versions import list_versions
from tests.support.clock import TurnableClock
from tests.support.pki import make_csr, make_key
from tests.support.status import Issued, StatusService, status_service

if TYPE_CHECKING:
    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio

HOLD = RevocationReason.CERTIFICATE_HOLD
STEPS = 40


@pytest.fixture
def clock() -> TurnableClock:
    """Stands still between the steps."""
    return TurnableClock()


@dataclass
class Model:
    """What should be so: each version's reason (None: good), newest and all versions, keys."""

    reasons: dict[str, RevocationReason | None] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    versions: dict[str, list[str]] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)

    def add(self, certificate_id: str, version_id: str, key: int) -> None:
        self.reasons[version_id] = None
        self.newest[certificate_id] = version_id
        self.versions.setdefault(certificate_id, []).append(version_id)
        self.keys[version_id] = key

    def revoke(self, version_ids: list[str], reason: RevocationReason) -> bool:
        """Whether it is possible; if so, it is done."""
        before = [self.reasons[version_id] for version_id in version_ids]
        if all(old not in {None, reason, HOLD} for old in before):
            return False
        for version_id, old in zip(version_ids, before, strict=True):
            if old in {None, HOLD}:
                self.reasons[version_id] = reason
        return True

    def can_renew(self, certificate_id: str, key: int) -> bool:
        if self.reasons[self.newest[certificate_id]] is not None:
            return False
        return all(
            self.keys[version_id] != key
            or self.reasons[version_id] is not RevocationReason.KEY_COMPROMISE
            for version_id in self.versions[certificate_id]
        )


async def tell(service: StatusService) -> None:
    """Carry out what waits to be told, as the scheduler does."""
    clock = service.database.clock
    step = service.its.tell.step
    rows = await service.database.write(
        lambda t: LEASES.claim(t, owner="test", now_ms=clock.now_ms(), lease_ms=1000, limit=100)
    )
    for row in rows:
        await step(row)


async def renew(service: StatusService, model: Model, certificate_id: str, key: int) -> None:
    request = RenewalRequest(certificate_id, make_csr(make_key(KeyType.P256, key)))
    possible = model.can_renew(certificate_id, key)
    try:
        enrolled = await service.its.renewal.renew(SYSTEM, request)
    except (Conflict, InvalidInput):
        assert not possible
        return
    assert possible
    version = enrolled.certificate.version
    assert version is not None
    model.add(certificate_id, version.id, key)


async def revoke(
    service: StatusService,
    model: Model,
    certificate_id: str,
    version_id: str | None,
    reason: RevocationReason,
) -> None:
    ids = model.versions[certificate_id] if version_id is None else [version_id]
    possible = model.revoke(ids, reason)
    try:
        await service.its.revocations.revoke(SYSTEM, certificate_id, reason, version_id)
    except Conflict:
        assert not possible
        return
    assert possible


async def release(service: StatusService, model: Model, certificate_id: str) -> None:
    held = [v for v in model.versions[certificate_id] if model.reasons[v] is HOLD]
    try:
        await service.its.revocations.release(SYSTEM, certificate_id)
    except Conflict:
        assert not held
        return
    assert held
    await tell(service)
    for version_id in held:
        model.reasons[version_id] = None


async def check(service: StatusService, model: Model) -> None:
    crl = await service.crl()
    listed = {entry.serial_number: entry for entry in crl}
    revoked = 0
    for certificate_id, ids in model.versions.items():
        versions = await service.database.read(
            partial(list_versions, certificate_id=certificate_id, limit=100)
        )
        assert [version.id for version in versions] == ids[::-1]
        for version in versions:
            reason = model.reasons[version.id]
            recorded = None if version.revocation is None else version.revocation.reason
            assert recorded is reason
            issued = Issued(
                certificate_id,
                version.id,
                x509.load_der_x509_certificate(version.der),
                service.ca,
            )
            answer = await service.ask(issued)
            entry = listed.get(issued.serial)
            if reason is None:
                assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
                assert entry is None
                continue
            revoked += 1
            assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
            told = None if answer.revocation_reason is None else answer.revocation_reason.value
            assert told == (None if reason is RevocationReason.UNSPECIFIED else reason.value)
            assert entry is not None
            assert entry.revocation_date_utc == answer.revocation_time_utc
    assert len(listed) == revoked


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_history(database: Database, clock: TurnableClock, seed: int) -> None:
    chance = random.Random(seed)
    model = Model()
    numbers = []
    async with status_service(database) as service:
        for number in range(3):
            issued = await service.issue(f"h{number}.example.org")
            model.add(issued.id, issued.version_id, 0)
        for _ in range(STEPS):
            clock.turn(seconds=2)
            certificate_id = chance.choice(sorted(model.versions))
            version_id = chance.choice([None, *model.versions[certificate_id]])
            action = chance.choice(["renew", "renew", "renew", "revoke", "release"])
            if action == "renew":
                await renew(service, model, certificate_id, chance.randrange(3))
            elif action == "revoke":
                reason = chance.choice([*RevocationReason, HOLD, HOLD])
                await revoke(service, model, certificate_id, version_id, reason)
            else:
                await release(service, model, certificate_id)
            if chance.random() < 0.2:
                clock.turn(seconds=2)
                await service.make_crls()
                numbers.append((await service.crl_row()).number)
        clock.turn(seconds=2)
        await service.make_crls()
        await check(service, model)
        assert len({model.reasons[v] for v in model.reasons}) > 2  # the history was not dull
    assert numbers == sorted(numbers)
