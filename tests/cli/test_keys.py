"""API keys made on the command line: the key comes out once, where it was asked for."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.fake_server import KEY_ID, Reply, key_view, problem

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.cli.fake_server import FakeServer, Seen

KEYS = "/api/v1/keys"
MADE = f"certctl_{KEY_ID}_{'a' * 43}"


@pytest.fixture
def maker(server: FakeServer) -> FakeServer:
    """A server that makes keys."""
    server.on("POST", KEYS, Reply(201, key_view(key=MADE)))
    server.on("POST", f"{KEYS}/{KEY_ID}/revoke", Reply(200, key_view(status="revoked")))
    return server


def sent(server: FakeServer) -> dict[str, Any]:
    body: dict[str, Any] = server.requests("POST", KEYS)[-1].json()
    return body


def test_what_is_asked_for(run: Run, maker: FakeServer) -> None:
    options = ["--issuer", "iss-local", "--profile", "prof-mtls", "--name", "*.example.org"]
    result = run(
        "keys", "create", "deploy tool", "--role", "operator", *options, "--name", "ip:10.0.0.1",
        "--days", "90",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert sent(maker) == {
        "name": "deploy tool",
        "role": "operator",
        "scope": {
            "issuers": ["iss-local"],
            "profiles": ["prof-mtls"],
            "names": ["*.example.org", "ip:10.0.0.1"],
        },
        "days": 90,
    }
    run("keys", "create", "x", "--role", "admin", "--expires", "2127-01-31")
    assert sent(maker) == {"name": "x", "role": "admin", "expires_at": "2127-01-31T00:00:00Z"}


def test_the_key_is_shown_once(run: Run, maker: FakeServer) -> None:
    result = run("keys", "create", "deploy tool", "--role", "operator")
    assert result.stdout.splitlines()[-1] == MADE
    assert "only time" in result.stderr
    quiet = run("keys", "create", "deploy tool", "--role", "operator", "--quiet")
    assert (quiet.stdout, quiet.stderr) == (f"{MADE}\n", "")
    as_json = run("keys", "create", "deploy tool", "--role", "operator", "--json")
    assert json.loads(as_json.stdout)["key"] == MADE


def test_into_a_file_that_nobody_else_can_read(run: Run, maker: FakeServer) -> None:
    arguments = ["keys", "create", "deploy tool", "--role", "operator", "--out", "deploy.key"]
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    path = Path("deploy.key")
    assert path.read_text() == f"{MADE}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert MADE not in result.stdout + result.stderr
    assert MADE not in run(*arguments[:-1], "other.key", "--json").stdout
    before = len(maker.requests("POST", KEYS))
    again = run(*arguments)
    assert again.exit_code == 2
    assert len(maker.requests("POST", KEYS)) == before, "no key is made that has no place"


def test_a_key_that_cannot_be_written_is_revoked(run: Run, maker: FakeServer) -> None:
    result = run("keys", "create", "x", "--role", "viewer", "--out", "no-such-folder/x.key")
    assert result.exit_code == 1
    assert len(maker.requests("POST", f"{KEYS}/{KEY_ID}/revoke")) == 1


def test_a_lost_answer_is_not_repeated(run: Run, maker: FakeServer) -> None:
    maker.on("POST", KEYS, Reply(lost=True))
    result = run("keys", "create", "x", "--role", "viewer")
    assert result.exit_code == 4
    assert "a key now that nobody has" in result.stderr
    assert "certctl keys" in result.stderr
    assert len(maker.requests("POST", KEYS)) == 1


@pytest.mark.parametrize(
    ("options", "exit_code"),
    [
        (("--role", "viewer", "--days", "1", "--expires", "2127-01-31"), 2),
        (("--role", "emperor"), 2),
        ((), 2),
        (("--role", "viewer", "--expires", "soon"), 2),
    ],
)
def test_what_cannot_be(
    run: Run, maker: FakeServer, options: tuple[str, ...], exit_code: int
) -> None:
    assert run("keys", "create", "x", *options).exit_code == exit_code
    assert not maker.requests("POST", KEYS)


def test_what_the_server_refuses(run: Run, maker: FakeServer) -> None:
    maker.on("POST", KEYS, problem(403, "role-not-within-own", field="role"))
    result = run("keys", "create", "x", "--role", "admin")
    assert result.exit_code == 5
    assert "Hint: the hint" in result.stderr
    maker.on("POST", f"{KEYS}/admin/revoke", problem(409, "last-admin-key"))
    assert run("keys", "revoke", "admin").exit_code == 3


def test_a_revocation_is_sent_again(run: Run, maker: FakeServer) -> None:
    answers = iter([Reply(503, problem(503, "database-unavailable").body), Reply(200, key_view())])

    def answer(_: Seen) -> Reply:
        return next(answers)

    maker.on("POST", f"{KEYS}/{KEY_ID}/revoke", answer)
    assert run("keys", "revoke", KEY_ID).exit_code == 0
