"""Many revocations at once: the preview, the question, the start, the following."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import interrupted, on_terminal
from tests.cli.fake_server import BULK, Reply, Seen, bulk_view, problem, summary

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer

PREVIEW = ("POST", "/api/v1/bulk-revocations/preview")
START = ("POST", "/api/v1/bulk-revocations")
LOOK = ("GET", f"/api/v1/bulk-revocations/{BULK}")
OWNER = ("--owner", "web team")
RUNNING = bulk_view("running", done=0, revocations={})


def finding(total: int) -> Any:
    """A filter that finds so many."""

    def answer(seen: Seen) -> Reply:
        start = int(seen.query.get("cursor", "0"))
        end = min(start + int(seen.query["limit"]), total)
        rows = [summary(number) for number in range(start, end)]
        more = str(end) if end < total else None
        return Reply(200, {"data": rows, "next": more, "total": total})

    return answer


@pytest.fixture
def many(server: FakeServer) -> FakeServer:
    """A server whose filter finds three, and that revokes them by and by."""
    server.on(*PREVIEW, finding(3))
    server.on(*START, Reply(202, RUNNING))
    server.on(*LOOK, Reply(200, RUNNING), Reply(200, bulk_view()))
    return server


def started(server: FakeServer) -> list[Any]:
    return [seen.json() for seen in server.requests(*START)]


# The preview


def test_a_dry_run_shows_everything_and_does_nothing(run: Run, many: FakeServer) -> None:
    many.on(*PREVIEW, finding(1200))
    result = run("revoke", *OWNER, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1201
    assert "1200 certificates would be revoked." in result.stderr
    as_json = json.loads(run("revoke", *OWNER, "--dry-run", "--json").stdout)
    assert (len(as_json["data"]), as_json["total"], as_json["next"]) == (1200, 1200, None)
    assert started(many) == []


@pytest.mark.parametrize("columns", [80, 120])
def test_a_dry_run_fits_a_terminal(many: FakeServer, columns: int) -> None:
    code, lines = on_terminal("revoke", *OWNER, "--dry-run", columns=columns)
    assert code == 0
    assert len(lines) == 5
    assert all(len(line) <= columns for line in lines)


def test_a_dry_run_that_finds_nothing(run: Run, many: FakeServer) -> None:
    many.on(*PREVIEW, finding(0))
    result = run("revoke", *OWNER, "--dry-run")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Nothing fits.\n")
    assert json.loads(run("revoke", *OWNER, "--dry-run", "--json").stdout)["total"] == 0


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("--issuer", "iss-x"), {"issuer_id": "iss-x"}),
        (("--profile", "prof-x"), {"profile_id": "prof-x"}),
        (OWNER, {"owner": "web team"}),
        (("--name", "*.example.org"), {"name": "*.example.org"}),
        (("--issued-after", "2026-01-31"), {"issued_after": "2026-01-31T00:00:00Z"}),
        (
            ("--issued-before", "2026-01-31T12:30+02:00", "--issuer", "iss-x"),
            {"issued_before": "2026-01-31T12:30:00+02:00", "issuer_id": "iss-x"},
        ),
    ],
)
def test_filters(
    run: Run, many: FakeServer, arguments: tuple[str, ...], sent: dict[str, str]
) -> None:
    assert run("revoke", *arguments, "--yes").exit_code == 0
    assert many.requests(*PREVIEW)[0].json() == {"filter": sent}
    assert started(many)[0]["filter"] == sent


def test_a_filter_that_is_none(run: Run, many: FakeServer) -> None:
    result = run("revoke", "--owner", "", "--yes")
    assert result.exit_code == 3
    assert "owner" in result.stderr
    assert many.seen == []


# The question, and the start


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_without_a_terminal_nothing_is_revoked_unasked(
    run: Run, many: FakeServer, arguments: tuple[str, ...]
) -> None:
    result = run("revoke", *OWNER, *arguments)
    assert result.exit_code == 2
    assert "add --yes" in result.stderr
    assert many.seen == []


def test_one_sees_what_will_go_and_is_asked(many: FakeServer) -> None:
    many.on(*PREVIEW, finding(1200))
    code, lines = on_terminal("revoke", *OWNER, "--reason", "keyCompromise", answer="n")
    assert code == 3
    assert sum("  cert-0" in line for line in lines) == 10
    assert "... and 1190 more: --dry-run shows them all." in lines
    assert any("Revoke 1200 certificates (keyCompromise)?" in line for line in lines)
    assert lines[-1].strip() == "Nothing was revoked."
    assert started(many) == []
    assert all(len(line) <= 80 for line in lines)


def test_what_was_seen_is_what_is_revoked(many: FakeServer) -> None:
    code, lines = on_terminal("revoke", *OWNER, "--reason", "keyCompromise", answer="y")
    assert code == 0
    assert started(many) == [
        {"filter": {"owner": "web team"}, "reason": "keyCompromise", "expected": 3}
    ]
    assert "State            done" in lines


def test_it_is_followed_to_its_end(run: Run, many: FakeServer) -> None:
    told = bulk_view("done", revocations={"told": 2, "confirmed": 1})
    many.on(*LOOK, Reply(200, RUNNING), Reply(lost=True), Reply(200, told), Reply(200, bulk_view()))
    result = run("revoke", *OWNER, "--yes")
    assert result.exit_code == 0, result.stderr
    assert "Certificates     3 of 3 revoked" in result.stdout
    assert "Versions         3 confirmed" in result.stdout
    assert f"Started {BULK}" in result.stderr


def test_json_is_the_last_answer_of_the_api(run: Run, many: FakeServer) -> None:
    result = run("revoke", *OWNER, "--yes", "--json")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    shown["filter"] = {part: value for part, value in shown["filter"].items() if value}
    assert shown == bulk_view()
    assert result.stderr == ""


def test_where_nothing_fits_nothing_is_started(run: Run, many: FakeServer) -> None:
    many.on(*PREVIEW, finding(0))
    result = run("revoke", *OWNER, "--yes")
    assert result.exit_code == 6
    assert "no certificate fits: nothing was revoked" in result.stderr
    assert started(many) == []


def test_when_others_fit_meanwhile_nothing_is_revoked(run: Run, many: FakeServer) -> None:
    many.on(*START, problem(409, "bulk-count-changed"))
    result = run("revoke", *OWNER, "--yes")
    assert result.exit_code == 3
    assert "Error: the detail of bulk-count-changed\nHint: the hint" in result.stderr
    assert many.requests(*LOOK) == []


@pytest.mark.parametrize(
    ("reply", "exit_code"),
    [(Reply(lost=True), 4), (problem(503, "database-unavailable"), 4), (problem(500, "no"), 1)],
)
def test_a_start_whose_answer_is_lost_is_not_repeated(
    run: Run, many: FakeServer, reply: Reply, exit_code: int
) -> None:
    many.on(*START, reply)
    result = run("revoke", *OWNER, "--yes")
    assert result.exit_code == exit_code
    assert len(started(many)) == 1
    assert "may have been started all the same" in result.stderr
    assert "before you try again: certctl revocations bulk" in result.stderr


def test_ctrl_c_before_the_answer_says_where_to_look(many: FakeServer, folder: Path) -> None:
    over = threading.Event()

    def hang(_: Seen) -> Reply:
        (folder / "asked").touch()
        over.wait(30)
        return Reply(lost=True)

    many.on(*START, hang)
    code, stderr = interrupted("revoke", *OWNER, "--yes", when=folder / "asked")
    over.set()
    assert code == 130
    assert "certctl revocations bulk" in stderr


# The following

FOLLOW = ("revocations", "follow", BULK)


@pytest.mark.parametrize("command", [FOLLOW, ("revoke", *OWNER, "--yes")], ids=["follow", "revoke"])
def test_what_goes_on_can_be_followed_later(
    run: Run, many: FakeServer, command: tuple[str, ...]
) -> None:
    many.on(*LOOK, Reply(200, bulk_view("running", done=1, revocations={"confirmed": 1})))
    result = run(*command, "--no-wait")
    assert result.exit_code == 7
    assert "Certificates     1 of 3 revoked" in result.stdout
    assert "1 of 3 certificates revoked" in result.stderr
    assert f"certctl revocations follow {BULK}" in result.stderr
    as_json = run(*command, "--no-wait", "--json")
    assert as_json.exit_code == 7
    assert json.loads(as_json.stdout)["done"] == 1
    assert json.loads(as_json.stderr)["type"] == "urn:certctl:problem:bulk-revocation-pending"


def test_a_ca_that_has_not_answered_is_waited_for(run: Run, many: FakeServer) -> None:
    many.on(*LOOK, Reply(200, bulk_view("done", revocations={"requested": 3})))
    result = run(*FOLLOW, "--wait", "1")
    assert result.exit_code == 7
    assert "3 requested" in result.stdout
    assert len(many.requests(*LOOK)) > 2


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (
            bulk_view("done", revocations={"confirmed": 2, "refused": 1}),
            f"certctl revocations --bulk {BULK} --state refused",
        ),
        (bulk_view("cancelled", done=1), f"certctl revocations --bulk {BULK}"),
    ],
)
def test_what_did_not_end_well_has_an_exit_code(
    run: Run, many: FakeServer, view: dict[str, Any], said: str
) -> None:
    many.on(*LOOK, Reply(200, view))
    result = run(*FOLLOW)
    assert result.exit_code == 8
    assert f"State            {view['state']}" in result.stdout
    assert said in result.stderr


def test_whatever_fails_afterwards_it_was_started(run: Run, many: FakeServer) -> None:
    many.on(*LOOK, problem(401, "api-key-unknown"))
    result = run("revoke", *OWNER, "--yes")
    assert result.exit_code == 7
    assert "the detail of api-key-unknown" in result.stderr
    assert f"certctl revocations follow {BULK}" in result.stderr


def test_ctrl_c_leaves_it_running(many: FakeServer, folder: Path) -> None:
    def tell(_: Seen) -> Reply:
        (folder / "polled").touch()
        return Reply(200, RUNNING)

    many.on(*LOOK, tell)
    code, stderr = interrupted("revoke", *OWNER, "--yes", when=folder / "polled")
    assert code == 7
    assert "interrupted" in stderr
    assert f"certctl revocations follow {BULK}" in stderr
    assert [seen.path for seen in many.seen if "cancel" in seen.path] == []


def test_one_that_is_not_there(run: Run, server: FakeServer) -> None:
    server.on(*LOOK, problem(404, "bulk-revocation-not-found"))
    assert run(*FOLLOW).exit_code == 6
    server.on("POST", f"{LOOK[1]}/cancel", problem(409, "bulk-revocation-done"))
    assert run("revocations", "cancel", BULK).exit_code == 3
