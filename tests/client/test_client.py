"""The client: what it sends, what it repeats, and what it makes of each answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from certctl.client import (
    ApiError,
    Client,
    ClientError,
    ConnectionFailed,
    NotConfigured,
    RetryPolicy,
    ServerAccess,
    UnexpectedAnswer,
)
from certctl.client.retry import parse_retry_after
from certctl.client.trust import trust
from certctl.schemas.certificates import CertificateCreate, RenewRequest
from tests.cli.fake_server import (
    CERTIFICATE,
    ORDER,
    Reply,
    certificate_view,
    fake_server,
    order_view,
)
from tests.client.script import LOST, Script, answer, refusal

if TYPE_CHECKING:
    from pathlib import Path

KEY = "planted-api-key"
BODY = CertificateCreate(issuer_id="iss-local", csr="a request")


def issued() -> httpx2.Response:
    return answer(201, certificate_view(None, status="pending"))


def test_issue_sends_the_body_the_key_and_an_idempotency_key() -> None:
    script = Script(issued)
    with script.client() as client:
        certificate = client.issue(BODY, wait=500)
        client.issue(BODY)
        client.issue(BODY, idempotency_key="mine")
    assert certificate.id == CERTIFICATE
    first, second, third = script.requests
    assert json.loads(first.content) == {
        "issuer_id": "iss-local",
        "profile_id": "prof-tls-server",
        "csr": "a request",
    }
    assert first.headers["Authorization"] == f"Bearer {KEY}"
    assert first.headers["Prefer"] == "wait=60", "no more than the server waits"
    assert "Prefer" not in second.headers
    keys = [request.headers["Idempotency-Key"] for request in script.requests]
    assert len(set(keys)) == 3
    assert third.headers["Idempotency-Key"] == "mine"


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_lost_answer_is_asked_for_again_with_the_same_key(error: Exception) -> None:
    script = Script(error, error, issued)
    with script.client() as client:
        assert client.issue(BODY).id == CERTIFICATE
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert len(script.requests) == 3


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_is_away_for_a_moment(status: int) -> None:
    script = Script(refusal(status, "database-unavailable", Retry_After="7"), issued())
    with script.client() as client:
        client.issue(BODY)
    assert script.slept == [7.0]


def test_the_tries_end() -> None:
    script = Script(httpx2.ReadError("reset"))
    with script.client() as client, pytest.raises(ConnectionFailed) as caught:
        client.issue(BODY)
    assert len(script.requests) == RetryPolicy().attempts
    assert caught.value.uncertain


@pytest.mark.parametrize(
    ("step", "uncertain"),
    [
        (refusal(422, "no"), False),
        (refusal(401, "api-key-unknown"), False),
        (refusal(500, "internal-error"), True),
        (refusal(503, "issuer-not-ready"), False),
        (refusal(503, "database-unavailable", Retry_After="3600"), True),
        (answer(302, {}), True),
        (httpx2.Response(200, content=b"<html>"), True),
    ],
)
def test_what_is_not_repeated(step: httpx2.Response, uncertain: bool) -> None:
    script = Script(step)
    with script.client() as client, pytest.raises(ClientError) as caught:
        client.issue(BODY)
    assert len(script.requests) == 1
    assert caught.value.uncertain is uncertain


def test_no_later_refusal_undoes_what_a_lost_answer_may_have_done() -> None:
    script = Script(httpx2.ReadError("reset"), refusal(401, "api-key-unknown"))
    with script.client() as client, pytest.raises(ApiError) as caught:
        client.issue(BODY)
    assert caught.value.uncertain


def test_reading_is_not_repeated() -> None:
    script = Script(refusal(503, "database-unavailable"))
    with script.client() as client, pytest.raises(ApiError) as caught:
        client.certificates()
    assert len(script.requests) == 1
    assert caught.value.problem.hint == "the hint"
    assert (caught.value.status, caught.value.code) == (503, "database-unavailable")


def test_waiting_for_an_order() -> None:
    pending = answer(200, order_view("pending"))
    script = Script(
        pending,
        refusal(503, "database-unavailable"),
        httpx2.ReadError("reset"),
        answer(200, order_view("issued")),
    )
    polled: list[str] = []
    with script.client() as client:
        order = client.wait_for_order(ORDER, 60, on_poll=lambda order: polled.append(order.state))
    assert order.state == "issued"
    assert polled == ["pending", "issued"]
    assert all(0 < pause <= 6 for pause in script.slept)


def test_waiting_ends_in_time() -> None:
    script = Script(lambda: answer(200, order_view("pending")))
    with script.client() as client:
        assert client.wait_for_order(ORDER, 30).state == "pending"
    assert sum(script.slept) == pytest.approx(30)
    assert len(script.requests) < 15


def test_not_waiting_asks_once() -> None:
    script = Script(answer(200, order_view("pending")))
    with script.client() as client:
        assert client.wait_for_order(ORDER, 0).state == "pending"
    assert len(script.requests) == 1


def test_an_order_for_a_person_is_not_waited_for() -> None:
    script = Script(answer(200, order_view("uncertain")))
    with script.client() as client:
        assert client.wait_for_order(ORDER, 60).state == "uncertain"
    assert script.slept == []


@pytest.mark.parametrize("step", [httpx2.ConnectError("refused"), refusal(404, "order-not-found")])
def test_an_order_that_is_never_seen(step: Any) -> None:
    script = Script(step)
    with script.client() as client, pytest.raises(ClientError):
        client.wait_for_order(ORDER, 10)
    assert sum(script.slept) <= 10.001


def test_ids_are_one_part_of_the_address() -> None:
    script = Script(refusal(404, "certificate-not-found"))
    with script.client() as client, pytest.raises(ApiError):
        client.certificate("../audit?x=1")
    assert script.requests[0].url.raw_path == b"/api/v1/certificates/..%2Faudit%3Fx%3D1"


def test_what_is_not_asked_for_is_not_sent() -> None:
    script = Script(answer(200, {"data": [], "next": None}))
    with script.client() as client:
        client.orders()
        client.orders(state="pending", limit=3, cursor="abc")
    assert script.requests[0].url.query == b""
    assert dict(script.requests[1].url.params) == {
        "state": "pending",
        "limit": "3",
        "cursor": "abc",
    }


def test_the_filter_of_the_inventory_is_sent() -> None:
    script = Script(answer(200, {"data": [], "next": None}))
    with script.client() as client:
        client.certificates(
            status="issued",
            name="*.example.org",
            expires_before=datetime(2027, 1, 1, tzinfo=UTC),
            sort="not_after",
        )
    assert dict(script.requests[0].url.params) == {
        "status": "issued",
        "name": "*.example.org",
        "expires_before": "2027-01-01T00:00:00+00:00",
        "sort": "not_after",
    }


def test_fields_of_a_newer_server_are_ignored() -> None:
    script = Script(answer(200, {"data": [], "next": None, "new": 1}))
    with script.client() as client:
        assert client.certificates().data == []


def test_an_answer_that_is_not_certctls() -> None:
    script = Script(answer(200, {"data": "no"}))
    with script.client() as client, pytest.raises(UnexpectedAnswer):
        client.certificates()


# Renewal


def test_renewing_sends_what_is_given_and_an_idempotency_key() -> None:
    script = Script(issued)
    with script.client() as client:
        assert client.renew(CERTIFICATE).id == CERTIFICATE
        client.renew(
            CERTIFICATE,
            RenewRequest(csr="a request", validity_days=30),
            idempotency_key="mine",
            wait=500,
        )
    first, second = script.requests
    assert first.url.path == f"/api/v1/certificates/{CERTIFICATE}/renew"
    assert json.loads(first.content) == {}
    assert first.headers["Idempotency-Key"]
    assert "Prefer" not in first.headers
    assert json.loads(second.content) == {"csr": "a request", "validity_days": 30}
    assert second.headers["Idempotency-Key"] == "mine"
    assert second.headers["Prefer"] == "wait=60"


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_lost_renewal_is_asked_for_again_with_the_same_key(error: Exception) -> None:
    script = Script(error, refusal(503, "database-unavailable"), issued)
    with script.client() as client:
        assert client.renew(CERTIFICATE).id == CERTIFICATE
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert len(script.requests) == 3


# Retries


def test_waits_grow_and_are_spread() -> None:
    policy = RetryPolicy(attempts=5, first=1, longest=3)
    assert [policy.delay(number, 0.5) for number in range(1, 6)] == [1, 2, 3, 3, None]
    assert policy.delay(1, 0) == 0.5
    assert policy.delay(1, 0, retry_after=9) == 9
    assert policy.delay(1, 0, retry_after=9999) is None


def test_retry_after_in_both_forms() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert parse_retry_after("120", now) == 120
    assert parse_retry_after("Thu, 01 Jan 2026 12:00:30 GMT", now) == 30
    assert parse_retry_after("Thu, 01 Jan 2020 12:00:30 GMT", now) == 0
    assert parse_retry_after("soon", now) is None
    assert parse_retry_after(None, now) is None


# Real HTTPS


@pytest.mark.usefixtures("socket_enabled")
def test_over_https(tmp_path: Path) -> None:
    with fake_server(tmp_path) as server:
        server.on("GET", "/healthz", Reply(200, {"status": "ok"}))
        with Client(ServerAccess(server.url, KEY, server.ca)) as client:
            assert client.health().status == "ok"


@pytest.mark.usefixtures("socket_enabled")
def test_a_server_of_another_authority_is_refused(tmp_path: Path) -> None:
    with fake_server(tmp_path) as server:
        refused(ServerAccess(server.url, KEY, None))
        assert server.seen == []


@pytest.mark.usefixtures("socket_enabled")
def test_a_server_of_another_name_is_refused(tmp_path: Path) -> None:
    with fake_server(tmp_path, names=("ca.example.org",)) as server:
        refused(ServerAccess(server.url, KEY, server.ca))
        assert server.seen == []


def refused(access: ServerAccess) -> None:
    with Client(access) as client, pytest.raises(ConnectionFailed) as caught:
        client.issue(BODY)
    assert "is not trusted" in caught.value.detail
    assert not caught.value.uncertain
    assert not caught.value.passing


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="cannot read"):
        trust(tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(NotConfigured, match="no certificate"):
        trust(tmp_path / "empty.pem")
