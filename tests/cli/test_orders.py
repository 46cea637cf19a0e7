"""Orders on the command line: what they wait for, and what a person says about uncertain ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from certctl.cli.app import app
from tests.cli.conftest import on_terminal
from tests.cli.fake_server import CERTIFICATE, NOW, ORDER, Reply, order_view, problem

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer, Seen

PATH = f"/api/v1/orders/{ORDER}"
RESOLVE = ("orders", "resolve", ORDER)
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
WAITS_FOR = "a person: nobody knows whether the CA has the order"


def attempt(number: int, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "action": "poll",
        "outcome": "pending",
        "code": None,
        "detail": None,
        "started_at": NOW,
        "duration_ms": 12,
        **more,
    }


def resolved(seen: Seen) -> Reply:
    order = order_view(seen.json()["state"], certificate_id=CERTIFICATE)
    order.pop("history")
    return Reply(200, order)


@pytest.fixture
def uncertain(server: FakeServer) -> FakeServer:
    """A server with an order that only a person can help."""
    history = [attempt(1, action="submit", outcome="no_answer", duration_ms=30_100)]
    order = order_view("uncertain", waits_for=WAITS_FOR, history=history)
    server.on("GET", PATH, Reply(200, order))
    server.on("POST", f"{PATH}/resolve", resolved)
    return server


def said(server: FakeServer) -> dict[str, Any]:
    """The one body that came."""
    (seen,) = server.requests("POST", f"{PATH}/resolve")
    body: dict[str, Any] = seen.json()
    return body


# Looking


def test_what_an_order_waits_for_and_when_it_is_asked_next(run: Run, server: FakeServer) -> None:
    order = order_view(
        "pending",
        waits_for="the CA's answer",
        due_at="2126-01-01T12:00:00Z",
        history=[
            attempt(1, action="submit", duration_ms=30_100),
            attempt(2, outcome="rate_limited", code="4003", detail="slower,\x1b[2J please"),
            attempt(3, code="E7"),
        ],
    )
    server.on("GET", PATH, Reply(200, order))
    lines = run("orders", "show", ORDER).stdout.splitlines()
    assert "Waits for    the CA's answer" in lines
    assert any(line.startswith("Asked next   2126-01-01 12:00:00 UTC (in ") for line in lines)
    first, second, words, third, code = lines[-5:]
    assert first.startswith("  1. submit: pending, 2026-01-01 12:00:00 UTC (")
    assert first.endswith("), took 30.1 s")
    assert second.startswith("  2. poll: rate limited, ")
    assert second.endswith("), took 12 ms")
    assert words == "     slower,\ufffd[2J please (code 4003)"
    assert third.startswith("  3. poll: pending")
    assert code == "     (code E7)"


def test_a_long_history_is_shown_from_its_end(run: Run, server: FakeServer) -> None:
    history = [attempt(number) for number in range(1, 31)]
    server.on("GET", PATH, Reply(200, order_view("pending", history=history)))
    shown = run("orders", "show", ORDER).stdout
    assert f"10 earlier: certctl orders show {ORDER} --all" in shown
    assert " 10. poll" not in shown
    assert " 11. poll" in shown
    assert " 30. poll" in shown
    everything = run("orders", "show", ORDER, "--all").stdout
    assert "  1. poll" in everything
    assert "earlier" not in everything
    assert len(json.loads(run("orders", "show", ORDER, "--json").stdout)["history"]) == 30


def test_an_order_without_a_history(run: Run, server: FakeServer) -> None:
    server.on("GET", PATH, Reply(200, order_view("ready")))
    assert run("orders", "show", ORDER).stdout.splitlines()[-1] == "Attempts     1"


def test_an_uncertain_order_tells_the_command(run: Run, uncertain: FakeServer) -> None:
    shown = run("orders", "show", ORDER).stdout
    assert WAITS_FOR in shown
    assert f"certctl orders resolve {ORDER} --help" in shown


@pytest.mark.parametrize("columns", [50, 80])
def test_long_words_go_on_below_themselves(server: FakeServer, columns: int) -> None:
    words = "the CA's own words, which are many, and go on for longer than a line has room"
    order = order_view(
        "pending", problem=words, waits_for=words, history=[attempt(1, detail=words)]
    )
    server.on("GET", PATH, Reply(200, order))
    code, lines = on_terminal("orders", "show", ORDER, columns=columns)
    assert code == 0
    assert all(len(line) <= columns for line in lines), lines
    assert " ".join(" ".join(lines).split()).count(words) == 3


# Resolving


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--not-ordered", "--yes"), {"state": "ready"}),
        (("--rejected", "--yes"), {"state": "rejected"}),
        (("--cancelled", "--yes"), {"state": "cancelled"}),
        (
            ("--pending", "--reference", "id=47=11", "--reference", "kind=x"),
            {"state": "pending", "reference": {"id": "47=11", "kind": "x"}},
        ),
        (
            ("--pending", "--reference", '{"id": 4711}', "--reason", "found it"),
            {"state": "pending", "reference": {"id": 4711}, "reason": "found it"},
        ),
        (("--issued", "www.pem"), {"state": "issued", "certificate": PEM}),
    ],
)
def test_what_was_found_is_sent(
    run: Run,
    uncertain: FakeServer,
    folder: Path,
    arguments: tuple[str, ...],
    expected: dict[str, Any],
) -> None:
    (folder / "www.pem").write_text(PEM)
    result = run(*RESOLVE, *arguments)
    assert result.exit_code == 0, result.stderr
    assert said(uncertain) == expected
    assert result.stdout == f"Order {ORDER} is {expected['state']}.\n"


def test_an_issued_certificate_can_come_from_standard_input(uncertain: FakeServer) -> None:
    arguments = [*RESOLVE, "--issued", "-", "--json"]
    result = CliRunner().invoke(app, arguments, input=PEM, prog_name="certctl")
    assert json.loads(result.stdout)["state"] == "issued"
    assert said(uncertain)["certificate"] == PEM


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--reason", "none of them"),
        ("--not-ordered", "--rejected"),
        ("--issued", "www.pem", "--cancelled"),
        ("--pending",),
        ("--pending", "--reference", "id"),
        ("--pending", "--reference", "=4711"),
        ("--pending", "--reference", "{planted"),
        ("--rejected", "--reference", "id=4711"),
        ("--rejected", "--json"),
        ("--not-ordered",),
    ],
)
def test_exactly_one_answer_that_can_be_used(
    run: Run, uncertain: FakeServer, arguments: tuple[str, ...]
) -> None:
    result = run(*RESOLVE, *arguments)
    assert result.exit_code == 2
    assert "planted" not in result.stderr
    assert uncertain.seen == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x30\x82 DER", "no certificate in PEM"),
        (b"-----BEGIN CERTIFICATE-----\xff", "no certificate in PEM"),
        (PEM.encode() + b" " * 100_000, "no certificate in PEM"),
        (f"-----BEGIN EC PRIVATE KEY-----\n{PEM}".encode(), "private key"),
    ],
)
def test_a_file_that_is_no_certificate_is_not_sent(
    run: Run, uncertain: FakeServer, folder: Path, content: bytes, words: str
) -> None:
    (folder / "www.pem").write_bytes(content)
    result = run(*RESOLVE, "--issued", "www.pem")
    assert result.exit_code == 3
    assert words in result.stderr
    assert uncertain.seen == []
    assert run(*RESOLVE, "--issued", "missing.pem").exit_code == 1


@pytest.mark.parametrize(
    ("option", "question"),
    [
        ("--not-ordered", "there will be two"),
        ("--rejected", "cannot be opened again"),
        ("--cancelled", "cannot be opened again"),
    ],
)
def test_a_person_is_asked_before_what_cannot_be_undone(
    uncertain: FakeServer, option: str, question: str
) -> None:
    code, lines = on_terminal(*RESOLVE, option, answer="n")
    text = " ".join(" ".join(lines).split())
    assert code == 3
    assert WAITS_FOR in text
    assert question in text
    assert "Nothing was changed." in text
    assert uncertain.requests("POST", f"{PATH}/resolve") == []


def test_what_can_be_undone_is_not_asked_about(uncertain: FakeServer) -> None:
    code, _ = on_terminal(*RESOLVE, "--pending", "--reference", "id=4711")
    assert code == 0
    assert said(uncertain)["state"] == "pending"
    assert uncertain.requests("GET", PATH) == []


def test_an_order_that_is_no_longer_uncertain(run: Run, uncertain: FakeServer) -> None:
    uncertain.on("POST", f"{PATH}/resolve", problem(409, "order-not-uncertain"))
    assert run(*RESOLVE, "--rejected", "--yes").exit_code == 3


def test_an_answer_that_is_lost_is_not_sent_again(run: Run, uncertain: FakeServer) -> None:
    uncertain.on("POST", f"{PATH}/resolve", Reply(lost=True))
    result = run(*RESOLVE, "--rejected", "--yes")
    assert result.exit_code == 4
    assert "may have been stored all the same" in result.stderr
    assert f"certctl orders show {ORDER}" in result.stderr
    assert len(uncertain.requests("POST", f"{PATH}/resolve")) == 1
