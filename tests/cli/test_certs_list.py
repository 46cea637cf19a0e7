"""`certctl certs` with filters, and its table."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from certctl.cli.inventory import table
from certctl.schemas.certificates import CertificateSummary
from tests.cli.fake_server import Reply, Seen, summary
from tests.cli.test_rendering import drawn

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer

CERTIFICATES = "/api/v1/certificates"


@pytest.fixture
def listed(server: FakeServer) -> FakeServer:
    """A server with one certificate, whatever is asked for."""
    server.on("GET", CERTIFICATES, Reply(200, {"data": [summary(1)], "next": None}))
    return server


def asked(server: FakeServer) -> dict[str, str]:
    return server.requests("GET", CERTIFICATES)[-1].query


def test_every_filter_is_sent(run: Run, listed: FakeServer) -> None:
    result = run(
        "certs", "list", "--status", "issued", "--issuer", "iss-local", "--profile", "prof-a",
        "--owner", "web team", "--name", "*.example.org", "--expires-after", "2027-01-01",
        "--expires-before", "2027-02-01T12:00+01:00", "--sort", "-not_after", "--limit", "7",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert asked(listed) == {
        "status": "issued",
        "issuer_id": "iss-local",
        "profile_id": "prof-a",
        "owner": "web team",
        "name": "*.example.org",
        "expires_after": "2027-01-01T00:00:00+00:00",
        "expires_before": "2027-02-01T12:00:00+01:00",
        "sort": "-not_after",
        "limit": "7",
    }


def test_certs_and_certs_list_are_the_same(run: Run, listed: FakeServer) -> None:
    options = ("--status", "revoked", "--limit", "3")
    short, long = run("certs", *options), run("certs", "list", *options)
    assert short.stdout == long.stdout
    first, second = listed.requests("GET", CERTIFICATES)
    assert first.query == second.query == {"status": "revoked", "limit": "3"}


def test_expires_in_is_from_now_on(run: Run, listed: FakeServer) -> None:
    before = datetime.now(UTC)
    assert run("certs", "--expires-in", "30d").exit_code == 0
    query = asked(listed)
    start, end = (datetime.fromisoformat(query[f"expires_{end}"]) for end in ("after", "before"))
    assert before <= start <= datetime.now(UTC)
    assert end - start == timedelta(days=30)


def test_every_page_is_asked_for_alike_and_an_empty_one_is_not_the_end(
    run: Run, server: FakeServer
) -> None:
    pages = [
        {"data": [], "next": "a"},
        {"data": [summary(1)], "next": "b"},
        {"data": [], "next": "c"},
        {"data": [summary(2), summary(3)], "next": None},
    ]
    server.on("GET", CERTIFICATES, *(Reply(200, page) for page in pages))
    result = run("certs", "--expires-in", "30d", "--limit", "3", "--json")
    assert [row["id"] for row in json.loads(result.stdout)["data"]] == [
        f"cert-{number:026d}" for number in (1, 2, 3)
    ]
    seen = server.requests("GET", CERTIFICATES)
    assert [one.query.pop("cursor", None) for one in seen] == [None, "a", "b", "c"]
    assert [one.query.pop("limit") for one in seen] == ["3", "3", "2", "2"]
    assert all(one.query == seen[0].query for one in seen)


def test_words_where_nothing_fits(run: Run, server: FakeServer) -> None:
    server.on("GET", CERTIFICATES, Reply(200, {"data": [], "next": None}))
    result = run("certs", "--status", "failed")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("No certificates fit.")
    assert "certctl issue" in run("certs", "--sort", "not_after").stderr
    assert json.loads(run("certs", "--owner", "x", "--json").stdout) == {"data": [], "next": None}


@pytest.mark.parametrize(
    "options",
    [
        ("--status", "lost"),
        ("--sort", "names"),
        ("--expires-in", "30"),
        ("--expires-in", "soon"),
        ("--expires-in", "0d"),
        ("--expires-in", "9999999999d"),
        ("--expires-before", "tomorrow"),
        ("--expires-in", "30d", "--expires-before", "2027-01-01"),
        ("--expires-in", "30d", "--expires-after", "2027-01-01"),
        ("--every", "0"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked(run: Run, listed: FakeServer, options: tuple[str, ...]) -> None:
    result = run("certs", *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr
    assert not listed.seen


def test_the_answer_to_a_lost_connection_is_asked_for_by_hand(run: Run, server: FakeServer) -> None:
    def lose(_: Seen) -> Reply:
        return Reply(lost=True)

    server.on("GET", CERTIFICATES, lose)
    assert run("certs", "--status", "issued").exit_code == 4


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONG = [f"shop{number}.a-rather-long-name.example.org" for number in range(9)]
ROWS = [
    CertificateSummary.model_validate(row)
    for row in (
        summary(
            1, names=LONG, status="archived", issuer_id="iss-" + "x" * 26, owner="web team " * 5
        ),
        summary(2, names=["日本.example"], status="revoked"),
        summary(3, names=[], common_name="Example Build", not_after=None, owner=None),
    )
]


@pytest.mark.parametrize("width", [58, 60, 80, 200])
def test_the_table_fits_names_first_with_whole_ids(width: int) -> None:
    from rich.cells import cell_len

    lines = drawn(table(ROWS, NOW), width)
    assert len(lines) == 1 + len(ROWS)
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.startswith(start) for line, start in zip(lines, HEADS, strict=True))
    assert all(line.endswith(row.id) for line, row in zip(lines[1:], ROWS, strict=True))
    assert "…" in lines[1]
    assert all(row.status in line for line, row in zip(lines[1:], ROWS, strict=True))
    shown = lines[0].split()
    assert ("EXPIRES" in shown) is (width >= 80)
    assert ("ISSUER" in shown) is (width >= 200)


HEADS = ("NAMES", "shop0.a", "日本.example", "Example Build")


def test_where_no_line_has_room_a_certificate_is_a_record() -> None:
    lines = drawn(table(ROWS, NOW), 45)
    assert all(len(line) <= 45 for line in lines)
    assert f"  ID       {ROWS[1].id}" in lines
