"""The stand-in of HVCA in the dialect with key and secret in headers: a test for each rule."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography import x509

from certctl.pki.certificates import split_pem_certificates
from certctl.pki.keys import spki_of
from tests.conformance.hvca import hvca
from tests.conformance.hvca.register import spki_hash
from tests.conformance.mischief import UNSURE, Mischief, Operation
from tests.conformance.stand_in.spoiling import REFUSAL
from tests.connectors.globalsign.customer import CSR, DAY, KEY, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.hvca import Hvca

OURS = spki_hash(KEY.public_key())


@dataclass
class Shopper:
    """Somebody with an account, who sends key and secret with every request."""

    ca: Hvca
    client: httpx2.Client
    pair: dict[str, str]

    def submit(self, **changes: Any) -> httpx2.Response:
        """Order a certificate."""
        now = int(time.time())
        body = {
            "csr": CSR,
            "subject_dn": {"common_name": "www.example.org"},
            "san": {"dns_names": ["www.example.org"], "ip_addresses": ["192.0.2.7"]},
            "validity": {"not_before": now, "not_after": now + DAY},
        }
        return self.client.post("/v2/certificates", json=body | changes)

    def serial(self) -> str:
        """Order a certificate; its serial."""
        return str(self.submit().json()["serial_number"])

    def get(self, serial: str) -> httpx2.Response:
        """Fetch a certificate."""
        return self.client.get(f"/v2/certificates/{serial}")

    def revoke(self, serial: str, reason: str = "superseded") -> httpx2.Response:
        """Revoke a certificate."""
        return self.client.put(f"/v2/certificates/{serial}/revoke", json={"reason": reason})


@pytest.fixture
def shopper(socket_enabled: None, tmp_path: Path) -> Iterator[Shopper]:
    del socket_enabled
    with hvca(tmp_path, "headers") as ca:
        account = ca.new_account()
        pair = {"X-API-Key": account.api_key, "X-API-Secret": account.api_secret}
        with connect(ca, account, tmp_path) as client:
            client.headers.update(pair)
            yield Shopper(ca, client, pair)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_there_is_no_login(shopper: Shopper, status: int) -> None:
    shopper.ca.login_status = status
    answer = shopper.client.post("/v2/login", json={"api_key": "a", "api_secret": "b"})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == "no_such_page"


def test_there_is_no_policy_and_no_listing(shopper: Shopper) -> None:
    for path in ("validationpolicy", "trustchain", "stats/issued", "certificates"):
        assert shopper.client.get(f"/v2/{path}").status_code == 404, path


def test_it_says_which_of_key_and_secret_is_not_known(shopper: Shopper) -> None:
    other = shopper.ca.new_account()
    for headers, words in (
        ({"X-API-Key": "made up"}, "the API key is not known"),
        ({"X-API-Secret": "made up"}, "the API secret is not known"),
        ({"X-API-Secret": other.api_secret}, "the API secret is not known"),
    ):
        answer = shopper.client.get("/v2/certificates/01", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["message"] == words


def test_a_client_certificate_that_is_not_known_is_forbidden(
    shopper: Shopper, tmp_path: Path
) -> None:
    other = shopper.ca.new_account()
    with connect(shopper.ca, other, tmp_path) as client:
        shopper.ca.end(other)
        assert client.get("/v2/certificates/01", headers=shopper.pair).status_code == 403


def test_an_account_is_tried_by_asking_for_what_is_not_there(shopper: Shopper) -> None:
    assert shopper.get("01").status_code == 404
    assert shopper.ca.books.entries()[-1].operation is Operation.ACCOUNT
    shopper.ca.misbehave(Mischief.FORBIDDEN, on=Operation.ACCOUNT)
    assert shopper.get("01").status_code == 403


def test_an_order_is_answered_with_certificate_and_chain(shopper: Shopper) -> None:
    answer = shopper.submit()
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "issued"
    (leaf,) = split_pem_certificates(body["certificate"])
    issuing, root = split_pem_certificates(body["chain"])
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    assert leaf.serial_number == int(body["serial_number"], 16)
    assert spki_of(leaf.public_key()) == spki_of(KEY.public_key())
    assert leaf.subject.rfc4514_string() == "CN=www.example.org"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["www.example.org", "192.0.2.7"]
    assert shopper.ca.times_ordered(OURS) == 1


def test_an_order_may_be_answered_later(shopper: Shopper) -> None:
    shopper.ca.issue_seconds = 0.2
    began = time.time()
    answer = shopper.submit()
    assert (answer.status_code, answer.json()["status"]) == (202, "processing")
    assert answer.json().keys() == {"serial_number", "status"}
    serial = answer.json()["serial_number"]
    while (found := shopper.get(serial)).status_code == 202:
        assert found.json()["status"] == "processing"
        time.sleep(0.02)
    assert found.status_code == 200
    assert time.time() - began >= 0.2
    assert found.json().keys() == {"serial_number", "status", "certificate", "chain"}


def test_a_certificate_is_unknown_at_first(shopper: Shopper) -> None:
    shopper.ca.not_found_seconds = 60.0
    serial = shopper.serial()
    assert shopper.get(serial).status_code == 404
    shopper.ca.not_found_seconds = 0.0
    assert shopper.get(serial).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"csr": "none"},
        {"public_key": CSR},
        {"subject_dn": "www.example.org"},
        {"subject_dn": {"organization": "Example"}},
        {"validity": {}},
        {"san": {"names": ["www.example.org"]}},
        {"san": {"dns_names": ["ops@example.org"]}},
    ],
)
def test_an_order_with_something_else_in_it_is_refused(
    shopper: Shopper, changes: dict[str, Any]
) -> None:
    answer = shopper.submit(**changes)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "bad_order"
    assert shopper.ca.books.orders() == {}


@pytest.mark.parametrize("status", ["rejected", "denied", "failed"])
def test_an_order_is_refused_later_in_one_of_three_words(shopper: Shopper, status: Any) -> None:
    shopper.ca.issue_seconds = 60.0
    shopper.ca.refused_status = status
    serial = shopper.serial()
    shopper.ca.misbehave(Mischief.REFUSED, on=Operation.POLL)
    for _ in range(2):
        answer = shopper.get(serial)
        assert answer.json()["status"] == status
        assert answer.json()["error"]["message"] == REFUSAL


def test_a_certificate_is_revoked_once_or_as_often_as_one_likes(shopper: Shopper) -> None:
    first, second = shopper.serial(), shopper.serial()
    assert shopper.revoke(first).status_code == 200
    assert shopper.revoke(first).status_code == 409
    assert shopper.get(first).json()["status"] == "revoked"
    shopper.ca.revoke_status, shopper.ca.revoke_again = 204, 200
    answer = shopper.revoke(second.upper(), "keyCompromise")
    assert (answer.status_code, answer.content) == (204, b"")
    assert shopper.revoke(second).status_code == 200
    assert sorted(shopper.ca.books.revoked().values()) == ["keyCompromise", "superseded"]


def test_a_revocation_is_of_a_certificate_and_has_a_reason(shopper: Shopper) -> None:
    assert shopper.revoke("01").status_code == 404
    assert shopper.revoke(shopper.serial(), "certificateHold").status_code == 422
    shopper.ca.issue_seconds = 60.0
    assert shopper.revoke(shopper.serial()).status_code == 409
    assert shopper.ca.books.revoked() == {}


def test_an_empty_account_orders_nothing(shopper: Shopper) -> None:
    shopper.ca.quota = 0
    assert shopper.submit().status_code == 402
    assert shopper.ca.books.orders() == {}


def test_every_unsure_answer_is_booked(shopper: Shopper) -> None:
    for number, mischief in enumerate(UNSURE, start=1):
        shopper.ca.misbehave(mischief)
        with suppress(httpx2.TransportError):
            answer = shopper.submit()
            with pytest.raises((ValueError, KeyError)):
                answer.json()["serial_number"]
        assert shopper.ca.times_ordered(OURS) == number, mischief


@pytest.mark.parametrize("on", [Operation.SUBMIT, Operation.POLL])
@pytest.mark.parametrize("mischief", [Mischief.WRONG_KEY, Mischief.WRONG_NAMES, Mischief.EXPIRED])
def test_it_issues_what_was_not_ordered(
    shopper: Shopper, mischief: Mischief, on: Operation
) -> None:
    shopper.ca.misbehave(mischief, on=on)
    answer = shopper.submit()
    if on is Operation.POLL:
        answer = shopper.get(answer.json()["serial_number"])
    (wrong,) = split_pem_certificates(answer.json()["certificate"])
    (right,) = split_pem_certificates(shopper.submit().json()["certificate"])
    assert (wrong.public_key() != right.public_key()) == (mischief is Mischief.WRONG_KEY)
    names = [
        len(one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        for one in (wrong, right)
    ]
    assert (names[0] < names[1]) == (mischief is Mischief.WRONG_NAMES)
    expired = wrong.not_valid_after_utc.timestamp() < time.time()
    assert expired == (mischief is Mischief.EXPIRED)


def test_an_answer_comes_later_when_it_is_told_so(shopper: Shopper) -> None:
    shopper.ca.misbehave(Mischief.PENDING)
    shopper.ca.misbehave(Mischief.PENDING, on=Operation.POLL)
    answer = shopper.submit()
    assert answer.status_code == 202
    serial = answer.json()["serial_number"]
    assert [shopper.get(serial).status_code for _ in range(2)] == [202, 200]


def test_an_echo_repeats_key_and_secret(shopper: Shopper) -> None:
    shopper.ca.misbehave(Mischief.ECHO)
    answer = shopper.submit()
    assert answer.status_code == 422
    assert all(secret in answer.text for secret in shopper.pair.values())
