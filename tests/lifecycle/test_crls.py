"""CRLs: when one is made, what is in it, and that no number ever stands for two."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certctl.ca.crl import CrlEntry, keeps_entry
from certctl.connectors.errors import Misconfigured
from certctl.connectors.registry import connector_type
from certctl.domain.clock import to_ms
from certctl.domain.errors import NotFound, Unavailable
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from certctl.pki.certificates import chain_pem
from certctl.storage import crls, tables
from certctl.storage.crls import LEASES, crl_entries, get_crl, mark_crl_due, store_crl
from certctl.storage.database import Transaction
from certctl.storage.leases import TakenOver
from tests.support.clock import TurnableClock
from tests.support.control_plane import add_issuer
from tests.support.pki import NOW_MS, make_ca, make_key, make_root
from tests.support.scripted_ca import ScriptedCA, finding
from tests.support.status import (
    ISSUER,
    StatusService,
    change_issuer,
    count_reads,
    status_service,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from certctl.storage.crls import CrlRecord
    from certctl.storage.database import Database
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

DAY = 86_400_000
HALF_A_DAY = DAY // 2


@pytest.fixture
def clock() -> TurnableClock:
    """Here time is turned by hand."""
    return TurnableClock(NOW_MS)


@pytest.fixture
async def service(
    database: Database, database_target: DatabaseTarget
) -> AsyncIterator[StatusService]:
    """A process that follows its database and has made its first CRL."""
    async with status_service(database, listen_url=database_target.url) as running:
        await running.its.crls.ensure()
        assert await running.make_crls() == 1
        yield running


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def serials(crl: x509.CertificateRevocationList) -> set[int]:
    return {entry.serial_number for entry in crl}


async def test_the_first_one_is_made_without_anything_revoked(
    service: StatusService, clock: TurnableClock
) -> None:
    crl = await service.crl()
    assert (number_of(crl), serials(crl)) == (1, set())
    assert to_ms(crl.last_update_utc) == clock.now_ms()
    assert crl.next_update_utc is not None
    assert to_ms(crl.next_update_utc) == clock.now_ms() + DAY
    assert await service.make_crls() == 0


async def test_the_next_one_is_made_at_half_its_life(
    service: StatusService, clock: TurnableClock
) -> None:
    clock.turn(seconds=12 * 3600 - 1)
    assert await service.make_crls() == 0
    clock.turn(seconds=1)
    assert await service.make_crls() == 1
    assert number_of(await service.crl()) == 2


async def test_a_revocation_is_in_the_next_one_which_is_made_a_second_later(
    service: StatusService, clock: TurnableClock
) -> None:
    issued = [await service.issue() for _ in range(3)]
    reasons = [
        RevocationReason.UNSPECIFIED,
        RevocationReason.KEY_COMPROMISE,
        RevocationReason.CERTIFICATE_HOLD,
    ]
    at = clock.now_ms()
    for one, reason in zip(issued, reasons, strict=True):
        await service.revoke(one, reason)
        assert await service.make_crls() == 0, "more may follow"
    clock.turn(seconds=1)
    assert await service.make_crls() == 1
    crl = await service.crl()
    for one, reason in zip(issued, reasons, strict=True):
        entry = crl.get_revoked_certificate_by_serial_number(one.serial)
        assert entry is not None
        assert to_ms(entry.revocation_date_utc) == at
        named = [extension.value for extension in entry.extensions]
        if reason is RevocationReason.UNSPECIFIED:  # RFC 5280 §5.3.1: should be left out
            assert named == []
        else:
            assert [value.reason.value for value in named] == [reason.value]
    assert await service.make_crls() == 0


async def test_what_has_expired_is_listed_once_more_and_then_left_out(
    service: StatusService, clock: TurnableClock
) -> None:
    issued = await service.issue(days=1)
    lasting = await service.issue(days=60)
    for one in (issued, lasting):
        await service.revoke(one)
    listed = []
    for _ in range(5):
        clock.turn(seconds=12 * 3600)
        assert await service.make_crls() == 1
        listed.append(serials(await service.crl()))
    both, left = {issued.serial, lasting.serial}, {lasting.serial}
    # It ends five minutes short of a day, as it began five minutes before it was issued.
    assert listed == [both, both, left, left, left]


@pytest.mark.parametrize("previous", [None, 0, 999, 1000, 1001, 2**40])
async def test_the_entries_that_are_kept_are_those_of_the_rule(
    service: StatusService, database: Database, previous: int | None
) -> None:
    issued = [await service.issue() for _ in range(4)]
    ends = [999, 1000, 1001, 2**41]
    for one, end in zip(issued, ends, strict=True):
        await service.revoke(one)
        statement = (
            tables.revocations.update()
            .where(tables.revocations.c.version_id == one.version_id)
            .values(not_after=end)
        )
        await database.write(partial(Transaction.execute, statement=statement))
    kept = await database.read(lambda c: list(crl_entries(c, ISSUER, previous)))
    assert {entry.serial for entry in kept} == {
        one.serial for one, end in zip(issued, ends, strict=True) if keeps_entry(end, previous)
    }
    assert CrlEntry(issued[3].serial, NOW_MS, RevocationReason.KEY_COMPROMISE) in kept


async def test_numbers_go_on_after_a_restart_and_in_another_process(
    database: Database, clock: TurnableClock
) -> None:
    numbers = []
    for _ in range(3):
        async with status_service(database) as one, status_service(database) as other:
            for service in (one, other):
                await service.its.crls.ensure()
            for service in (one, other, other, one):
                clock.turn(seconds=12 * 3600)
                assert await service.make_crls() == 1
                numbers.append(number_of(await service.crl()))
    assert numbers == list(range(1, 13))


async def test_who_was_overtaken_stores_nothing(
    service: StatusService, database: Database, clock: TurnableClock
) -> None:
    async def claim() -> Any:
        (row,) = await database.write(
            lambda t: LEASES.claim(t, owner="test", now_ms=clock.now_ms(), lease_ms=60_000, limit=1)
        )
        return row

    clock.turn(seconds=12 * 3600)
    slow = await claim()
    clock.turn(seconds=61)
    fast = await claim()
    assert (await service.its.crls.current(ISSUER)).number == 1
    assert await service.its.crls.step(fast)
    assert (await service.its.crls.current(ISSUER)).number == 2, "at once where it was made"
    stored = await service.crl_row()
    with pytest.raises(TakenOver):
        await service.its.crls.step(slow)
    assert await service.crl_row() == stored
    assert stored.number == 2


@pytest.mark.parametrize("seconds", [0, 5])
async def test_a_revocation_while_one_is_made_is_in_the_one_after(
    service: StatusService,
    database: Database,
    clock: TurnableClock,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    """Even when the clock shows the same millisecond all the time."""
    first, second = await service.issue(), await service.issue()
    await service.revoke(first)
    clock.turn(seconds=1)
    main = asyncio.get_running_loop()
    sign = service.connector.sign_crl

    def slow(*arguments: Any, **options: Any) -> bytes:
        monkeypatch.setattr(service.connector, "sign_crl", sign)
        asyncio.run_coroutine_threadsafe(service.revoke(second), main).result(10)
        clock.turn(seconds=seconds)
        return sign(*arguments, **options)

    monkeypatch.setattr(service.connector, "sign_crl", slow)
    assert await service.make_crls() == 1
    assert serials(await service.crl()) == {first.serial}
    clock.turn(seconds=1)
    assert await service.make_crls() == 1
    assert serials(await service.crl()) == {first.serial, second.serial}
    assert await service.make_crls() == 0


async def test_marking_makes_it_due_earlier_and_never_later(
    service: StatusService, database: Database, clock: TurnableClock
) -> None:
    now = clock.now_ms()
    for at, due in (
        (now + 2 * DAY, now + HALF_A_DAY),
        (now + 5, now + 5),
        (now + 6, now + 5),
        (now - 7, now - 7),
    ):
        before = await service.crl_row()
        await database.write(partial(mark_crl_due, issuer_id=ISSUER, at_ms=at))
        after = await service.crl_row()
        assert after.due_at == due
        assert after.updated_at > before.updated_at, "so that whoever is at it knows"


async def test_marking_an_issuer_without_a_row_makes_one(
    database: Database, clock: TurnableClock
) -> None:
    async with status_service(database) as service:
        await database.write(lambda t: mark_crl_due(t, ISSUER, clock.now_ms()))
        row = await service.crl_row()
        assert (row.number, row.der, row.due_at) == (0, None, clock.now_ms())
        with pytest.raises(Unavailable):
            await service.its.crls.current(ISSUER)
        await service.make_crls()
        assert number_of(await service.crl()) == 1


async def test_a_failure_is_recorded_and_tried_again_and_the_last_one_is_served(
    service: StatusService, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = service.connector.sign_crl

    def refuse(*_: Any, **__: Any) -> bytes:
        raise Misconfigured("the key is not there")

    monkeypatch.setattr(service.connector, "sign_crl", refuse)
    clock.turn(seconds=12 * 3600)
    assert await service.make_crls() == 1
    row = await service.crl_row()
    assert (row.number, row.problem) == (1, "the key is not there")
    assert row.due_at == clock.now_ms() + 60_000
    assert number_of(await service.crl()) == 1
    monkeypatch.setattr(service.connector, "sign_crl", sign)
    clock.turn(seconds=60)
    assert await service.make_crls() == 1
    row = await service.crl_row()
    assert (row.number, row.problem) == (2, None)


async def test_an_issuer_whose_settings_do_not_work_keeps_its_last_one(
    database: Database, clock: TurnableClock
) -> None:
    async with status_service(database) as service:
        await service.its.crls.ensure()
        await service.make_crls()
    await change_issuer(database, source="api", config='{"crl_validity_hours": "many"}')
    async with status_service(database) as service:
        assert service.catalog.issuer(ISSUER).connector is None
        assert (await service.its.crls.current(ISSUER)).number == 1
        clock.turn(days=1)
        assert await service.make_crls() == 1
        row = await service.crl_row()
        assert row.number == 1
        assert row.problem is not None
        assert "crl_validity_hours" in row.problem


async def test_another_key_of_the_ca_makes_another_one_at_once(
    database: Database, clock: TurnableClock, tmp_path: Path
) -> None:
    async with status_service(database) as service:
        await service.its.crls.ensure()
        await service.make_crls()
        root = service.ca
    key = make_key(KeyType.P256, which=5)
    certificate = make_ca(key, make_root())
    (tmp_path / "ca.pem").write_text(chain_pem([certificate]))
    (tmp_path / "ca.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "ca.key").chmod(0o600)
    environment = {
        "CERTCTL_CA_CERT_PATH": str(tmp_path / "ca.pem"),
        "CERTCTL_CA_KEY_PATH": str(tmp_path / "ca.key"),
    }
    async with status_service(database, environment=environment) as service:
        assert service.ca != root
        await service.its.crls.ensure()
        assert await service.make_crls() == 1
        crl = await service.crl()
        assert crl.issuer == certificate.subject
        assert number_of(crl) == 2
        await service.its.crls.ensure()
        assert await service.make_crls() == 0, "once will do"


async def test_a_shorter_life_counts_for_the_present_one(
    database: Database, clock: TurnableClock
) -> None:
    async with status_service(database) as service:
        await service.its.crls.ensure()
        await service.make_crls()
    environment = {"CERTCTL_CA_CRL_VALIDITY_HOURS": "2"}
    async with status_service(database, environment=environment) as service:
        await service.its.crls.ensure()
        clock.turn(seconds=3599)
        assert await service.make_crls() == 0
        clock.turn(seconds=1)
        assert await service.make_crls() == 1
        crl = await service.crl()
        assert crl.next_update_utc is not None
        assert crl.next_update_utc - crl.last_update_utc == timedelta(hours=2)


async def test_a_disabled_issuer_still_gets_its_crls(
    service: StatusService, database: Database, clock: TurnableClock
) -> None:
    issued = await service.issue()
    await change_issuer(database, enabled=False)
    await service.catalog.refresh()
    await service.revoke(issued)
    clock.turn(seconds=1)
    assert await service.make_crls() == 1
    assert serials(await service.crl()) == {issued.serial}


async def test_the_newest_is_kept_in_memory_until_there_is_another(
    service: StatusService, database: Database, clock: TurnableClock
) -> None:
    first = await service.its.crls.current(ISSUER)
    reads = count_reads(database, tables.crls)
    for _ in range(5):
        assert await service.its.crls.current(ISSUER) is first
    assert reads == []
    clock.turn(seconds=12 * 3600)
    await service.make_crls()
    second = await service.its.crls.current(ISSUER)
    assert (first.number, second.number) == (1, 2)
    assert first.etag != second.etag
    await database.close()
    assert await service.its.crls.current(ISSUER) is second


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
async def test_a_process_that_does_not_listen_never_serves_the_one_before(
    database: Database, service: StatusService, clock: TurnableClock
) -> None:
    async with status_service(database) as deaf:
        for number in range(1, 10):
            assert number_of(await deaf.crl()) == number
            clock.turn(seconds=12 * 3600)
            await service.make_crls()


async def test_who_signs_none_here_has_none(database: Database) -> None:
    ca = ScriptedCA(["issue"])
    async with status_service(database, find_type=finding(ca, connector_type)) as service:
        await add_issuer(database, "iss-slow", "Scripted")
        await service.catalog.refresh()
        await service.its.crls.ensure()
        assert await database.read(lambda c: get_crl(c, "iss-slow")) is None
        for issuer in ("iss-slow", "iss-nobody"):
            with pytest.raises(NotFound):
                await service.its.crls.current(issuer)
        # One that was due all the same (its settings have changed) is not due again.
        await database.write(lambda t: mark_crl_due(t, "iss-slow", 0))
        assert await service.make_crls() == 2
        row = await database.read(lambda c: get_crl(c, "iss-slow"))
        assert row is not None
        assert (row.number, row.due_at, row.problem) == (0, None, None)


async def test_entries_are_read_some_at_a_time_and_all_of_them(
    service: StatusService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = [await service.issue(f"host-{number}.example.org") for number in range(25)]
    for one in issued:
        await service.revoke(one)
    few = crls._SERIALS.execution_options(yield_per=7)
    monkeypatch.setattr(crls, "_SERIALS", few)
    listed = await database.read(lambda c: [entry.serial for entry in crl_entries(c, ISSUER, None)])
    assert sorted(listed) == sorted(one.serial for one in issued)


async def test_storing_is_fenced_and_the_fence_is_the_claims(
    service: StatusService, database: Database
) -> None:
    row = await service.crl_row()
    made = replace(row, number=row.number + 1)

    def store(claimed: CrlRecord) -> Any:
        def write(transaction: Transaction) -> None:
            store_crl(transaction, claimed, made, again_at=0)

        return write

    with pytest.raises(TakenOver):
        await database.write(store(replace(row, epoch=row.epoch - 1)))
    assert await service.crl_row() == row
    await database.write(store(row))
    assert (await service.crl_row()).number == row.number + 1
