"""The stand-in itself: a suite is worth what its peer and its books are."""

from __future__ import annotations

import json
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.pki.certificates import split_pem_certificates
from certctl.pki.keys import spki_of
from certctl.pki.requests import parse_request
from tests.conformance.mischief import UNSURE, Mischief, Operation
from tests.conformance.stand_in import stand_in
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.stand_in import Account, StandIn

pytestmark = pytest.mark.usefixtures("socket_enabled")

CSR = make_csr(make_key(), ["www.example.org", "mail.example.org"])


@pytest.fixture
def ca(socket_enabled: None, tmp_path: Path) -> Iterator[StandIn]:
    del socket_enabled
    with stand_in(journal=tmp_path / "journal.jsonl") as running:
        yield running


@pytest.fixture
def account(ca: StandIn) -> Account:
    return ca.new_account()


@pytest.fixture
def client(ca: StandIn, account: Account, tmp_path: Path) -> Iterator[httpx2.Client]:
    with client_of(ca, account, tmp_path) as opened:
        yield opened


def client_of(ca: StandIn, account: Account | None, folder: Path) -> httpx2.Client:
    context = ssl.create_default_context(cafile=str(ca.trust_path))
    headers = {}
    if account is not None:
        context.load_cert_chain(*account.write(folder))
        headers = {"X-API-Key": account.api_key, "X-API-Secret": account.api_secret}
    return httpx2.Client(base_url=ca.url, verify=context, trust_env=False, headers=headers)


def order(client: httpx2.Client, reference: str = "ord-1", **headers: str) -> httpx2.Response:
    return client.post("/v1/orders", json=body(reference), headers=headers)


def body(reference: str) -> dict[str, Any]:
    return {
        "reference": reference,
        "csr": CSR,
        "names": ["dns:www.example.org", "dns:mail.example.org"],
        "validity_seconds": 86_400,
        "usages": ["serverAuth"],
    }


def test_it_issues_a_certificate_for_the_request(client: httpx2.Client, ca: StandIn) -> None:
    answer = order(client)
    assert answer.status_code == 200
    (certificate,) = split_pem_certificates(answer.json()["certificate"])
    chain = split_pem_certificates(answer.json()["chain"])
    certificate.verify_directly_issued_by(chain[0])
    chain[0].verify_directly_issued_by(chain[1])
    assert spki_of(certificate.public_key()) == parse_request(CSR).spki
    assert client.get("/v1/chain").json()["chain"] == answer.json()["chain"]
    assert ca.books.orders() == {"ord-1": 1}
    assert client.get("/v1/account").json() == {"account": "stand-in", "orders": 1}


def test_the_same_reference_twice_is_two_orders_and_the_same_key_one(
    client: httpx2.Client, ca: StandIn
) -> None:
    for _ in range(2):
        order(client, "plain")
        order(client, "keyed", **{"Idempotency-Key": "one"})
    assert ca.books.orders() == {"plain": 2, "keyed": 1}
    assert ca.books.doubled() == {"plain": 2}
    found = client.get("/v1/orders", params={"reference": "plain"}).json()["orders"]
    assert len({entry["id"] for entry in found}) == 2
    assert client.get("/v1/orders", params={"reference": "nothing"}).json() == {"orders": []}


def test_an_order_is_pending_until_it_is_polled_often_enough(
    client: httpx2.Client, ca: StandIn
) -> None:
    ca.misbehave(Mischief.PENDING, times=2, on=Operation.POLL)
    answer = order(client, Prefer="respond-async")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    path = f"/v1/orders/{answer.json()['id']}"
    states = [client.get(path).json()["status"] for _ in range(3)]
    assert states == ["pending", "pending", "issued"]
    assert client.get("/v1/orders/order-99").status_code == 404
    assert [entry.issued is not None for entry in ca.books.entries(reference="ord-1")] == [
        False,
        False,
        False,
        True,
    ]


def test_a_pending_order_is_refused_in_an_answer(client: httpx2.Client, ca: StandIn) -> None:
    ca.misbehave(Mischief.PENDING)
    ca.misbehave(Mischief.REFUSED, on=Operation.POLL)
    answer = client.get(f"/v1/orders/{order(client).json()['id']}")
    assert answer.json()["status"] == "rejected"
    assert answer.json()["error"]["code"] == "policy"


@pytest.mark.parametrize(
    ("mischief", "status", "booked"),
    [
        (Mischief.RATE_LIMITED, 429, 0),
        (Mischief.RATE_LIMITED_UNTIL, 429, 0),
        (Mischief.UNAUTHORIZED, 401, 0),
        (Mischief.QUOTA, 402, 0),
        (Mischief.FORBIDDEN, 403, 0),
        (Mischief.ERROR, 500, 0),
        (Mischief.ERROR_BOOKED, 500, 1),
        (Mischief.REFUSED, 422, 0),
        (Mischief.UNKNOWN, 404, 0),
        (Mischief.GARBAGE, 200, 1),
        (Mischief.TRUNCATED, 200, 1),
    ],
)
def test_it_answers_badly_as_often_as_it_is_told(
    client: httpx2.Client, ca: StandIn, mischief: Mischief, status: int, booked: int
) -> None:
    ca.misbehave(mischief, seconds=7)
    answer = order(client)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == (
        "7" if mischief is Mischief.RATE_LIMITED_UNTIL else None
    )
    if status == 200:
        with pytest.raises(ValueError, match=r"utf-8|Unterminated|Expecting"):
            answer.json()
    assert ca.books.ordered("ord-1") == booked
    assert order(client, "next").status_code == 200


@pytest.mark.parametrize(
    ("mischief", "booked"),
    [(Mischief.RESET_BEFORE, 0), (Mischief.RESET_AFTER, 1), (Mischief.CUT_OFF, 1)],
)
def test_it_breaks_the_connection_before_and_after_booking(
    client: httpx2.Client, ca: StandIn, mischief: Mischief, booked: int
) -> None:
    ca.misbehave(mischief)
    with pytest.raises(httpx2.TransportError):
        order(client)
    assert ca.books.ordered("ord-1") == booked


@pytest.mark.parametrize("mischief", [Mischief.WRONG_KEY, Mischief.WRONG_NAMES, Mischief.EXPIRED])
def test_it_issues_what_was_not_asked_for(
    client: httpx2.Client, ca: StandIn, mischief: Mischief
) -> None:
    ca.misbehave(mischief)
    wrong, right = (
        split_pem_certificates(order(client, reference).json()["certificate"])[0]
        for reference in ("wrong", "right")
    )
    assert (spki_of(wrong.public_key()) != spki_of(right.public_key())) == (
        mischief is Mischief.WRONG_KEY
    )
    expired = wrong.not_valid_after_utc < right.not_valid_before_utc
    assert expired == (mischief is Mischief.EXPIRED)
    without_name = b"www.example.org" not in wrong.public_bytes(Encoding.DER)
    assert without_name == (mischief is Mischief.WRONG_NAMES)


def test_it_is_slow_after_it_has_booked(client: httpx2.Client, ca: StandIn) -> None:
    ca.misbehave(Mischief.SLOW, seconds=30)
    with pytest.raises(httpx2.ReadTimeout):
        client.post("/v1/orders", json=body("slow"), timeout=0.3)
    assert ca.books.ordered("slow") == 1


def test_chance_is_the_same_for_the_same_seed(client: httpx2.Client, ca: StandIn) -> None:
    runs = []
    for run in range(2):
        ca.chaos(0.5, 7, {Operation.SUBMIT: (Mischief.QUOTA, Mischief.FORBIDDEN)})
        runs.append([order(client, f"{run}-{n}").status_code for n in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 402, 403}
    ca.behave()
    assert order(client, "after").status_code == 200


def test_revocation_once_later_and_of_what_is_unknown(client: httpx2.Client, ca: StandIn) -> None:
    serials = []
    for reference in ("now", "later", "held"):
        (certificate,) = split_pem_certificates(order(client, reference).json()["certificate"])
        serials.append(f"{certificate.serial_number:x}")
    now, later, held = serials

    def revoke(serial: str, reason: str = "superseded") -> tuple[int, str | None]:
        answer = client.post(f"/v1/certificates/{serial}/revoke", json={"reason": reason})
        return answer.status_code, answer.json().get("status")

    assert revoke(now) == (200, "revoked")
    assert revoke(now) == (409, None)
    assert revoke("abc") == (404, None)
    assert revoke(later, "boredom") == (422, None)
    ca.misbehave(Mischief.PENDING, on=Operation.REVOKE)
    ca.misbehave(Mischief.PENDING, on=Operation.REVOCATION_POLL)
    assert revoke(later) == (202, "revocation_pending")
    states = [client.get(f"/v1/certificates/{later}").json()["status"] for _ in range(2)]
    assert states == ["revocation_pending", "revoked"]
    assert revoke(held, "certificateHold") == (200, "revoked")
    assert client.post(f"/v1/certificates/{held}/release").status_code == 200
    assert client.get(f"/v1/certificates/{held}").json()["status"] == "issued"
    assert ca.books.revoked()[now] == "superseded"
    assert set(ca.books.revoked()) == set(serials)


def test_credentials_go_together_by_generation(
    client: httpx2.Client, ca: StandIn, account: Account
) -> None:
    second = ca.new_account()
    new = {"X-API-Key": second.api_key, "X-API-Secret": second.api_secret}
    assert client.get("/v1/account", headers=new).status_code == 200
    assert ca.books.mixed() == []
    mixed = new | {"X-API-Secret": account.api_secret}
    assert client.get("/v1/account", headers=mixed).status_code == 401
    (entry,) = ca.books.mixed()
    assert (entry.key_generation, entry.secret_generation) == (2, 1)
    assert client.get("/v1/account", headers={"X-API-Key": "made up"}).status_code == 401
    assert len(ca.books.mixed()) == 1
    ca.end(account)
    assert client.get("/v1/account").status_code == 401
    assert client.get("/v1/account", headers=new).status_code == 403  # the certificate has ended
    ca.restore(account)
    assert client.get("/v1/account").status_code == 200


def test_without_a_client_certificate_it_speaks_to_nobody(ca: StandIn, tmp_path: Path) -> None:
    with client_of(ca, None, tmp_path) as stranger, pytest.raises(httpx2.TransportError):
        stranger.get("/v1/account")
    assert ca.books.entries() == []


def test_the_books_are_on_disk_before_the_answer(
    client: httpx2.Client, ca: StandIn, account: Account, tmp_path: Path
) -> None:
    ca.misbehave(Mischief.RESET_AFTER)
    with pytest.raises(httpx2.TransportError):
        order(client)
    (line,) = (tmp_path / "journal.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["reference"], entry["status"]) == ("ord-1", None)
    assert entry["mischief"] == "reset_after"
    assert entry["client_serial"] == f"{account.serial:x}"


def test_every_unsure_answer_is_booked(client: httpx2.Client, ca: StandIn) -> None:
    for mischief in UNSURE:
        ca.misbehave(mischief)
        with suppress(httpx2.TransportError):
            order(client, mischief)
        assert ca.books.ordered(mischief) == 1
