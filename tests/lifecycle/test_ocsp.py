"""The OCSP responder: what it says, what it keeps and for how long, and who signs."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags, ocsp
from sqlalchemy import update

from certctl.connectors.errors import Misconfigured
from certctl.connectors.registry import connector_type
from certctl.domain.revocations import RevocationAction, RevocationReason, RevocationState
from certctl.lifecycle import ocsp as responder
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.ocsp import Ocsp
from certctl.pki.ocsp import HASHES
from certctl.storage import tables
from certctl.storage.audit import list_events
from certctl.storage.failures import unavailable
from certctl.storage.statuses import find_status
from tests.support.clock import START_MS, TurnableClock
from tests.support.control_plane import add_issuer
from tests.support.pki import make_live_authority
from tests.support.scripted_ca import ScriptedCA, finding
from tests.support.status import (
    ISSUER,
    Issued,
    StatusService,
    as_text,
    change_issuer,
    check_answer,
    count_reads,
    status_service,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cryptography.hazmat.primitives import hashes

    from certctl.storage.database import Database
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

GOOD, REVOKED, UNKNOWN = (
    ocsp.OCSPCertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN,
)
HALF_OF_12_HOURS = 6 * 3600

on_postgresql = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)


@pytest.fixture
def clock() -> TurnableClock:
    """Here time is turned by hand."""
    return TurnableClock()


@pytest.fixture
async def service(
    database: Database, database_target: DatabaseTarget
) -> AsyncIterator[StatusService]:
    """A process that follows its database."""
    async with status_service(database, listen_url=database_target.url) as running:
        yield running


async def certified(database: Database) -> list[str]:
    """The serials of the responders' certificates in the audit log, oldest first."""
    events = await database.read(lambda c: list_events(c, limit=100, before=None))
    return [
        event.detail["serial"]
        for event in reversed(events)
        if event.action == "ocsp_responder.certified"
    ]


def error_in(der: bytes) -> ocsp.OCSPResponseStatus:
    status = ocsp.load_der_ocsp_response(der).response_status
    assert status is not ocsp.OCSPResponseStatus.SUCCESSFUL
    return status


async def test_good_then_revoked_with_time_and_reason(
    service: StatusService, clock: TurnableClock
) -> None:
    issued = await service.issue()
    answer = await service.ask(issued)
    assert answer.certificate_status is GOOD
    assert answer.this_update_utc.timestamp() * 1000 == START_MS
    assert answer.next_update_utc is not None
    assert (answer.next_update_utc - answer.this_update_utc).total_seconds() == 12 * 3600
    clock.turn(seconds=5)
    await service.revoke(issued, RevocationReason.CESSATION_OF_OPERATION)
    answer = await service.ask(issued)
    assert answer.certificate_status is REVOKED
    assert answer.revocation_reason is ReasonFlags.cessation_of_operation
    assert answer.revocation_time_utc is not None
    assert answer.revocation_time_utc.timestamp() * 1000 == START_MS + 5000


@pytest.mark.parametrize("algorithm", HASHES.values(), ids=HASHES)
async def test_clients_may_name_the_issuer_by_any_common_hash(
    service: StatusService, algorithm: hashes.HashAlgorithm
) -> None:
    issued = await service.issue()
    query = issued.query(algorithm=algorithm)
    first = await service.post(query)
    answer = ocsp.load_der_ocsp_response(first.body)
    check_answer(answer, issued)
    assert answer.hash_algorithm.name == algorithm.name
    assert (await service.post(query)).body == first.body, "and its answer is kept"


@pytest.mark.parametrize("action", RevocationAction)
@pytest.mark.parametrize("state", RevocationState)
async def test_what_is_recorded_counts_whether_or_not_the_ca_was_told(
    service: StatusService,
    database: Database,
    action: RevocationAction,
    state: RevocationState,
) -> None:
    issued = await service.issue()
    await service.revoke(issued, RevocationReason.CERTIFICATE_HOLD)
    values = {"action": action.value, "state": state.value}
    await database.write(lambda t: t.execute(update(tables.revocations).values(**values)))
    released = action is RevocationAction.RELEASE and state is RevocationState.CONFIRMED
    assert await service.status(issued) is (GOOD if released else REVOKED)


async def test_a_hold_ends(service: StatusService) -> None:
    issued = await service.issue()
    await service.revoke(issued, RevocationReason.CERTIFICATE_HOLD)
    assert (await service.ask(issued)).revocation_reason is ReasonFlags.certificate_hold
    await service.its.revocations.release(SYSTEM, issued.id)
    assert await service.status(issued) is REVOKED, "until its end is confirmed"
    running = asyncio.Event()
    scheduling = asyncio.create_task(service.its.scheduler.run(running))
    for _ in range(500):
        if await service.status(issued) is GOOD:
            break
        await asyncio.sleep(0.01)
    running.set()
    await scheduling
    assert await service.status(issued) is GOOD


async def test_a_serial_that_was_never_issued_is_unknown_and_not_kept(
    service: StatusService, database: Database
) -> None:
    issued = await service.issue()
    asked_before = ocsp.load_der_ocsp_request(issued.query())
    query = (
        ocsp.OCSPRequestBuilder()
        .add_certificate_by_hash(
            asked_before.issuer_name_hash,
            asked_before.issuer_key_hash,
            issued.serial + 1,
            HASHES["sha1"],
        )
        .build()
        .public_bytes(Encoding.DER)
    )
    reads = count_reads(database, tables.versions)
    for asked in (1, 2):
        answer = ocsp.load_der_ocsp_response((await service.post(query)).body)
        assert answer.certificate_status is UNKNOWN
        assert len(reads) == asked


async def test_a_nonce_is_answered_live(service: StatusService, database: Database) -> None:
    issued = await service.issue()
    reads = count_reads(database, tables.versions)
    for asked, nonce in enumerate([b"1" * 16, b"2" * 32, b"2" * 32], start=1):
        answer = await service.ask(issued, nonce)
        (extension,) = answer.extensions
        assert getattr(extension.value, "nonce", None) == nonce
        assert len(reads) == asked, "also for the same nonce again"


async def test_a_kept_answer_needs_no_database(service: StatusService, database: Database) -> None:
    issued, other = await service.issue(), await service.issue()
    first = await service.post(issued.query())
    reads = count_reads(database, tables.versions)
    for _ in range(10):
        assert (await service.post(issued.query())).body == first.body
    assert reads == []
    await database.close()
    assert (await service.post(issued.query())).body == first.body
    later = await service.post(other.query())
    assert error_in(later.body) is ocsp.OCSPResponseStatus.TRY_LATER


async def test_a_kept_answer_goes_on_when_a_long_outage_has_begun(
    service: StatusService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certctl.lifecycle.catalog._IN_STEP_SECONDS", 0.0)
    issued = await service.issue()
    first = await service.post(issued.query())
    await database.close()
    assert service.catalog.in_step() is (database.dialect == "sqlite")
    assert (await service.post(issued.query())).body == first.body


async def test_get_and_post_say_the_same(service: StatusService) -> None:
    issued = await service.issue()
    reply = await service.get(f"ocsp/{ISSUER}/{as_text(issued.query())}")
    answer = ocsp.load_der_ocsp_response(reply.body)
    check_answer(answer, issued)
    assert answer.certificate_status is GOOD
    assert (await service.get(f"ocsp/{ISSUER}/{as_text(issued.query())}")).body == reply.body
    await service.revoke(issued)
    reply = await service.get(f"ocsp/{ISSUER}/{as_text(issued.query())}")
    assert ocsp.load_der_ocsp_response(reply.body).certificate_status is REVOKED


async def test_only_so_many_answers_are_kept_and_the_last_used_ones(
    database: Database, service: StatusService
) -> None:
    its = Ocsp(database, service.catalog, database.clock, kept_answers=3)
    all_issued = [await service.issue() for _ in range(4)]

    async def ask(issued: Issued) -> bytes:
        return (await its.answer(ISSUER, issued.query())).der

    first = [await ask(issued) for issued in all_issued[:3]]
    assert its.kept(ISSUER, all_issued[0].query()) is not None
    await ask(all_issued[3])
    kept = [its.kept(ISSUER, issued.query()) is not None for issued in all_issued]
    assert kept == [True, False, True, True], "the one that nobody asked for longest has gone"
    assert await ask(all_issued[0]) == first[0]
    for number in range(10):
        await its.answer(ISSUER, all_issued[0].query(padding=11 * number))
    assert len(its._kept) == 3


async def test_a_longer_query_than_it_takes_is_given_no_room(service: StatusService) -> None:
    issued = await service.issue()
    for padding, kept in ((0, True), (100, True), (300, False), (3000, False)):
        query = issued.query(padding=padding)
        reply = await service.post(query)
        check_answer(ocsp.load_der_ocsp_response(reply.body), issued)
        assert ((await service.post(query)).body == reply.body) is kept, padding


async def test_an_answer_that_a_revocation_overtook_is_not_kept(
    service: StatusService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was looked up before, and would be kept after everything was dropped."""
    issued = await service.issue()
    await service.status(await service.issue())  # a signer is there
    look_up = find_status
    main = asyncio.get_running_loop()
    times = itertools.count()

    def overtaken(*arguments: Any) -> Any:
        found = look_up(*arguments)
        if next(times) == 0:
            asyncio.run_coroutine_threadsafe(service.revoke(issued), main).result(10)
        return found

    monkeypatch.setattr(responder, "find_status", overtaken)
    assert await service.status(issued) is GOOD, "as it was when it was asked for"
    assert await service.status(issued) is REVOKED


async def test_an_answer_is_handed_out_for_half_of_its_life(
    service: StatusService, clock: TurnableClock
) -> None:
    issued = await service.issue()
    first = await service.post(issued.query())
    clock.turn(seconds=HALF_OF_12_HOURS - 1)
    assert (await service.post(issued.query())).body == first.body
    clock.turn(seconds=1)
    second = await service.ask(issued)
    assert second.this_update_utc.timestamp() * 1000 == START_MS + HALF_OF_12_HOURS * 1000


async def test_first_requests_together_make_one_signer(
    service: StatusService, database: Database
) -> None:
    issued = [await service.issue() for _ in range(8)]
    answers = await asyncio.gather(*[service.ask(one) for one in issued * 3])
    signers = {answer.certificates[0].serial_number for answer in answers}
    assert [int(serial, 16) for serial in await certified(database)] == list(signers)


async def test_no_answer_before_its_signer_is_in_the_audit_log(
    service: StatusService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await service.issue()
    append = database.append

    async def fail(*_: Any) -> None:
        raise unavailable()

    monkeypatch.setattr(database, "append", fail)
    reply = await service.post(issued.query())
    assert error_in(reply.body) is ocsp.OCSPResponseStatus.TRY_LATER
    monkeypatch.setattr(database, "append", append)
    answer = await service.ask(issued)
    assert await certified(database) == [f"{answer.certificates[0].serial_number:x}"]


async def test_the_signer_is_renewed_at_half_its_life(
    service: StatusService, database: Database, clock: TurnableClock
) -> None:
    issued = await service.issue(days=60)
    first = (await service.ask(issued)).certificates[0]
    clock.turn(days=3)
    assert (await service.ask(issued)).certificates[0] == first
    clock.turn(days=1)
    second = (await service.ask(issued)).certificates[0]
    assert second.public_key() != first.public_key()
    assert await certified(database) == [f"{c.serial_number:x}" for c in (first, second)]


async def test_the_old_signer_goes_on_when_no_new_one_can_be_made(
    service: StatusService, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await service.issue(days=60)
    first = await service.ask(issued)
    tries: list[int] = []

    def refuse(now_ms: int) -> None:
        tries.append(now_ms)
        raise Misconfigured("the key is not there")

    monkeypatch.setattr(service.connector, "ocsp_signer", refuse)
    clock.turn(days=4)
    for _ in range(3):
        answer = await service.ask(issued, b"n" * 16)
        assert answer.certificates == first.certificates
    assert len(tries) == 1, "not for each question"
    clock.turn(days=2.9)
    answer = await service.ask(issued)
    end = first.certificates[0].not_valid_after_utc
    assert answer.next_update_utc is not None
    assert answer.next_update_utc <= end, "no answer outlives its signer"
    clock.turn(days=0.2)
    reply = await service.post(issued.query())
    assert error_in(reply.body) is ocsp.OCSPResponseStatus.INTERNAL_ERROR


async def test_another_revision_of_the_issuer_gets_a_signer_of_its_own(
    service: StatusService, database: Database
) -> None:
    issued = await service.issue()
    first = await service.ask(issued)
    await change_issuer(database, config='{"ocsp_validity_hours": 1}')
    await service.catalog.refresh()
    second = await service.ask(issued)
    assert second.certificates != first.certificates
    assert second.next_update_utc is not None
    assert (second.next_update_utc - second.this_update_utc).total_seconds() == 3600


async def test_a_disabled_issuer_still_answers(service: StatusService, database: Database) -> None:
    issued = await service.issue()
    await change_issuer(database, enabled=False)
    await service.catalog.refresh()
    assert await service.status(issued) is GOOD
    await service.revoke(issued)
    assert await service.status(issued) is REVOKED


async def test_another_cas_certificate_is_none_of_its_business(
    service: StatusService,
) -> None:
    issued = await service.issue()
    stranger = Issued("", "", issued.certificate, make_live_authority().certificate)
    reply = await service.post(stranger.query())
    assert error_in(reply.body) is ocsp.OCSPResponseStatus.UNAUTHORIZED


async def test_who_does_not_sign_here_has_no_responder(database: Database) -> None:
    ca = ScriptedCA(["issue"])
    async with status_service(database, find_type=finding(ca, connector_type)) as service:
        await add_issuer(database, "iss-slow", "Scripted")
        await service.catalog.refresh()
        issued = await service.issue()
        for issuer in ("iss-slow", "iss-nobody", ""):
            assert (await service.post(issued.query(), issuer)).status == 404


async def test_more_questions_than_it_can_take_are_told_to_come_back(
    service: StatusService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responder, "_MOST_AT_A_TIME", 3)
    issued = [await service.issue() for _ in range(5)]
    replies = await asyncio.gather(*[service.post(one.query()) for one in issued])
    statuses = [ocsp.load_der_ocsp_response(r.body).response_status for r in replies]
    assert statuses.count(ocsp.OCSPResponseStatus.SUCCESSFUL) == 3
    assert statuses.count(ocsp.OCSPResponseStatus.TRY_LATER) == 2
    assert await service.status(issued[4]) is GOOD, "when there is room again"


@on_postgresql
async def test_a_process_that_does_not_listen_asks_before_it_uses_what_it_kept(
    database: Database, service: StatusService
) -> None:
    async with status_service(database) as deaf:
        issued = await service.issue()
        for _ in range(20):
            assert not deaf.catalog.in_step()
            assert await deaf.status(issued) is GOOD
            first = await deaf.post(issued.query())
            assert (await deaf.post(issued.query())).body == first.body, "kept all the same"
            await service.revoke(issued)
            assert await deaf.status(issued) is REVOKED
            issued = await service.issue()


@on_postgresql
async def test_a_process_that_listens_hears_of_a_revocation(
    database: Database, service: StatusService, database_target: DatabaseTarget
) -> None:
    async with status_service(database, listen_url=database_target.url) as other:
        issued = await service.issue()
        assert await other.status(issued) is GOOD
        await service.revoke(issued)
        for _ in range(100):
            if await other.status(issued) is REVOKED:
                break
            await asyncio.sleep(0.01)
        assert await other.status(issued) is REVOKED
