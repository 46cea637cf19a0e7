"""What relying parties get over plain HTTP, up to what anybody may send."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certctl.connectors.registry import connector_type
from certctl.pki.ocsp import MAX_QUERY_BYTES, OcspError, error_response
from tests.support.asgi import Reply, request
from tests.support.clock import TurnableClock
from tests.support.control_plane import add_issuer
from tests.support.mutations import mutate, mutate_inside, resident_bytes
from tests.support.scripted_ca import ScriptedCA, finding
from tests.support.status import (
    BASE,
    ISSUER,
    StatusService,
    answered,
    as_text,
    status_service,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from certctl.storage.database import Database
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

GET_OCSP = f"ocsp/{ISSUER}"
CRLS = [f"crl/{ISSUER}", f"crl/{ISSUER}/0", f"crl/{ISSUER}/f"]
MALFORMED = ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.fixture
def clock() -> TurnableClock:
    """Here time is turned by hand."""
    return TurnableClock()


@pytest.fixture
async def service(
    database: Database, database_target: DatabaseTarget
) -> AsyncIterator[StatusService]:
    """A process that follows its database and has made its first CRL."""
    async with status_service(database, listen_url=database_target.url) as running:
        await running.its.crls.ensure()
        await running.make_crls()
        yield running


def error_in(reply: Reply) -> ocsp.OCSPResponseStatus:
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/ocsp-response"
    assert reply.headers["cache-control"] == "no-store"
    return ocsp.load_der_ocsp_response(reply.body).response_status


def max_age(reply: Reply) -> int:
    (found,) = [
        int(part.removeprefix("max-age="))
        for part in reply.headers["cache-control"].replace(" ", "").split(",")
        if part.startswith("max-age=")
    ]
    return found


async def test_a_get_can_be_cached_as_rfc_5019_wants(
    service: StatusService, clock: TurnableClock
) -> None:
    issued = await service.issue()
    path = f"{GET_OCSP}/{as_text(issued.query())}"
    reply = await service.get(path)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/ocsp-response"
    assert int(reply.headers["content-length"]) == len(reply.body)
    answer = ocsp.load_der_ocsp_response(reply.body)
    assert parsedate_to_datetime(reply.headers["last-modified"]) == answer.this_update_utc
    assert parsedate_to_datetime(reply.headers["expires"]) == answer.next_update_utc
    for word in ("public", "no-transform", "must-revalidate"):
        assert word in reply.headers["cache-control"].split(", ")
    assert answer.next_update_utc is not None
    # The one that a cache gets last, just before half of its life is over, is not over in it.
    half = (answer.next_update_utc - answer.this_update_utc) / 2
    assert timedelta(seconds=max_age(reply)) < half
    assert max_age(reply) <= 3600, "a revocation is to be seen the same day"
    etag = reply.headers["etag"]
    again = await service.get(path, headers={"if-none-match": f'"other", W/{etag}'})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == etag
    assert (await service.get(path, headers={"if-none-match": '"other"'})).status == 200
    head = await service.get(path, method="HEAD")
    assert head.headers == reply.headers
    clock.turn(seconds=6 * 3600)
    assert (await service.get(path, headers={"if-none-match": etag})).status == 200


async def test_a_short_life_is_not_cached_beyond_its_end(database: Database) -> None:
    environment = {"CERTCTL_CA_OCSP_VALIDITY_HOURS": "1"}
    async with status_service(database, environment=environment) as service:
        issued = await service.issue()
        reply = await service.get(f"{GET_OCSP}/{as_text(issued.query())}")
        assert max_age(reply) == 1799


async def test_what_must_not_be_cached_says_so(service: StatusService) -> None:
    issued = await service.issue()
    nonce = f"{GET_OCSP}/{as_text(issued.query(nonce=b'n' * 16))}"
    query = ocsp.load_der_ocsp_request(issued.query())
    unknown = (
        ocsp.OCSPRequestBuilder()
        .add_certificate_by_hash(
            query.issuer_name_hash, query.issuer_key_hash, 4711, query.hash_algorithm
        )
        .build()
        .public_bytes(Encoding.DER)
    )
    for reply in (
        await service.post(issued.query()),
        await service.post(issued.query()),
        await service.get(nonce),
        await service.get(f"{GET_OCSP}/{as_text(unknown)}"),
    ):
        assert (reply.status, reply.headers["cache-control"]) == (200, "no-store")
        assert "etag" not in reply.headers
        answer = ocsp.load_der_ocsp_response(reply.body)
        assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL


async def test_base64_with_slashes_and_in_any_escaping(service: StatusService) -> None:
    while True:
        issued = await service.issue()
        text = as_text(issued.query())
        if "/" in text and "+" in text:
            break
    escaped = text.replace("/", "%2F").replace("+", "%2b").replace("=", "%3D")
    for form in (text, escaped, text.rstrip("=")):
        reply = await service.get(f"{GET_OCSP}/{form}")
        answer = ocsp.load_der_ocsp_response(reply.body)
        assert answer.serial_number == issued.serial


@pytest.mark.parametrize("body", [b"", b"\x30\x00", b"not DER", bytes(300)])
async def test_what_is_no_query_is_malformed(service: StatusService, body: bytes) -> None:
    assert error_in(await service.post(body)) is MALFORMED
    assert error_in(await service.get(f"{GET_OCSP}/{as_text(body) or '='}")) is MALFORMED
    assert error_in(await service.get(f"{GET_OCSP}/*{as_text(body)}")) is MALFORMED


async def test_a_body_that_is_too_long_is_not_read(service: StatusService) -> None:
    path = f"{BASE}/ocsp/{ISSUER}"
    announced = answered(await request(service.app, "POST", path, bytes(MAX_QUERY_BYTES + 1)))
    assert error_in(announced) is MALFORMED
    assert announced.reads == 0
    assert announced.headers["connection"] == "close"
    pieces = [bytes(1000)] * 100
    unannounced = answered(await request(service.app, "POST", path, pieces))
    assert error_in(unannounced) is MALFORMED
    assert unannounced.reads == MAX_QUERY_BYTES // 1000 + 1
    lying = answered(
        await request(service.app, "POST", path, pieces, headers={"content-length": "9" * 5000})
    )
    assert error_in(lying) is MALFORMED
    assert lying.reads == 0


async def test_a_body_in_pieces_is_put_together(service: StatusService) -> None:
    issued = await service.issue()
    query = issued.query()
    pieces = [query[:1], query[1:50], b"", query[50:]]
    reply = answered(await request(service.app, "POST", f"{BASE}/ocsp/{ISSUER}", pieces))
    assert ocsp.load_der_ocsp_response(reply.body).serial_number == issued.serial


async def test_a_client_that_leaves_gets_nothing(service: StatusService) -> None:
    path = f"{BASE}/ocsp/{ISSUER}"
    reply = await request(service.app, "POST", path, [b"\x30"], complete=False)
    assert reply is None


@pytest.mark.parametrize("path", CRLS)
async def test_a_crl_with_its_headers(
    service: StatusService, clock: TurnableClock, path: str
) -> None:
    reply = await service.get(path)
    crl = x509.load_der_x509_crl(reply.body)
    assert reply.headers["content-type"] == "application/pkix-crl"
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert parsedate_to_datetime(reply.headers["last-modified"]) == crl.last_update_utc
    assert parsedate_to_datetime(reply.headers["expires"]) == crl.next_update_utc
    assert "public" in reply.headers["cache-control"]
    assert max_age(reply) == 3600
    assert (await service.get(path, method="HEAD")).headers == reply.headers
    etag = reply.headers["etag"]
    unchanged = await service.get(path, headers={"if-none-match": etag})
    assert (unchanged.status, unchanged.body) == (304, b"")
    clock.turn(seconds=12 * 3600 - 100)
    assert max_age(await service.get(path)) == 100, "until another one is expected"
    clock.turn(seconds=300)
    assert max_age(await service.get(path)) == 60, "it should be there any moment"
    await service.make_crls()
    changed = await service.get(path, headers={"if-none-match": etag})
    assert changed.status == 200
    assert changed.headers["etag"] != etag


async def test_a_crl_that_is_not_there_yet(database: Database) -> None:
    async with status_service(database) as service:
        reply = await service.get(f"crl/{ISSUER}")
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) > 0
        assert reply.headers["cache-control"] == "no-store"


async def test_the_cas_certificate(service: StatusService) -> None:
    reply = await service.get(f"ca/{ISSUER}")
    assert reply.body == service.ca.public_bytes(Encoding.DER)
    assert reply.headers["content-type"] == "application/pkix-cert"
    assert "public" in reply.headers["cache-control"]
    etag = reply.headers["etag"]
    unchanged = await service.get(f"ca/{ISSUER}", headers={"if-none-match": etag})
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert (await service.get(f"ca/{ISSUER}", method="HEAD")).headers == reply.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", f"crl/{ISSUER}", "GET, HEAD"),
        ("DELETE", f"crl/{ISSUER}/3", "GET, HEAD"),
        ("PUT", f"ca/{ISSUER}", "GET, HEAD"),
        ("GET", f"ocsp/{ISSUER}", "POST"),
        ("OPTIONS", f"ocsp/{ISSUER}", "POST"),
        ("POST", f"ocsp/{ISSUER}/MAA=", "GET, HEAD"),
    ],
)
async def test_other_methods(service: StatusService, method: str, path: str, allow: str) -> None:
    reply = await service.get(path, method=method)
    assert (reply.status, reply.headers["allow"]) == (405, allow)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "secret-word",
        "crl",
        "crl/",
        "crl/iss-secret-word",
        f"crl/{ISSUER}/",
        f"crl/{ISSUER}/A",
        f"crl/{ISSUER}/00",
        f"crl/{ISSUER}/0/0",
        "ca/iss-secret-word",
        f"ca/{ISSUER}/secret-word",
        "ocsp/iss-secret-word/MAA=",
        "../../../secret-word",
    ],
)
async def test_what_is_not_there_is_not_repeated(service: StatusService, path: str) -> None:
    reply = await service.get(path)
    assert reply.status == 404
    assert reply.headers["content-type"].startswith("text/plain")
    assert b"secret-word" not in reply.body
    assert len(reply.body) < 50


async def test_the_api_is_not_here(service: StatusService) -> None:
    for path in ("/", "/healthz", "/api/v1/certificates", "/api/v1/openapi.json"):
        assert answered(await request(service.app, "GET", path)).status == 404


async def test_an_issuer_without_status_of_ours_is_not_there(database: Database) -> None:
    ca = ScriptedCA(["issue"])
    async with status_service(database, find_type=finding(ca, connector_type)) as service:
        await add_issuer(database, "iss-slow", "Scripted")
        await service.catalog.refresh()
        for path in ("crl/iss-slow", "ca/iss-slow", "ocsp/iss-slow/MAA="):
            assert (await service.get(path)).status == 404


async def test_a_fault_of_ours_shows_nothing_of_itself(
    service: StatusService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    issued = await service.issue()

    def fail(*_: Any) -> None:
        raise RuntimeError("secret-word")

    monkeypatch.setattr(service.its.ocsp, "kept", fail)
    monkeypatch.setattr(service.its.crls, "current", fail)
    reply = await service.post(issued.query())
    assert error_in(reply) is ocsp.OCSPResponseStatus.INTERNAL_ERROR
    reply = await service.get(f"crl/{ISSUER}")
    assert (reply.status, reply.body) == (500, b"internal error\n")
    assert capsys.readouterr().out.count("secret-word") >= 2, "it is in the log"


async def test_a_failing_database_is_no_fault(service: StatusService, database: Database) -> None:
    issued = await service.issue()
    await database.close()
    reply = await service.post(issued.query())
    assert error_in(reply) is ocsp.OCSPResponseStatus.TRY_LATER
    reply = await service.get(f"crl/{ISSUER}")
    assert reply.status == 503


ANSWERED = {200, 304, 404, 405}
FUZZ = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Driver:
    """Sends requests from another thread, where hypothesis runs, into the test's loop."""

    def __init__(self, service: StatusService) -> None:
        self._app = service.app
        self._loop = asyncio.get_running_loop()

    def __call__(self, method: str, target: str, body: bytes = b"") -> Reply:
        """The reply to a request."""
        waiting = asyncio.run_coroutine_threadsafe(
            request(self._app, method, target, body), self._loop
        )
        return answered(waiting.result(10))


@on_sqlite
async def test_nothing_that_is_posted_is_a_fault(service: StatusService) -> None:
    send, query = Driver(service), (await service.issue()).query()

    @FUZZ
    @given(st.binary(max_size=300), st.integers(0, len(query)), st.integers(0, len(query)))
    def post(noise: bytes, start: int, end: int) -> None:
        for body in (noise, query[:start] + noise + query[end:]):
            reply = send("POST", f"{BASE}/ocsp/{ISSUER}", body)
            assert reply.status == 200
            status = ocsp.load_der_ocsp_response(reply.body).response_status
            assert status is not ocsp.OCSPResponseStatus.INTERNAL_ERROR

    await asyncio.to_thread(post)


@on_sqlite
async def test_nothing_that_is_fetched_is_a_fault(service: StatusService) -> None:
    send, places = Driver(service), ["", "ocsp/", f"{GET_OCSP}/", "crl/", f"crl/{ISSUER}/", "ca/"]

    @FUZZ
    @given(st.sampled_from(places), st.text(max_size=200), st.sampled_from(["GET", "HEAD"]))
    def get(place: str, text: str, method: str) -> None:
        reply = send(method, f"{BASE}/{place}{text}")
        assert reply.status in ANSWERED
        if place == f"{GET_OCSP}/" and reply.status == 200 and method == "GET":
            status = ocsp.load_der_ocsp_response(reply.body).response_status
            assert status is not ocsp.OCSPResponseStatus.INTERNAL_ERROR

    await asyncio.to_thread(get)


@on_sqlite
@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_many_mutated_requests_are_answered_in_bounded_memory(service: StatusService) -> None:
    chance = random.Random(20261125)
    service.its.ocsp._most_kept = 1000
    valid = [(await service.issue()).query() for _ in range(20)]
    valid += [(await service.issue()).query(nonce=bytes(32), padding=40) for _ in range(10)]
    fault = error_response(OcspError.INTERNAL_ERROR)
    seen: Counter[bytes] = Counter()
    used = []
    for number in range(200_000):
        query = chance.choice(valid)
        if chance.random() < 0.9:
            query = chance.choice((mutate, mutate_inside))(chance, query)
        if number % 2:
            reply = await service.post(query)
        else:
            reply = await service.get(f"{GET_OCSP}/{as_text(query) or '='}")
        assert reply.status == 200
        assert reply.body != fault
        seen[reply.body[:8]] += 1
        if number % 20_000 == 19_999:
            used.append(resident_bytes())
    assert len(service.its.ocsp._kept) <= 1000
    assert len(seen) > 3, "signed answers and more than one kind of error"
    assert max(used) - used[0] < 24 * 1024 * 1024, used
