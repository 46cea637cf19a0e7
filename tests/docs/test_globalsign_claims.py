"""The operator's page for GlobalSign Atlas: what it says that no command shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from certctl.connectors.globalsign import atlas, listing, rekeying, session
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from certctl.pki.keys import generate_key
from tests.conformance.hvca import hvca
from tests.conformance.hvca.policy import permissive_policy
from tests.docs.globalsign_stage import new_name, strangers_server
from tests.docs.pages import DOCS, read_rows
from tests.support.pki import make_csr

if TYPE_CHECKING:
    from tests.docs.globalsign_stage import Stage

PAGE = (DOCS / "connectors" / "globalsign.md").read_text("utf-8")
_DAY = 86_400

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("socket_enabled")]


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    assert atlas.LISTING_SECONDS == 600
    assert "**ten minutes** after it was sent is sent again" in PAGE
    assert listing.EARLIEST == 120
    assert "at most two minutes before it is ordered" in PAGE
    assert f"at {atlas._MOST_LOOKED_AT} certificates at most in one look-up" in PAGE
    assert session._TOKEN_SECONDS == 540
    assert "used for nine minutes" in PAGE


def test_a_certificate_of_another_account_is_refused_at_the_login(stage: Stage) -> None:
    other = stage.atlas.new_account()
    stage.atlas.end(other)
    certificate, key = other.write(stage.folder, "ended")
    paths = {"client_cert_path": str(certificate), "client_key_path": str(key)}
    said = stage.test(stage.atlas, **paths)
    assert said.startswith("the login with API key and secret was not accepted: ")
    assert "client certificate" in said


def test_the_first_order_gets_the_longest_and_later_ones_are_told(stage: Stage) -> None:
    stage.atlas.policy["validity"]["secondsmax"] = 30 * _DAY
    issuer = stage.issuer(stage.atlas)
    assert stage.order(issuer, validity_days=60, wait=20)["status"] == "issued"
    assert "at most 30 days" in stage.order(issuer, validity_days=60)["detail"]


@pytest.mark.parametrize("anew", ["test", "put"])
def test_a_policy_that_was_changed_is_read_again(stage: Stage, anew: str) -> None:
    names = stage.atlas.policy["san"]["dns_names"]
    allowed, names["list"] = names["list"], ["\\.example\\.com$"]
    issuer = stage.issuer(stage.atlas)
    assert "names of kind dns" in stage.problem(stage.order(issuer), "rejected")
    names["list"] = allowed
    address = f"/api/v1/issuers/{issuer}"
    if anew == "test":
        stage.client.post(f"{address}/test").raise_for_status()
    else:
        name = stage.client.get(address).json()["name"]
        stage.client.put(address, json={"name": name}).raise_for_status()
    assert stage.order(issuer, wait=20)["status"] == "issued"


@pytest.mark.parametrize(("days", "same_end"), [(90, True), (200, False)])
def test_a_new_key_soon_after_is_a_change_of_key(
    stage: Stage, days: int, *, same_end: bool
) -> None:
    first = stage.order(stage.issuer(stage.atlas), validity_days=90, wait=20)
    csr = make_csr(generate_key(KeyType.P256), ["www.example.org"])
    renewed = stage.client.post(
        f"/api/v1/certificates/{first['id']}/renew",
        json={"csr": csr, "validity_days": days},
        headers={"Prefer": "wait=20"},
    ).json()
    ends = [found["version"]["not_after"] for found in (first, renewed)]
    assert (ends[0] == ends[1]) is same_end
    assert first["version"]["serial"] != renewed["version"]["serial"]
    assert rekeying._ENOUGH == 0.9
    assert "nine tenths of the lifetime" in PAGE


def test_ed25519_keys_are_refused_in_any_case(stage: Stage) -> None:
    said = stage.order(stage.issuer(stage.atlas), key=KeyType.ED25519)
    assert "does not certify ed25519 keys" in said["detail"]


@pytest.mark.parametrize("dialect", ["atlas", "headers"])
def test_reasons_are_told_as_the_page_says(stage: Stage, dialect: str) -> None:
    ca = stage.atlas if dialect == "atlas" else stage.headers
    issuer = stage.issuer(ca)
    said = {}
    for reason in RevocationReason:
        made = stage.order(issuer, wait=20)
        answer = stage.client.post(
            f"/api/v1/certificates/{made['id']}/revoke", json={"reason": reason.value}
        )
        if answer.status_code == 422:
            said[reason.value] = answer.json()["type"].rpartition(":")[2]
            continue
        found = stage.settled(made["id"])
        serial = made["version"]["serial"]
        said[reason.value] = ca.books.revoked().get(serial, found["state"])
    same = {
        "unspecified",
        "keyCompromise",
        "affiliationChanged",
        "cessationOfOperation",
        "superseded",
        "privilegeWithdrawn",
    }
    assert said == {
        **{reason: reason for reason in same},
        "cACompromise": "unspecified",
        "aACompromise": "unspecified",
        "certificateHold": "hold-not-supported",
    }
    (kept, _), (others_row, _), _ = read_rows(PAGE, "Revocation")
    assert set(re.findall(r"`(\w+)`", kept)) == same
    assert set(re.findall(r"`(\w+)`", others_row)) == {"cACompromise", "aACompromise"}


def test_a_server_without_patch_is_asked_with_delete(stage: Stage) -> None:
    stage.atlas.patch_known = False
    try:
        made = stage.order(stage.issuer(stage.atlas), wait=20)
        body = {"reason": "keyCompromise"}
        stage.client.post(f"/api/v1/certificates/{made['id']}/revoke", json=body)
        assert stage.settled(made["id"])["state"] == "confirmed"
    finally:
        stage.atlas.patch_known = True
    assert stage.atlas.books.revoked()[made["version"]["serial"]] == "unspecified"
    assert "revoked without a reason" in (stage.folder / "data" / "server.log").read_text()


def test_an_issuer_whose_address_changes_asks_there(stage: Stage) -> None:
    issuer = stage.issuer(stage.atlas)
    made = stage.order(issuer, wait=20)
    elsewhere = stage.folder / "elsewhere"
    elsewhere.mkdir()
    with hvca(elsewhere, "atlas") as other:
        config = other.settings(other.new_account(), elsewhere)
        body = {"name": new_name(), "config": config}
        stage.client.put(f"/api/v1/issuers/{issuer}", json=body).raise_for_status()
        stage.client.post(f"/api/v1/certificates/{made['id']}/revoke", json={})
        assert stage.settled(made["id"])["state"] == "refused"
    assert made["version"]["serial"] not in stage.atlas.books.revoked()


@pytest.mark.parametrize("dialect", ["atlas", "headers"])
def test_what_a_test_says_when_it_succeeds(stage: Stage, dialect: str) -> None:
    ca = stage.atlas if dialect == "atlas" else stage.headers
    before = len(ca.books.orders())
    for spoken in (dialect, "auto"):
        issuer = stage.issuer(ca, dialect=spoken)
        found = stage.client.post(f"/api/v1/issuers/{issuer}/test").json()
        assert found["status"] == "ok"
        assert found["host"] == ca.url.removeprefix("https://")
        shown = found["detail"].partition(";")[0]
        assert shown == f"dialect {dialect}"
        assert dialect == "atlas" or f"\n{found['detail']}\n" in PAGE
    assert len(ca.books.orders()) == before, "it orders nothing"


def test_figures_that_the_account_may_not_read_are_left_out(stage: Stage) -> None:
    pages = {
        "/v2/login": {"access_token": "a-token"},
        "/v2/validationpolicy": permissive_policy(),
        "/v2/quotas/issuance": {"value": 3},
    }
    with strangers_server(stage, pages=pages) as peer:
        issuer = stage.issuer(stage.atlas, **peer)
        found = stage.client.post(f"/api/v1/issuers/{issuer}/test").json()
    assert found["status"] == "ok", found
    assert "left to issue: 3; issued: not shown (" in found["detail"]


def test_a_login_that_is_refused_is_a_login(stage: Stage) -> None:
    said = stage.test(stage.atlas, dialect="auto", api_secret="0" * 40)
    assert said.startswith("the login with API key and secret was not accepted: ")


@pytest.mark.parametrize("status", [404, 405, 501])
def test_auto_takes_a_server_without_a_login_for_the_other_dialect(
    stage: Stage, status: int
) -> None:
    stage.headers.login_status = status
    try:
        issuer = stage.issuer(stage.headers, dialect="auto")
        found = stage.client.post(f"/api/v1/issuers/{issuer}/test").json()
        assert found["detail"].startswith("dialect headers")
    finally:
        stage.headers.login_status = 404
