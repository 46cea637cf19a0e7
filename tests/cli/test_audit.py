"""`certctl audit`: filters, exports that survive breaks, and verification without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.audit_export import is_proof
from certctl.pki.audit_keys import ExportSigner
from tests.cli.conftest import on_terminal
from tests.cli.fake_server import CERTIFICATE, NOW, FakeServer, Reply, problem
from tests.support.audit_exports import chain, exported

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Run
    from tests.cli.fake_server import Seen

AUDIT = "/api/v1/audit"
SIGNER = ExportSigner(b"k" * 32)
LINES = exported(
    [*chain("chain-a", 6), *chain("chain-b", 5, {"chain-a": 6})],
    sign=SIGNER.sign,
    key_id=SIGNER.public.key_id,
)
WHOLE = b"".join(line + b"\n" for line in LINES)
PUBLIC = {
    "key_id": SIGNER.public.key_id,
    "algorithm": "Ed25519",
    "public_key": SIGNER.public.pem,
}
EVENT = {
    "chain_id": "chain-1",
    "seq": 2,
    "at": NOW,
    "actor": "admin",
    "action": "issuer.updated",
    "object_type": "issuer",
    "object_id": "iss-acme",
    "detail": {
        "revision": 2,
        "changes": {"name": {"from": "a", "to": "b"}, "config.api_key": "changed"},
    },
    "request_id": "6f1c9c0b5e1f4a77",
}


def from_cursor(*, most: int) -> Callable[[Seen], Reply]:
    """Serves what follows a cursor, but not more than so many lines: then the answer breaks off."""

    def answer(seen: Seen) -> Reply:
        start = 0
        if "cursor" in seen.query:
            mark = f'"continues":"{seen.query["cursor"]}"'.encode()
            start = next(n for n, line in enumerate(LINES, 1) if is_proof(line) and mark in line)
        lines = LINES[start : start + most]
        return Reply(200, b"".join(line + b"\n" for line in lines))

    return answer


@pytest.fixture
def serving(server: FakeServer) -> FakeServer:
    """A server with a log."""
    server.on("GET", f"{AUDIT}/export", Reply(200, WHOLE))
    server.on("GET", f"{AUDIT}/export/key", Reply(200, PUBLIC))
    server.on("GET", AUDIT, Reply(200, {"data": [EVENT], "next": None}))
    return server


@pytest.fixture
def key_file(folder: Path) -> str:
    """The public key, fetched earlier."""
    (folder / "audit.pub").write_text(SIGNER.public.pem)
    return "audit.pub"


def test_filters_are_sent(run: Run, serving: FakeServer) -> None:
    options = ["--actor", "admin", "--action", "issuer.", "--object-type", "issuer"]
    options += ["--object", CERTIFICATE, "--from", "2026-01-31", "--to", "2026-02-01T12:00+01:00"]
    assert run("audit", *options).exit_code == 0
    (seen,) = serving.requests("GET", AUDIT)
    assert seen.query == {
        "actor": "admin",
        "action": "issuer.",
        "object_type": "issuer",
        "object_id": CERTIFICATE,
        "from": "2026-01-31T00:00:00+00:00",
        "to": "2026-02-01T12:00:00+01:00",
        "limit": "50",
    }


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_list_fits_a_terminal(serving: FakeServer, columns: int) -> None:
    event = {**EVENT, "object_type": "certificate", "object_id": CERTIFICATE}
    serving.on("GET", AUDIT, Reply(200, {"data": [event], "next": None}))
    code, lines = on_terminal("audit", columns=columns)
    assert code == 0
    assert all(len(line) <= columns for line in lines)
    assert CERTIFICATE in "\n".join(lines), "an id is whole, so that it can be copied"


def test_the_list_names_what_changed(run: Run, serving: FakeServer) -> None:
    assert "name, config.api_key  " in run("audit").stdout
    assert json.loads(run("audit", "--json").stdout)["data"] == [EVENT]
    older = {name: value for name, value in EVENT.items() if name != "request_id"}
    serving.on("GET", AUDIT, Reply(200, {"data": [older], "next": None}))
    assert "name, config.api_key  " in run("audit").stdout, "of a server of before"
    many = {**EVENT, "detail": {"changes": dict.fromkeys(["a", "b", "c", "d"], "changed")}}
    serving.on("GET", AUDIT, Reply(200, {"data": [many], "next": None}))
    assert "a, b and 2 more" in run("audit").stdout


def test_an_export_is_written_and_verified(run: Run, serving: FakeServer, key_file: str) -> None:
    done = run("audit", "export", "--out", "audit.jsonl")
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"Wrote audit.jsonl: {len(LINES)} lines" in done.stderr
    assert Path("audit.jsonl").read_bytes() == WHOLE
    serving.answers.clear()
    checked = run("audit", "verify", "audit.jsonl", "--key-file", key_file)
    assert checked.exit_code == 0
    assert "The export is unaltered: 11 events in 2 chains checked." in checked.stdout
    assert "1970-01-01T00:00:01.000Z" in checked.stdout
    as_json = json.loads(
        run("audit", "verify", "audit.jsonl", "--key-file", key_file, "--json").stdout
    )
    assert (as_json["events"], as_json["problems"]) == (11, [])


def test_an_export_goes_to_standard_output(run: Run, serving: FakeServer) -> None:
    assert run("audit", "export").stdout_bytes == WHOLE


def test_an_export_in_json_says_what_was_written(run: Run, serving: FakeServer) -> None:
    done = run("audit", "export", "--out", "audit.jsonl", "--json")
    assert json.loads(done.stdout) == {"file": "audit.jsonl", "lines": len(LINES)}


def test_what_is_there_is_not_replaced(run: Run, serving: FakeServer) -> None:
    Path("audit.jsonl").write_text("precious")
    done = run("audit", "export", "--out", "audit.jsonl")
    assert done.exit_code == 2
    assert Path("audit.jsonl").read_text() == "precious"
    resumed = run("audit", "export", "--out", "audit.jsonl", "--resume")
    assert resumed.exit_code == 2
    assert Path("audit.jsonl").read_text() == "precious"
    assert run("audit", "export", "--out", "audit.jsonl", "--force").exit_code == 0
    assert Path("audit.jsonl").read_bytes() == WHOLE


def test_an_answer_that_breaks_off_is_carried_on(run: Run, serving: FakeServer) -> None:
    serving.on("GET", f"{AUDIT}/export", from_cursor(most=8))
    done = run("audit", "export", "--out", "audit.jsonl")
    assert done.exit_code == 0, done.stderr
    assert Path("audit.jsonl").read_bytes() == WHOLE
    cursors = [seen.query.get("cursor") for seen in serving.requests("GET", f"{AUDIT}/export")]
    assert cursors == [None, "at-4", "at-8", "at-12"]


def test_an_export_that_failed_is_carried_on_later(
    run: Run, serving: FakeServer, key_file: str
) -> None:
    away = problem(500, "internal-error")
    serving.on("GET", f"{AUDIT}/export", from_cursor(most=8), away)
    failed = run("audit", "export", "--out", "audit.jsonl")
    assert failed.exit_code == 1
    assert "certctl audit export --out audit.jsonl --resume" in failed.stderr
    assert Path("audit.jsonl").read_bytes() == b"".join(line + b"\n" for line in LINES[:5])
    checked = run("audit", "verify", "audit.jsonl", "--key-file", key_file)
    assert checked.exit_code == 9
    assert "line 6: the file ends too early" in checked.stdout
    # What a crash left of the next block is taken away.
    with Path("audit.jsonl").open("ab") as file:
        file.write(LINES[5] + b"\n" + LINES[6][:20])
    serving.on("GET", f"{AUDIT}/export", from_cursor(most=100))
    assert run("audit", "export", "--out", "audit.jsonl", "--resume").exit_code == 0
    assert Path("audit.jsonl").read_bytes() == WHOLE
    again = run("audit", "export", "--out", "audit.jsonl", "--resume")
    assert again.exit_code == 2
    assert "is a whole export" in again.stderr


@pytest.mark.parametrize(
    ("alter", "line", "words"),
    [
        (lambda lines: lines[:6] + lines[7:], 7, "1 line is missing before this one"),
        (
            lambda lines: [*lines[:6], lines[6].replace(b"admin", b"x"), *lines[7:]],
            7,
            "altered",
        ),
        (lambda lines: lines[:-1], 16, "no proof follows lines 16 to 19"),
        (lambda lines: [], 1, "the file ends too early"),
    ],
)
def test_what_was_done_to_a_file_is_named_by_line(
    run: Run, key_file: str, alter: Callable[[list[bytes]], list[bytes]], line: int, words: str
) -> None:
    Path("audit.jsonl").write_bytes(b"".join(line + b"\n" for line in alter(LINES)))
    told = run("audit", "verify", "audit.jsonl", "--key-file", key_file)
    assert told.exit_code == 9
    assert f"line {line}: " in told.stdout
    assert words in told.stdout
    found: dict[str, Any] = json.loads(
        run("audit", "verify", "audit.jsonl", "--key-file", key_file, "--json").stdout
    )
    assert found["problems"][0]["line"] == line


def test_the_key_is_fetched(run: Run, serving: FakeServer) -> None:
    assert run("audit", "key").stdout == SIGNER.public.pem
    assert run("audit", "key", "--out", "key.pub").exit_code == 0
    assert Path("key.pub").read_text() == SIGNER.public.pem
    assert json.loads(run("audit", "key", "--json").stdout) == PUBLIC


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("audit.jsonl",), "certctl audit key --out"),
        (("audit.jsonl", "--key-file", "audit.jsonl"), "is not the public key of exports"),
        (("--key-file", "audit.pub"), "name its file too"),
    ],
)
def test_what_is_missing_is_said(
    run: Run, key_file: str, arguments: tuple[str, ...], words: str
) -> None:
    Path("audit.jsonl").write_bytes(WHOLE)
    told = run("audit", "verify", *arguments)
    assert told.exit_code == 2
    assert words in told.stderr


def test_a_file_that_is_not_there(run: Run, key_file: str) -> None:
    told = run("audit", "verify", "none.jsonl", "--key-file", key_file)
    assert told.exit_code == 1
    assert "none.jsonl" in told.stderr
