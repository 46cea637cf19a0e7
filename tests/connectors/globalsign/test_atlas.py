"""The connector against a strict stand-in: what it sends, makes of answers, and finds again."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from certctl.connectors.contract import (
    ConnectorContext,
    IssuanceRequest,
    IssuedCertificate,
    Pending,
    Replaced,
    RevocationRequest,
    Revoked,
)
from certctl.connectors.errors import (
    BadAnswer,
    IssuerError,
    Misconfigured,
    NoAnswer,
    QuotaExhausted,
    Refused,
    Unauthorized,
    Unavailable,
    UnknownOrder,
)
from certctl.connectors.globalsign import CONNECTOR
from certctl.connectors.globalsign.config import GlobalSignConfig
from certctl.connectors.transport import Transports
from certctl.domain.clock import SystemClock
from certctl.domain.keys import KeyType
from certctl.domain.names import parse_names
from certctl.domain.orders import Recovery
from certctl.domain.revocations import RevocationReason
from certctl.domain.usages import Usage
from certctl.pki.certificates import names_of
from certctl.pki.key_signatures import parse_key_signature, sign_key
from certctl.pki.keys import generate_key, spki_of
from certctl.pki.requests import parse_request
from tests.conformance.hvca import hvca
from tests.conformance.mischief import Mischief, Operation
from tests.support.clock import TurnableClock
from tests.support.pki import make_csr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from certctl.connectors.globalsign.atlas import AtlasConnector
    from tests.conformance.hvca import Account, Hvca

pytestmark = pytest.mark.anyio

NAMES = ("www.example.org", "192.0.2.7", "ops@example.org", "https://example.org/app")


class NoState:
    """A connector that keeps nothing needs no store."""

    async def get(self, key: str) -> bytes | None:
        raise AssertionError(key)

    async def put_if_absent(self, key: str, value: bytes) -> bytes:
        raise AssertionError(key, value)


@dataclass
class Scene:
    ca: Hvca
    account: Account
    config: dict[str, Any]
    transports: Transports
    clock: TurnableClock
    connector: AtlasConnector

    async def open(self, **changes: Any) -> Any:
        """A connector with other settings."""
        config = GlobalSignConfig.model_validate(self.config | changes)
        context = ConnectorContext(
            issuer_id="iss-test",
            clock=self.clock,
            state=NoState(),
            transports=self.transports,
            log=structlog.get_logger(),
        )
        return await CONNECTOR.factory(config, context)

    def request(self, *, key_type: KeyType = KeyType.P256, **changes: Any) -> IssuanceRequest:
        """A request with a key of its own, submitted now."""
        key = generate_key(key_type)
        csr = parse_request(make_csr(key, list(NAMES)))
        signature = parse_key_signature(sign_key(key), csr)
        made = IssuanceRequest(
            order_id=f"ord-{hashlib.sha256(csr.spki).hexdigest()[:20]}",
            csr=csr,
            common_name=None,
            names=parse_names(NAMES),
            usages=(Usage.SERVER_AUTH,),
            validity=90 * 86_400,
            must_staple=False,
            key_signature=signature,
            submitted_at=self.clock.now_ms(),
        )
        return replace(made, **changes)

    async def issued(self, request: IssuanceRequest) -> IssuedCertificate:
        """Order and fetch."""
        pending = await self.connector.issue(request)
        answer = await self.connector.poll(request, pending.reference)
        assert isinstance(answer, IssuedCertificate)
        return answer


@asynccontextmanager
async def playing(folder: Path, dialect: Any, **changes: Any) -> AsyncIterator[Scene]:
    with hvca(folder, dialect) as ca:
        ca.listing_lag = 0.0
        account = ca.new_account()
        config = {**ca.settings(account, folder), "dialect": dialect, **changes}
        transports = Transports()
        scene = Scene(ca, account, config, transports, TurnableClock(SystemClock().now_ms()), None)  # type: ignore[arg-type] # made in the next line
        scene.connector = await scene.open()
        yield scene
        await transports.close()


@pytest.fixture
async def scene(tmp_path: Path, anyio_backend: str, socket_enabled: None) -> AsyncIterator[Scene]:
    async with playing(tmp_path, "atlas") as opened:
        yield opened


async def test_what_was_asked_for_comes_back_with_its_chain(scene: Scene) -> None:
    request = scene.request()
    issued = await scene.issued(request)
    assert spki_of(issued.certificate.public_key()) == request.csr.spki
    assert names_of(issued.certificate) == set(request.names)
    leaf, *above = (issued.certificate, *issued.chain)
    for lower, upper in zip((leaf, *above), above, strict=False):
        lower.verify_directly_issued_by(upper)
    lasts = issued.certificate.not_valid_after_utc - issued.certificate.not_valid_before_utc
    assert abs(lasts.total_seconds() - request.validity) <= 1


@pytest.mark.parametrize("location", ["absolute", "relative"])
async def test_the_order_is_known_by_its_address_absolute_or_not(
    scene: Scene, location: Any
) -> None:
    scene.ca.location = location
    await scene.issued(scene.request())


@pytest.mark.parametrize("key_type", [KeyType.P256, KeyType.P384, KeyType.RSA])
@pytest.mark.parametrize(
    "key_rule",
    [
        {"public_key_signature": "FORBIDDEN", "key_format": "PKCS8"},
        {"public_key_signature": "REQUIRED", "key_format": "PKCS8"},
        {"public_key_signature": "FORBIDDEN", "key_format": "PKCS10"},
    ],
    ids=["key", "signature", "request"],
)
async def test_possession_is_shown_in_each_of_the_three_ways(
    scene: Scene, key_type: KeyType, key_rule: dict[str, str]
) -> None:
    scene.ca.policy["public_key"] = {
        "key_type": "RSA" if key_type is KeyType.RSA else "ECDSA",
        "allowed_lengths": [256, 384, 2048, 3072],
        "key_format": key_rule["key_format"],
    }
    scene.ca.policy["public_key_signature"] = key_rule["public_key_signature"]
    await scene.issued(scene.request(key_type=key_type))


async def test_a_signature_that_nobody_sent_along_is_asked_for_in_words(scene: Scene) -> None:
    scene.ca.policy["public_key"] = {"key_type": "ECDSA", "allowed_lengths": [256]}
    scene.ca.policy["public_key_signature"] = "REQUIRED"
    with pytest.raises(Refused, match="key_signature"):
        await scene.connector.issue(scene.request(key_signature=None))
    assert scene.ca.books.entries(Operation.SUBMIT) == []


def allow_names(ca: Hvca, *patterns: str) -> None:
    ca.policy["san"]["dns_names"] = {
        "static": False,
        "list": list(patterns),
        "mincount": 0,
        "maxcount": 9,
    }


async def test_the_policy_is_fetched_once_and_what_it_refuses_is_not_sent(scene: Scene) -> None:
    allow_names(scene.ca, "^never$")
    for _ in range(3):
        with pytest.raises(Refused, match="names of kind dns"):
            await scene.connector.issue(scene.request())
    asked = [entry.operation for entry in scene.ca.books.entries()]
    assert asked == [Operation.ACCOUNT, Operation.ACCOUNT], "the login and the policy"


async def test_many_first_orders_share_one_login_one_policy_and_one_chain(scene: Scene) -> None:
    await asyncio.gather(*(scene.issued(scene.request()) for _ in range(12)))
    asked = [entry.operation for entry in scene.ca.books.entries()]
    assert asked.count(Operation.ACCOUNT) == 2
    assert asked.count(Operation.CHAIN) == 1


async def test_a_policy_that_has_become_looser_is_heard_of_within_a_minute(scene: Scene) -> None:
    allow_names(scene.ca, "^never$")
    with pytest.raises(Refused):
        await scene.connector.issue(scene.request())
    allow_names(scene.ca, ".")
    scene.clock.turn(seconds=61)
    await scene.issued(scene.request())


async def test_a_policy_that_has_become_stricter_is_fetched_after_one_refusal(
    scene: Scene,
) -> None:
    await scene.issued(scene.request())
    allow_names(scene.ca, "^never$")
    with pytest.raises(Refused) as by_the_ca:
        await scene.connector.issue(scene.request())
    assert by_the_ca.value.code != "validation-policy"
    sent = scene.ca.books.entries(Operation.SUBMIT)
    with pytest.raises(Refused, match="validation policy"):
        await scene.connector.issue(scene.request())
    assert scene.ca.books.entries(Operation.SUBMIT) == sent


async def test_a_lifetime_over_the_policys_is_cut_and_known_from_then_on(scene: Scene) -> None:
    scene.ca.policy["validity"]["secondsmax"] = 30 * 86_400
    issued = await scene.issued(scene.request())
    lasts = issued.certificate.not_valid_after_utc - issued.certificate.not_valid_before_utc
    assert lasts.days <= 30
    assert scene.connector.abilities.max_validity == 30 * 86_400


@pytest.mark.parametrize(
    ("mischief", "error"),
    [
        (Mischief.RESET_AFTER, NoAnswer),
        (Mischief.ERROR_BOOKED, NoAnswer),
        (Mischief.TRUNCATED, BadAnswer),
        (Mischief.GARBAGE, BadAnswer),
    ],
)
async def test_an_order_whose_answer_was_lost_is_found_by_its_key(
    scene: Scene, mischief: Mischief, error: type[IssuerError]
) -> None:
    for _ in range(3):
        await scene.issued(scene.request())
    request = scene.request()
    scene.ca.misbehave(mischief)
    with pytest.raises(error):
        await scene.connector.issue(request)
    found = await (await scene.open()).lookup(request)  # as another process would
    assert isinstance(found, IssuedCertificate)
    assert spki_of(found.certificate.public_key()) == request.csr.spki
    assert scene.ca.times_ordered(hashlib.sha256(request.csr.spki).hexdigest()) == 1


async def test_what_was_never_sent_is_not_found(scene: Scene) -> None:
    await scene.issued(scene.request())
    assert await scene.connector.lookup(scene.request()) is None


async def test_an_earlier_certificate_of_the_same_key_is_not_taken_for_it(scene: Scene) -> None:
    first = scene.request()
    await scene.issued(first)
    scene.clock.turn(days=1)
    later = replace(first, order_id="ord-later", submitted_at=scene.clock.now_ms())
    assert await scene.connector.lookup(later) is None


async def test_an_order_is_found_behind_many_others_and_each_is_looked_at_once(
    scene: Scene,
) -> None:
    scene.ca.page_cap = 10
    for _ in range(25):
        await scene.issued(scene.request())
    request = scene.request()
    assert await scene.connector.lookup(request) is None
    looked_at = len(scene.ca.books.entries(Operation.POLL))
    scene.ca.misbehave(Mischief.RESET_AFTER)
    with pytest.raises(NoAnswer):
        await scene.connector.issue(request)
    assert await scene.connector.lookup(request) is not None
    assert len(scene.ca.books.entries(Operation.POLL)) == looked_at + 1


async def test_a_certificate_that_cannot_be_read_hides_no_other(scene: Scene) -> None:
    for _ in range(4):
        await scene.issued(scene.request())
    request = scene.request()
    scene.ca.misbehave(Mischief.RESET_AFTER)
    with pytest.raises(NoAnswer):
        await scene.connector.issue(request)
    connector = await scene.open()
    scene.ca.misbehave(Mischief.ERROR, times=4, on=Operation.POLL)
    try:
        found = await connector.lookup(request)
    except Unavailable:  # its own was among the four
        found = await connector.lookup(request)
    assert isinstance(found, IssuedCertificate)


async def test_what_could_not_be_read_leaves_the_question_open(scene: Scene) -> None:
    await scene.issued(scene.request())
    request = scene.request()
    scene.ca.misbehave(Mischief.ERROR, on=Operation.POLL)
    with pytest.raises(Unavailable):
        await (await scene.open()).lookup(request)


async def test_an_order_of_the_same_second_that_is_worked_on_leaves_the_question_open(
    scene: Scene,
) -> None:
    request = scene.request()
    scene.ca.misbehave(Mischief.RESET_AFTER)
    with pytest.raises(NoAnswer):
        await scene.connector.issue(request)
    scene.ca.misbehave(Mischief.PENDING, on=Operation.POLL)
    with pytest.raises(Unavailable, match="still works"):
        await scene.connector.lookup(request)
    assert await scene.connector.lookup(request) is not None


@dataclass(frozen=True)
class Change:
    """How a renewal differs from what it replaces, and whether another key is enough for it."""

    is_enough: bool
    names: tuple[str, ...] = NAMES
    days: int = 90
    usages: tuple[Usage, ...] = (Usage.SERVER_AUTH,)
    same_key: bool = False
    serial: str | None = None


@pytest.mark.parametrize(
    "change",
    [
        Change(True),
        Change(True, days=30),
        Change(False, days=120),
        Change(False, names=NAMES[:1]),
        Change(False, usages=(Usage.SERVER_AUTH, Usage.CLIENT_AUTH)),
        Change(False, same_key=True),
        Change(False, serial="ab" * 16),  # it does not know that one
    ],
    ids=str,
)
async def test_a_renewal_is_a_change_of_key_where_that_is_enough(
    scene: Scene, change: Change
) -> None:
    first = scene.request()
    issued = await scene.issued(first)
    scene.clock.turn(seconds=100)
    request = scene.request(
        names=parse_names(change.names), usages=change.usages, validity=change.days * 86_400
    )
    if change.same_key:
        request = replace(request, csr=first.csr)
    reference = issued.reference if change.serial is None else {"serial": change.serial}
    pending = await scene.connector.renew(request, Replaced(issued.certificate, reference))
    renewed = await scene.connector.poll(request, pending.reference)
    assert isinstance(renewed, IssuedCertificate)
    assert spki_of(renewed.certificate.public_key()) == request.csr.spki
    assert names_of(renewed.certificate) == set(request.names)
    same_end = renewed.certificate.not_valid_after_utc == issued.certificate.not_valid_after_utc
    assert same_end == change.is_enough
    assert renewed.certificate.serial_number != issued.certificate.serial_number


async def test_a_certificate_that_is_revoked_is_renewed_by_a_new_one(scene: Scene) -> None:
    issued = await scene.issued(scene.request())
    scene.ca.revoke(f"{issued.certificate.serial_number:x}")
    request = scene.request()
    pending = await scene.connector.renew(request, Replaced(issued.certificate, issued.reference))
    assert isinstance(await scene.connector.poll(request, pending.reference), IssuedCertificate)


async def test_a_changed_key_whose_answer_was_lost_is_found(scene: Scene) -> None:
    issued = await scene.issued(scene.request())
    request = scene.request()
    scene.ca.misbehave(Mischief.RESET_AFTER)
    with pytest.raises(NoAnswer):
        await scene.connector.renew(request, Replaced(issued.certificate, issued.reference))
    assert isinstance(await scene.connector.lookup(request), IssuedCertificate)
    assert scene.ca.times_ordered(hashlib.sha256(request.csr.spki).hexdigest()) == 1


async def test_an_order_that_is_not_known_yet_is_no_refusal(scene: Scene) -> None:
    scene.ca.not_found_seconds = 0.3
    request = scene.request()
    pending = await scene.connector.issue(request)
    with pytest.raises(UnknownOrder):
        await scene.connector.poll(request, pending.reference)
    await asyncio.sleep(0.35)
    assert isinstance(await scene.connector.poll(request, pending.reference), IssuedCertificate)


async def test_an_order_that_takes_its_time_is_pending(scene: Scene) -> None:
    scene.ca.issue_seconds = 0.3
    request = scene.request()
    pending = await scene.connector.issue(request)
    assert isinstance(await scene.connector.poll(request, pending.reference), Pending)


@pytest.mark.parametrize("patch_known", [True, False])
async def test_a_revocation_may_be_told_twice(scene: Scene, *, patch_known: bool) -> None:
    scene.ca.patch_known = patch_known
    issued = await scene.issued(scene.request())
    revocation = RevocationRequest(
        issued.certificate, issued.reference, RevocationReason.SUPERSEDED
    )
    for _ in range(2):
        assert await scene.connector.revoke(revocation) == Revoked()
    serial = f"{issued.certificate.serial_number:x}"
    assert scene.ca.books.revoked()[serial] == ("superseded" if patch_known else "unspecified")


async def test_a_certificate_without_a_reference_is_revoked_by_its_serial(scene: Scene) -> None:
    issued = await scene.issued(scene.request())
    await scene.connector.revoke(
        RevocationRequest(issued.certificate, {}, RevocationReason.KEY_COMPROMISE)
    )
    assert list(scene.ca.books.revoked().values()) == ["keyCompromise"]


async def test_a_certificate_that_is_not_there_cannot_be_revoked(scene: Scene) -> None:
    issued = await scene.issued(scene.request())
    with pytest.raises(IssuerError):
        await scene.connector.revoke(
            RevocationRequest(
                issued.certificate, {"serial": "ab" * 16}, RevocationReason.UNSPECIFIED
            )
        )


async def test_the_check_shows_host_dialect_quota_and_counters(scene: Scene) -> None:
    scene.ca.quota = 7
    await scene.issued(scene.request())
    found = await scene.connector.check()
    assert found.host == scene.connector.host == f"127.0.0.1:{scene.ca.port}"
    assert "dialect atlas" in found.detail
    assert "left to issue: 6; issued: 1; revoked: 0" in found.detail


async def test_an_exhausted_quota_is_told_from_a_refusal(scene: Scene) -> None:
    scene.ca.quota = 0
    with pytest.raises(QuotaExhausted):
        await scene.connector.issue(scene.request())


async def test_tokens_that_have_ended_cost_no_order(scene: Scene) -> None:
    await scene.issued(scene.request())
    scene.ca.end_tokens()
    await scene.issued(scene.request())


@pytest.mark.parametrize("which", ["client_cert_path", "client_key_path", "server_ca_path"])
async def test_a_missing_file_is_known_before_anybody_is_called(scene: Scene, which: str) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        await scene.open(**{which: "/none.pem"})
    assert scene.ca.books.entries() == []


async def test_an_address_is_taken_with_and_without_its_version(scene: Scene) -> None:
    base = str(scene.config["api_url"]).removesuffix("/v2")
    for url in (base, f"{base}/", f"{base}/v2", f"{base}/v2/"):
        assert "dialect atlas" in (await (await scene.open(api_url=url)).check()).detail


async def test_credentials_that_are_not_accepted_are_named(scene: Scene) -> None:
    with pytest.raises(Unauthorized, match="login with API key and secret"):
        await (await scene.open(api_secret="0" * 40)).check()


async def test_auto_settles_with_the_first_call_that_succeeds(
    tmp_path: Path, socket_enabled: None
) -> None:
    for dialect, recovery in (("atlas", Recovery.LOOKUP), ("headers", Recovery.ASK)):
        folder = tmp_path / dialect
        folder.mkdir()
        async with playing(folder, dialect) as scene:
            connector = await scene.open(dialect="auto")
            assert connector.recovery is Recovery.LOOKUP, "until it is settled"
            scene.ca.misbehave(Mischief.ERROR, times=2, on=Operation.ACCOUNT)
            for _ in range(2):
                with pytest.raises(IssuerError):
                    await connector.check()
            assert connector.recovery is Recovery.LOOKUP
            assert f"dialect {dialect}" in (await connector.check()).detail
            assert connector.recovery is recovery


async def test_an_answer_lost_in_headers_before_auto_has_settled_is_a_persons_affair(
    tmp_path: Path, socket_enabled: None
) -> None:
    async with playing(tmp_path, "headers") as scene:
        connector = await scene.open(dialect="auto")
        scene.ca.misbehave(Mischief.RESET_AFTER)
        request = scene.request()
        with pytest.raises(NoAnswer):
            await connector.issue(request)
        with pytest.raises(Refused, match="headers"):
            await connector.lookup(request)


@pytest.mark.parametrize("word", ["rejected", "denied", "failed"])
async def test_the_words_of_a_refusal_end_an_order_in_headers(
    tmp_path: Path, socket_enabled: None, word: Any
) -> None:
    async with playing(tmp_path, "headers") as scene:
        scene.ca.issue_seconds, scene.ca.refused_status = 60.0, word
        request = scene.request()
        pending = await scene.connector.issue(request)
        assert isinstance(pending, Pending)
        assert isinstance(await scene.connector.poll(request, pending.reference), Pending)
        scene.ca.misbehave(Mischief.REFUSED, on=Operation.POLL)
        with pytest.raises(Refused):
            await scene.connector.poll(request, pending.reference)
