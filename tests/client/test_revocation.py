"""Revoking with the client: what is repeated and what never is, and the waiting for CAs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from certctl.client import ApiError, ClientError, ConnectionFailed
from certctl.schemas.revocations import RevocationFilter
from tests.cli.fake_server import (
    BULK,
    CERTIFICATE,
    NOW,
    bulk_view,
    certificate_view,
    revocation_line,
    revocation_view,
    summary,
    version_view,
)
from tests.client.script import LOST, Script, answer, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.client import Client


def version(state: str | None = None, **more: Any) -> Any:
    revocation = None if state is None else revocation_view(state, **more)
    return version_view(1, revocation=revocation)


VERSION = version()["id"]
#: What is harmless to repeat: how it is called, and what is answered.
HARMLESS: dict[str, tuple[Callable[[Client], Any], Any]] = {
    f"/api/v1/certificates/{CERTIFICATE}/revoke": (
        lambda client: client.revoke(CERTIFICATE, "superseded"),
        certificate_view(None),
    ),
    f"/api/v1/certificates/{CERTIFICATE}/versions/{VERSION}/revoke": (
        lambda client: client.revoke_version(CERTIFICATE, VERSION, "superseded"),
        version("requested"),
    ),
    f"/api/v1/certificates/{CERTIFICATE}/release": (
        lambda client: client.release(CERTIFICATE),
        certificate_view(None),
    ),
    f"/api/v1/certificates/{CERTIFICATE}/versions/{VERSION}/release": (
        lambda client: client.release_version(CERTIFICATE, VERSION),
        version(),
    ),
    f"/api/v1/bulk-revocations/{BULK}/cancel": (
        lambda client: client.cancel_bulk_revocation(BULK),
        bulk_view("cancelled"),
    ),
}


@pytest.mark.parametrize("path", HARMLESS)
@pytest.mark.parametrize(
    "step",
    [*LOST, *(refusal(status, "database-unavailable") for status in (502, 503, 504))],
    ids=lambda step: str(step.status_code) if hasattr(step, "status_code") else type(step).__name__,
)
def test_what_is_harmless_is_repeated(path: str, step: httpx2.Response | Exception) -> None:
    call, body = HARMLESS[path]
    script = Script(step, answer(202, body))
    with script.client() as client:
        assert call(client).id == body["id"]
    first, second = script.requests
    assert (first.method, first.url.path) == ("POST", path)
    expected = {"reason": "superseded"} if path.endswith("/revoke") else None
    assert (json.loads(first.content) if first.content else None) == expected
    assert second.content == first.content


@pytest.mark.parametrize("path", HARMLESS)
def test_a_no_is_not_repeated(path: str) -> None:
    call, _ = HARMLESS[path]
    script = Script(refusal(409, "not-on-hold"))
    with script.client() as client, pytest.raises(ApiError) as caught:
        call(client)
    assert len(script.requests) == 1
    assert not caught.value.uncertain


def test_a_hold_that_ended_by_a_lost_answer_was_taken_back() -> None:
    lost, gone = httpx2.ReadError("reset"), refusal(409, "not-on-hold")
    script = Script(lost, gone, answer(200, certificate_view(None)))
    with script.client() as client:
        assert client.release(CERTIFICATE).status == "issued"
    assert script.requests[-1].method == "GET"

    script = Script(lost, gone, answer(200, {"data": [version_view(2), version()], "next": None}))
    with script.client() as client:
        assert client.release_version(CERTIFICATE, VERSION).id == VERSION


def test_every_version_is_found_on_all_pages() -> None:
    script = Script(
        answer(200, {"data": [version_view(2)], "next": "more"}),
        answer(200, {"data": [version_view(1)], "next": None}),
    )
    with script.client() as client:
        found = client.every_version(CERTIFICATE)
    assert [one.id for one in found] == [version_view(2)["id"], VERSION]
    assert script.requests[1].url.params["cursor"] == "more"


def test_a_version_is_downloaded_by_its_id() -> None:
    script = Script(httpx2.Response(200, content=b"PEM"))
    with script.client() as client:
        assert client.download(CERTIFICATE, "chain", version_id=VERSION) == b"PEM"
    assert dict(script.requests[0].url.params) == {"format": "chain", "version": VERSION}


def versions(*states: str | None) -> httpx2.Response:
    rows = [
        version_view(number, revocation=None if state is None else revocation_view(state))
        for number, state in enumerate(states)
    ]
    return answer(200, {"data": rows, "next": None})


def test_waiting_for_the_ca_to_answer_about_each_version() -> None:
    script = Script(
        versions("requested", "confirmed", None),
        refusal(503, "database-unavailable"),
        versions("told", "confirmed", None),
        versions("refused", "confirmed", None),
    )
    with script.client() as client:
        found = client.wait_for_revocations(CERTIFICATE, 60)
    states = [one.revocation and one.revocation.state for one in found]
    assert states == ["refused", "confirmed", None]
    assert len(script.requests) == 4


def test_waiting_for_the_ca_to_answer_about_one_version() -> None:
    script = Script(versions("requested", "confirmed"))
    with script.client() as client:
        client.wait_for_revocations(CERTIFICATE, 60, version_id=version_view(1)["id"])
    assert len(script.requests) == 1


def test_waiting_for_a_ca_ends_in_time() -> None:
    script = Script(lambda: versions("told"))
    with script.client() as client:
        (found,) = client.wait_for_revocations(CERTIFICATE, 30)
    assert found.revocation is not None
    assert found.revocation.state == "told"
    assert sum(script.slept) == pytest.approx(30)


def test_revocations_and_what_is_asked_of_them() -> None:
    script = Script(answer(200, {"data": [revocation_line(1)], "next": "more"}))
    with script.client() as client:
        page = client.revocations(state="refused", bulk_id=BULK, limit=3, cursor="abc")
    assert (page.data[0].serial, page.next) == (revocation_line(1)["serial"], "more")
    assert dict(script.requests[0].url.params) == {
        "state": "refused",
        "bulk_id": BULK,
        "limit": "3",
        "cursor": "abc",
    }


# Many at once

WHICH = RevocationFilter(owner="web team", issued_after=datetime(2026, 1, 1, tzinfo=UTC))
SENT = {"owner": "web team", "issued_after": "2026-01-01T00:00:00Z"}


def test_a_preview_has_a_page_and_the_total() -> None:
    script = Script(answer(200, {"data": [summary(1)], "next": "more", "total": 7}))
    with script.client() as client:
        page = client.preview_bulk_revocation(WHICH, limit=1, cursor="abc")
    assert (len(page.data), page.next, page.total) == (1, "more", 7)
    (request,) = script.requests
    assert json.loads(request.content) == {"filter": SENT}
    assert dict(request.url.params) == {"limit": "1", "cursor": "abc"}


def start(client: Client) -> Any:
    return client.start_bulk_revocation(WHICH, "superseded", expected=3)


def test_starting_says_how_many_are_expected() -> None:
    script = Script(answer(202, bulk_view("running")))
    with script.client() as client:
        assert start(client).id == BULK
    body = {"filter": SENT, "reason": "superseded", "expected": 3}
    assert json.loads(script.requests[0].content) == body


@pytest.mark.parametrize(
    "step",
    [
        httpx2.ReadTimeout("silent"),
        httpx2.ReadError("reset"),
        httpx2.RemoteProtocolError("closed"),
        refusal(502, "bad-gateway"),
        refusal(503, "database-unavailable"),
        refusal(504, "timeout"),
        refusal(500, "internal-error"),
    ],
)
def test_a_start_that_may_have_happened_is_not_repeated(step: httpx2.Response | Exception) -> None:
    script = Script(step)
    with script.client() as client, pytest.raises(ClientError) as caught:
        start(client)
    assert len(script.requests) == 1
    assert caught.value.uncertain


@pytest.mark.parametrize(
    "step",
    [
        httpx2.ConnectError("refused"),
        httpx2.ConnectTimeout("slow"),
        refusal(503, "server-stopping"),
    ],
)
def test_a_start_that_certainly_did_not_happen_is_repeated(
    step: httpx2.Response | Exception,
) -> None:
    script = Script(step, answer(202, bulk_view("running")))
    with script.client() as client:
        assert start(client).id == BULK
    assert len(script.requests) == 2


def test_a_repeated_start_is_not_repeated_once_it_may_have_happened() -> None:
    script = Script(httpx2.ConnectError("refused"), httpx2.ReadError("reset"))
    with script.client() as client, pytest.raises(ConnectionFailed):
        start(client)
    assert len(script.requests) == 2


def bulk(state: str, done: int = 0, **counts: int) -> httpx2.Response:
    return answer(200, bulk_view(state, done=done, revocations=counts))


def test_a_bulk_revocation_is_followed_to_its_end_and_the_answers_of_its_cas() -> None:
    script = Script(
        bulk("running"),
        httpx2.ReadError("reset"),
        bulk("running", 2, requested=2),
        bulk("done", 3, requested=1, told=1, confirmed=1),
        bulk("done", 3, confirmed=2, refused=1),
    )
    polled: list[int] = []
    with script.client() as client:
        ended = client.wait_for_bulk_revocation(
            BULK, 60, on_poll=lambda bulk: polled.append(bulk.done)
        )
    assert ended.revocations == {"confirmed": 2, "refused": 1}
    assert polled == [0, 2, 3, 3]


def test_it_is_followed_as_long_as_it_gets_on() -> None:
    ahead = [bulk("running", number) for number in range(100)]
    script = Script(*ahead, lambda: bulk("running", 99))
    with script.client() as client:
        assert client.wait_for_bulk_revocation(BULK, 10).done == 99
    assert len(script.requests) > 100
    assert sum(script.slept[99:]) == pytest.approx(10), "then nothing happened for so long"


def test_a_cancelled_one_is_at_its_end() -> None:
    script = Script(bulk("cancelled", 1, confirmed=1))
    with script.client() as client:
        assert client.wait_for_bulk_revocation(BULK, 60).state == "cancelled"
    assert script.slept == []


def test_bulk_revocations_are_listed_and_looked_at() -> None:
    script = Script(answer(200, {"data": [bulk_view()], "next": None}), answer(200, bulk_view()))
    with script.client() as client:
        (listed,) = client.bulk_revocations(limit=5).data
        assert client.bulk_revocation(BULK) == listed
    assert listed.filter.issued_after == datetime.fromisoformat(NOW)
    assert [request.url.path for request in script.requests] == [
        "/api/v1/bulk-revocations",
        f"/api/v1/bulk-revocations/{BULK}",
    ]
