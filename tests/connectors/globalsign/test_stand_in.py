"""The stand-in of HVCA holds to what is known of the real one: a test for each rule."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography import x509

from certctl.pki.keys import spki_of
from tests.conformance.hvca.register import spki_hash
from tests.conformance.mischief import UNSURE, Mischief, Operation
from tests.conformance.stand_in.spoiling import REFUSAL
from tests.connectors.globalsign.customer import (
    CSR,
    DAY,
    JSON,
    KEY,
    PROBLEM,
    connect,
    order,
)
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.hvca import Hvca
    from tests.connectors.globalsign.customer import Customer

OURS = spki_hash(KEY.public_key())


# Login


def test_key_and_secret_have_sixteen_and_forty_hex_digits(customer: Customer) -> None:
    assert len(bytes.fromhex(customer.account.api_key)) == 8
    assert len(bytes.fromhex(customer.account.api_secret)) == 20


def test_a_login_answers_with_nothing_but_a_token(customer: Customer) -> None:
    answer = customer.log_in()
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, JSON)
    assert answer.json().keys() == {"access_token"}


def test_a_login_needs_key_and_secret_that_belong_together(customer: Customer) -> None:
    other = customer.ca.new_account()
    assert customer.log_in(api_secret=other.api_secret).status_code == 401
    assert customer.log_in(api_key="0" * 16).status_code == 401
    assert customer.log_in(more="fields").status_code == 422
    (mixed,) = customer.ca.books.mixed()
    assert (mixed.key_generation, mixed.secret_generation) == (1, 2)


def test_a_login_is_posted(customer: Customer) -> None:
    assert customer.get("login").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "validationpolicy",
        "trustchain",
        "certificates/01",
        "stats/issued",
        "quotas/issuance",
        "counters/certificates/issued",
    ],
)
def test_every_other_request_needs_a_token(customer: Customer, path: str) -> None:
    for token in ("Bearer made up", customer.token, ""):
        answer = customer.client.get(f"/v2/{path}", headers={"Authorization": token})
        assert (answer.status_code, answer.headers["Content-Type"]) == (401, PROBLEM)
        assert answer.json()["description"]
    assert customer.get(path).status_code != 401


def test_a_token_lasts_ten_minutes_or_as_long_as_is_said(customer: Customer) -> None:
    assert customer.ca.token_seconds == 600
    customer.ca.token_seconds = 0.0
    assert customer.log_in().status_code == 200
    assert customer.get("validationpolicy").status_code == 401
    customer.ca.token_seconds = 600.0
    customer.log_in()
    assert customer.get("validationpolicy").status_code == 200
    customer.ca.end_tokens()
    assert customer.get("validationpolicy").status_code == 401


def test_an_account_that_has_ended_has_no_tokens(customer: Customer, tmp_path: Path) -> None:
    with connect(customer.ca, customer.ca.new_account(), tmp_path) as client:
        customer.client = client  # whose certificate has not ended
        customer.ca.end(customer.account)
        assert customer.get("validationpolicy").status_code == 401
        assert customer.log_in().status_code == 401
        customer.ca.restore(customer.account)
        assert customer.get("validationpolicy").status_code == 200


def test_a_client_certificate_is_demanded_on_every_connection(
    customer: Customer, tmp_path: Path
) -> None:
    asked = len(customer.ca.books.entries())
    with connect(customer.ca, None, tmp_path) as nobody, pytest.raises(httpx2.TransportError):
        nobody.get("/v2/validationpolicy")
    assert len(customer.ca.books.entries()) == asked


def test_a_client_certificate_that_has_ended_opens_nothing(
    customer: Customer, tmp_path: Path
) -> None:
    other = customer.ca.new_account()
    with connect(customer.ca, other, tmp_path) as client:
        customer.client = client
        assert customer.get("validationpolicy").status_code == 200
        customer.ca.end(other)
        assert customer.get("validationpolicy").status_code == 401
        assert customer.log_in().status_code == 401


# Bodies and pages


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=latin-1", "text/plain", "application/*"],
)
def test_a_body_is_json_with_its_charset(customer: Customer, content_type: str) -> None:
    answer = customer.ask("POST", "certificates", order(), **{"Content-Type": content_type})
    assert (answer.status_code, answer.headers["Content-Type"]) == (415, PROBLEM)
    assert answer.json() == {"description": "Bad Content-Type"}


def test_a_space_before_the_charset_is_let_through(customer: Customer) -> None:
    spaced = {"Content-Type": "application/json; charset=utf-8"}
    assert customer.ask("POST", "certificates", order(), **spaced).status_code == 201


@pytest.mark.parametrize("path", ["login", "certificates"])
def test_a_body_has_a_length(customer: Customer, path: str) -> None:
    headers = {"Authorization": f"Bearer {customer.token}", "Content-Type": JSON}
    pieces = iter([json.dumps(order()).encode()])
    answer = customer.client.post(f"/v2/{path}", content=pieces, headers=headers)
    assert answer.status_code == 411


def test_what_is_no_json_object_is_a_bad_request(customer: Customer) -> None:
    headers = {"Authorization": f"Bearer {customer.token}", "Content-Type": JSON}
    for content in (b"{", b"[]", b"\xff"):
        answer = customer.client.post("/v2/certificates", content=content, headers=headers)
        assert answer.status_code == 400, content


def test_there_is_no_list_of_certificates_and_no_other_version(customer: Customer) -> None:
    assert customer.get("certificates").status_code == 405
    assert customer.get("certificates/01/revoke").status_code == 404
    assert customer.get("nothing").status_code == 404
    token = {"Authorization": f"Bearer {customer.token}"}
    assert customer.client.get("/v2.1/validationpolicy", headers=token).status_code == 404


def test_the_policy_is_shown_as_it_is(customer: Customer) -> None:
    customer.ca.policy["validity"]["secondsmax"] = 3600
    answer = customer.get("validationpolicy")
    assert answer.json() == customer.ca.policy
    assert answer.json()["validity"]["secondsmax"] == 3600


def test_the_trust_chain_is_a_list_of_pem_with_the_issuing_ca_first(customer: Customer) -> None:
    issuing, root = (
        x509.load_pem_x509_certificate(pem.encode()) for pem in customer.get("trustchain").json()
    )
    customer.certificate().verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert (issuing, root) == customer.ca.chain


# Orders


def test_an_order_is_answered_with_an_empty_body_and_a_location(customer: Customer) -> None:
    answer = customer.submit()
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["Content-Length"] == "0"
    where, _, serial = answer.headers["Location"].rpartition("/")
    assert where == f"{customer.ca.url}/v2/certificates"
    assert len(serial) == 32
    assert serial.startswith("01")
    assert customer.ca.books.orders() == {OURS: 1}
    assert customer.ca.books.entries()[-1].booked == f"{int(serial, 16):x}"


def test_a_location_may_be_relative_to_the_server(customer: Customer) -> None:
    customer.ca.location = "relative"
    assert customer.submit().headers["Location"].startswith("/v2/certificates/01")


def test_nothing_makes_an_order_repeatable(customer: Customer) -> None:
    assert customer.serial() != customer.serial()
    assert customer.ca.times_ordered(OURS) == 2
    assert len(customer.ca.ordered_at(OURS)) == 2


def test_a_certificate_is_answered_alone_with_its_status(customer: Customer) -> None:
    serial = customer.serial()
    answer = customer.get(f"certificates/{serial}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, JSON)
    assert answer.json().keys() == {"certificate", "status", "updated_at"}
    assert answer.json()["status"] == "ISSUED"
    assert abs(answer.json()["updated_at"] - time.time()) < 60
    assert answer.json()["certificate"].count("BEGIN CERTIFICATE") == 1
    assert customer.get(f"certificates/{serial}").json() == answer.json()
    (entry,) = [entry for entry in customer.ca.books.entries() if entry.issued]
    assert (entry.operation, entry.reference) == (Operation.POLL, OURS)


def test_a_certificate_keeps_the_times_that_were_sent(customer: Customer) -> None:
    begins = int(time.time()) - 17
    ends = begins + 10 * DAY + 5
    certificate = customer.certificate(validity={"not_before": begins, "not_after": ends})
    assert int(certificate.not_valid_before_utc.timestamp()) == begins
    assert int(certificate.not_valid_after_utc.timestamp()) == ends


def test_a_serial_may_be_of_either_case_and_with_any_zeros(customer: Customer) -> None:
    serial = customer.serial()
    for written in (serial.lower(), serial.lstrip("0"), f"000{serial}"):
        assert customer.get(f"certificates/{written}").status_code == 200
    colons = ":".join(serial[at : at + 2] for at in range(0, 32, 2))
    assert customer.get(f"certificates/{colons}").status_code == 422
    assert customer.get("certificates/0123").status_code == 404


def test_an_order_is_unknown_at_first_and_then_in_progress(customer: Customer) -> None:
    customer.ca.not_found_seconds = 60.0
    serial = customer.serial()
    assert customer.get(f"certificates/{serial}").status_code == 404
    customer.ca.not_found_seconds = 0.0
    assert customer.get(f"certificates/{serial}").status_code == 200
    customer.ca.issue_seconds = lambda body: 60.0 if "san" in body else 0.0
    answer = customer.get(f"certificates/{customer.serial()}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (202, JSON)
    assert answer.json() == {"description": "Operation in progress"}
    assert customer.get(f"certificates/{customer.serial(san=None)}").status_code == 200


def test_an_order_is_issued_when_its_time_has_come(customer: Customer) -> None:
    customer.ca.issue_seconds = 0.2
    began = time.time()
    serial = customer.serial()
    while (answer := customer.get(f"certificates/{serial}")).status_code == 202:
        time.sleep(0.02)
    assert answer.status_code == 200
    assert time.time() - began >= 0.2


def test_a_dry_run_orders_nothing(customer: Customer) -> None:
    answer = customer.ask("POST", "certificates", order(), mode="domain-validation")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Content-Length" not in answer.headers
    assert customer.ca.times_ordered(OURS) == 0
    assert customer.ca.ordered_at(OURS) == []
    bad = order(subject_dn={"country": "somewhere"})
    assert customer.ask("POST", "certificates", bad, mode="domain-validation").status_code == 422
    assert customer.ask("POST", "certificates", order(), mode="else").status_code == 400


def test_a_quota_ends(customer: Customer) -> None:
    customer.ca.quota = 1
    assert customer.get("quotas/issuance").json() == {"value": 1}
    customer.serial()
    assert customer.get("quotas/issuance").json() == {"value": 0}
    answer = customer.submit()
    assert (answer.status_code, answer.json()["description"]) == (402, "Quota Reached")
    customer.ca.quota = None
    assert customer.get("quotas/issuance").json()["value"] > 0
    assert customer.submit().status_code == 201


def test_a_rekey_is_the_same_certificate_for_another_key(customer: Customer) -> None:
    old = customer.serial()
    key = make_key(which=5)
    csr = make_csr(key)
    # GlobalSign's own client sends what it does not use as null, and as an empty text.
    unused = {"signature": None, "public_key_signature": ""}
    answer = customer.ask("POST", f"certificates/{old}/rekey", {"public_key": csr} | unused)
    assert answer.status_code == 201
    new = answer.headers["Location"].rpartition("/")[2]
    assert new != old
    before, after = (
        x509.load_pem_x509_certificate(
            customer.get(f"certificates/{serial}").json()["certificate"].encode()
        )
        for serial in (old, new)
    )
    assert spki_of(after.public_key()) == spki_of(key.public_key())
    assert (after.subject, after.not_valid_after_utc) == (
        before.subject,
        before.not_valid_after_utc,
    )
    assert customer.ca.times_ordered(spki_hash(key.public_key())) == 1
    assert customer.ask("POST", f"certificates/{old}/rekey", {"csr": csr}).status_code == 422
    customer.ca.revoke(old)
    again = customer.ask("POST", f"certificates/{old}/rekey", {"public_key": csr})
    assert again.status_code == 409


# Revocation


@pytest.mark.parametrize(
    "reason",
    [
        "unspecified",
        "keyCompromise",
        "affiliationChanged",
        "cessationOfOperation",
        "superseded",
        "privilegeWithdrawn",
    ],
)
def test_a_certificate_is_revoked_once_with_a_reason(customer: Customer, reason: str) -> None:
    path = f"certificates/{customer.serial()}"
    answer = customer.ask("PATCH", path, {"revocation_reason": reason})
    assert (answer.status_code, answer.content) == (204, b"")
    assert customer.get(path).json()["status"] == "REVOKED"
    again = customer.ask("PATCH", path, {"revocation_reason": reason})
    assert again.status_code == 409
    assert list(customer.ca.books.revoked().values()) == [reason]


@pytest.mark.parametrize(
    "reason",
    ["certificateHold", "cACompromise", "aACompromise", "removeFromCRL", "KeyCompromise", None, 1],
)
def test_other_reasons_are_not_known(customer: Customer, reason: object) -> None:
    path = f"certificates/{customer.serial()}"
    answer = customer.ask("PATCH", path, {"revocation_reason": reason})
    assert answer.status_code == 422
    assert answer.json()["errors"].keys() == {"revocation_reason"}
    assert customer.get(path).json()["status"] == "ISSUED"
    assert customer.ca.books.revoked() == {}


def test_a_compromise_may_be_dated_and_proven(customer: Customer) -> None:
    path = f"certificates/{customer.serial()}"

    def revoke(**more: Any) -> set[str]:
        body = {"revocation_reason": "keyCompromise", **more}
        answer = customer.ask("PATCH", path, body)
        return set(answer.json()["errors"]) if answer.status_code == 422 else set()

    assert revoke(revocation_time=int(time.time()) + 3600) == {"revocation_time"}
    assert revoke(revocation_time="yesterday") == {"revocation_time"}
    foreign = make_csr(make_key(which=6))
    assert revoke(key_compromise_attestation=foreign) == {"key_compromise_attestation"}
    assert revoke(comment="lost") == {"comment"}
    assert revoke(revocation_time=int(time.time()) - DAY, key_compromise_attestation=CSR) == set()
    assert customer.get(path).json()["status"] == "REVOKED"


def test_revoking_without_a_reason_is_still_possible(customer: Customer) -> None:
    path = f"certificates/{customer.serial()}"
    assert customer.ask("DELETE", path).status_code == 204
    answer = customer.ask("DELETE", path)
    assert answer.status_code == 409
    assert answer.json() == {"description": "Cannot revoke a REJECTED certificate"}
    assert list(customer.ca.books.revoked().values()) == ["unspecified"]


def test_what_is_unknown_or_in_progress_cannot_be_revoked(customer: Customer) -> None:
    body = {"revocation_reason": "superseded"}
    assert customer.ask("PATCH", "certificates/0123", body).status_code == 404
    assert customer.ask("DELETE", "certificates/0123").status_code == 404
    customer.ca.issue_seconds = 60.0
    path = f"certificates/{customer.serial()}"
    assert customer.ask("PATCH", path, body).status_code == 409
    assert customer.ask("DELETE", path).status_code == 409


def test_an_older_server_knows_no_reasons(customer: Customer) -> None:
    customer.ca.patch_known = False
    path = f"certificates/{customer.serial()}"
    assert customer.ask("PATCH", path, {"revocation_reason": "superseded"}).status_code == 405
    assert customer.ask("DELETE", path).status_code == 204


def test_somebody_else_may_revoke_a_certificate(customer: Customer) -> None:
    serial = customer.serial()
    customer.ca.revoke(serial.lower().lstrip("0"))
    assert customer.get(f"certificates/{serial}").json()["status"] == "REVOKED"
    assert customer.ca.books.revoked() == {}


def test_what_was_issued_and_revoked_is_counted(customer: Customer) -> None:
    serials = [customer.serial() for _ in range(3)]
    customer.ask("DELETE", f"certificates/{serials[0]}")
    customer.ca.issue_seconds = 60.0
    customer.serial()
    assert customer.get("counters/certificates/issued").json() == {"value": 3}
    assert customer.get("counters/certificates/revoked").json() == {"value": 1}


# Listings


def listed(
    customer: Customer, kind: str = "issued", window: tuple[int, int] | None = None
) -> list[str]:
    query = {} if window is None else {"from": window[0], "to": window[1]}
    answer = customer.client.get(
        f"/v2/stats/{kind}",
        params=query,
        headers={"Authorization": f"Bearer {customer.token}"},
    )
    assert answer.status_code == 200, answer.text
    assert all(row.keys() == {"serial_number", "not_before", "not_after"} for row in answer.json())
    return [row["serial_number"] for row in answer.json()]


def test_a_listing_is_behind_by_some_seconds(customer: Customer) -> None:
    assert customer.ca.listing_lag == 5.0
    serial = customer.serial()
    assert listed(customer) == []
    customer.ca.listing_lag = 0.0
    assert listed(customer) == [serial]


def test_only_what_was_issued_is_listed(customer: Customer) -> None:
    customer.ca.listing_lag = 0.0
    customer.ca.issue_seconds = 60.0
    customer.serial()
    customer.ca.issue_seconds = 0.0
    customer.ca.misbehave(Mischief.REFUSED, on=Operation.POLL)
    customer.get(f"certificates/{customer.serial()}")
    issued, revoked = customer.serial(), customer.serial()
    customer.ask("DELETE", f"certificates/{revoked}")
    assert listed(customer) == [issued, revoked]
    assert listed(customer, "revoked") == [revoked]


def test_without_a_window_it_is_the_last_ten_minutes(customer: Customer) -> None:
    customer.ca.listing_lag = 0.0
    now = int(time.time())
    customer.ca.policy["validity"]["not_before_negative_skew"] = DAY
    customer.ca.listed_by = "not_before"
    serial = customer.serial(validity={"not_before": now - 700, "not_after": now + DAY})
    assert listed(customer) == []
    assert listed(customer, window=(now - 800, now)) == [serial]


def test_a_listing_goes_by_the_time_of_issue_or_by_not_before(customer: Customer) -> None:
    customer.ca.listing_lag = 0.0
    now = int(time.time())
    serial = customer.serial(validity={"not_before": now - 150, "not_after": now + DAY})
    around = (now - 160, now - 100)
    assert listed(customer, window=around) == []
    customer.ca.listed_by = "not_before"
    assert listed(customer, window=around) == [serial]


def test_expiring_certificates_are_listed_by_their_end(customer: Customer) -> None:
    customer.ca.listing_lag = 0.0
    end = int(time.time()) + 3 * DAY
    serial = customer.serial(validity={"not_before": int(time.time()), "not_after": end})
    assert listed(customer, "expiring", window=(end - 1, end + 1)) == [serial]
    assert listed(customer, "expiring", window=(end + 1, end + DAY)) == []


def test_a_window_is_at_most_thirty_days_long(customer: Customer) -> None:
    now = int(time.time())
    assert customer.get(f"stats/issued?from={now - 30 * DAY}&to={now}").status_code == 200
    assert customer.get(f"stats/issued?from={now - 30 * DAY - 1}&to={now}").status_code == 422
    assert customer.get(f"stats/issued?from={now}&to={now - 1}").status_code == 422
    assert customer.get("stats/issued?page=none").status_code == 422
    assert customer.get("stats/issued?page=0").status_code == 422


def test_pages_are_capped_and_say_how_many_there_are(customer: Customer) -> None:
    customer.ca.listing_lag = 0.0
    customer.ca.page_cap = 2
    serials = [customer.serial() for _ in range(5)]
    pages = [customer.get(f"stats/issued?page={page}&per_page=100") for page in (1, 2, 3, 4)]
    assert [len(page.json()) for page in pages] == [2, 2, 1, 0]
    assert {page.headers["Total-Count"] for page in pages} == {"5"}
    assert [row["serial_number"] for page in pages for row in page.json()] == serials
    assert customer.get("stats/issued?per_page=1").headers["Total-Count"] == "5"


def test_links_are_not_link_and_cannot_be_followed(customer: Customer) -> None:
    customer.ca.listing_lag = 0.0
    for _ in range(3):
        customer.serial()
    first, middle, last = (
        customer.get(f"stats/issued?page={page}&per_page=1").headers for page in (1, 2, 3)
    )
    assert "Link" not in middle
    assert "<stats/{status}?page=3&per_page=1&from=" in middle["Links"]
    shown = [
        {rel for rel in ("previous", "next", "last") if f'rel="{rel}"' in headers["Links"]}
        for headers in (first, middle, last)
    ]
    assert shown == [{"next", "last"}, {"previous", "next", "last"}, {"previous", "last"}]


# What goes wrong when it is told to


@pytest.mark.parametrize(
    ("mischief", "status", "words"),
    [
        (Mischief.RATE_LIMITED, 429, "Rate Limit Reached"),
        (Mischief.RATE_LIMITED_UNTIL, 429, "Rate Limit Reached"),
        (Mischief.QUOTA, 402, "Quota Reached"),
        (Mischief.FORBIDDEN, 403, "may not"),
        (Mischief.ERROR, 500, "Internal error"),
        (Mischief.UNKNOWN, 404, "Not Found"),
        (Mischief.REFUSED, 422, REFUSAL),
    ],
)
def test_it_answers_badly_and_books_nothing(
    customer: Customer, mischief: Mischief, status: int, words: str
) -> None:
    customer.ca.misbehave(mischief, seconds=7)
    answer = customer.submit()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert words in answer.text
    until = mischief is Mischief.RATE_LIMITED_UNTIL
    assert answer.headers.get("Retry-After") == ("7" if until else None)
    assert customer.ca.times_ordered(OURS) == 0
    assert len(customer.ca.ordered_at(OURS)) == 1
    assert customer.submit().status_code == 201


def test_every_unsure_answer_is_booked_and_none_has_a_location(customer: Customer) -> None:
    for number, mischief in enumerate(UNSURE, start=1):
        customer.ca.misbehave(mischief)
        answer: httpx2.Response | None = None
        with suppress(httpx2.TransportError):
            answer = customer.submit()
        assert answer is None or "Location" not in answer.headers, mischief
        assert (answer is None) == (mischief in {Mischief.RESET_AFTER, Mischief.CUT_OFF})
        assert customer.ca.times_ordered(OURS) == number, mischief


def test_a_connection_that_is_reset_before_books_nothing(customer: Customer) -> None:
    customer.ca.misbehave(Mischief.RESET_BEFORE)
    with pytest.raises(httpx2.TransportError):
        customer.submit()
    assert customer.ca.times_ordered(OURS) == 0


def test_who_is_locked_out_cannot_log_in_again_once(customer: Customer) -> None:
    customer.ca.misbehave(Mischief.UNAUTHORIZED)
    assert customer.submit().status_code == 401
    assert customer.log_in().status_code == 401
    assert customer.log_in().status_code == 200
    assert customer.submit().status_code == 201
    customer.ca.misbehave(Mischief.UNAUTHORIZED)
    customer.submit()
    customer.ca.behave()
    assert customer.log_in().status_code == 200


def test_an_echo_repeats_what_only_the_ca_should_know(customer: Customer) -> None:
    customer.ca.misbehave(Mischief.ECHO, times=None, on=None)
    for answer in (customer.submit(), customer.log_in()):
        assert answer.status_code == 422
        for secret in (customer.account.api_key, customer.account.api_secret):
            assert secret in answer.json()["description"]
    assert customer.token in customer.get("trustchain").text


def test_a_pending_order_is_refused_for_good(customer: Customer) -> None:
    serial = customer.serial()
    customer.ca.misbehave(Mischief.PENDING, times=2, on=Operation.POLL)
    customer.ca.misbehave(Mischief.REFUSED, on=Operation.POLL)
    answers = [customer.get(f"certificates/{serial}") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 422, 422]
    assert answers[-1].json()["description"] == "CA validation error"
    assert REFUSAL in answers[-1].json()["errors"].values()


@pytest.mark.parametrize("on", [Operation.SUBMIT, Operation.POLL])
@pytest.mark.parametrize("mischief", [Mischief.WRONG_KEY, Mischief.WRONG_NAMES, Mischief.EXPIRED])
def test_it_issues_what_was_not_ordered(
    customer: Customer, mischief: Mischief, on: Operation
) -> None:
    customer.ca.misbehave(mischief, on=on)
    wrong = customer.certificate()
    right = customer.certificate()
    assert (wrong.public_key() != right.public_key()) == (mischief is Mischief.WRONG_KEY)
    names = [
        len(one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        for one in (wrong, right)
    ]
    assert (names[0] < names[1]) == (mischief is Mischief.WRONG_NAMES)
    expired = wrong.not_valid_after_utc.timestamp() < time.time()
    assert expired == (mischief is Mischief.EXPIRED)


@pytest.mark.parametrize(
    ("on", "method", "path"),
    [
        (Operation.ACCOUNT, "GET", "validationpolicy"),
        (Operation.CHAIN, "GET", "trustchain"),
        (Operation.LOOKUP, "GET", "stats/issued"),
        (Operation.POLL, "GET", "certificates/{}"),
        (Operation.REVOKE, "DELETE", "certificates/{}"),
    ],
)
def test_every_kind_of_question_can_go_wrong(
    customer: Customer, on: Operation, method: str, path: str
) -> None:
    path = path.format(customer.serial())
    customer.ca.misbehave(Mischief.ERROR, on=on)
    assert customer.ask(method, path).status_code == 500
    assert customer.ask(method, path).status_code in {200, 204}


def test_a_login_can_go_wrong(customer: Customer) -> None:
    customer.ca.misbehave(Mischief.ERROR, on=Operation.ACCOUNT)
    assert customer.log_in().status_code == 500
    assert customer.log_in().status_code == 200


# Books


def test_the_books_have_every_request(customer: Customer, atlas: Hvca) -> None:
    serial = customer.serial()
    customer.get(f"certificates/{serial}")
    customer.ask("PATCH", f"certificates/{serial}", {"revocation_reason": "superseded"})
    login, submit, poll, revoke = atlas.books.entries()
    number = f"{int(serial, 16):x}"
    assert (login.operation, login.key_generation, login.secret_generation) == ("account", 1, 1)
    assert (submit.operation, submit.status, submit.reference) == ("submit", 201, OURS)
    assert (submit.booked, poll.issued, revoke.revoked) == (number, number, number)
    assert revoke.reason == "superseded"
    assert {entry.token_generation for entry in (submit, poll, revoke)} == {1}
    assert {entry.client_serial for entry in atlas.books.entries()} == {
        f"{customer.account.serial:x}"
    }
