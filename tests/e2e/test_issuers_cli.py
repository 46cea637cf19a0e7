"""The life of an issuer on the command line, against a real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from certctl.cli.app import app
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

PLANTED = "planted-key-password-0451"


def test_the_life_of_an_issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = ""

    def run(*arguments: str, code: int = 0) -> Any:
        """The JSON that a command answers with, on either of its outputs."""
        nonlocal said
        options = ["--data-dir", str(tmp_path / "data"), "--json"]
        result = CliRunner().invoke(app, [*options, *arguments], prog_name="certctl")
        said += result.output
        assert result.exit_code == code, result.output
        text = result.stdout if code in {0, 10} else result.stderr
        return json.loads(text) if text else None

    with running_server(tmp_path / "data", extra={"CERTCTL_CA_COMMON_NAME": "From outside"}):
        assert [kind["name"] for kind in run("issuers", "types")["data"]]
        settings = ("--set", "common_name=Lab Root", "--set", "validity_days=30")
        made = run("issuers", "create", "local", "--name", "Lab CA", *settings)
        lab = made["id"]
        assert made["config"]["validity_days"] == 30
        assert run("issuers", "test", lab)["status"] == "ok"

        changed = run("issuers", "update", lab, "--set", "validity_days=60", "--name", "Lab")
        assert (changed["name"], changed["config"]["validity_days"]) == ("Lab", 60)
        assert changed["config"]["common_name"] == "Lab Root", "what is not named stays"
        unset = run("issuers", "update", lab, "--unset", "validity_days", "--max-concurrency", "4")
        assert unset["config"].get("validity_days") in {None, 397}
        assert unset["limits"]["max_concurrency"] == 4
        assert run("issuers", "disable", lab)["status"] == "disabled"
        assert run("issuers", "enable", lab)["status"] == "ready"

        # A key password needs a key: the server refuses it, and nobody repeats it.
        (tmp_path / "password.txt").write_text(f"{PLANTED}\n")
        secret = ("--secret-file", "key_password=password.txt")
        problem = run("issuers", "update", lab, *secret, code=3)
        assert problem["type"].endswith(":issuer-settings-invalid")
        assert run("issuers", "show", lab)["revision"] == unset["revision"] + 2

        _check_where_settings_come_from(run)
        run("issue", "www.example.test", "--issuer", lab, "--out", str(tmp_path / "www"))
        order = run("orders")["data"][0]
        assert run("orders", "show", order["id"])["waits_for"] is None
        resolving = ("orders", "resolve", order["id"], "--rejected", "--yes")
        assert run(*resolving, code=3)["status"] == 409

        problem = run("issuers", "delete", lab, "--yes", code=3)
        assert problem["type"].endswith(":issuer-in-use")
        run("issuers", "delete", lab, "--archive", "--yes")
        assert lab not in [issuer["id"] for issuer in run("issuers")["data"]]
        assert lab in [issuer["id"] for issuer in run("issuers", "--archived")["data"]]

        before = run("secrets")["keys"]
        after = run("secrets", "rotate")
        assert after["resealed"] == before[0]["values"]
        assert after["keys"][0]["key_id"] != before[0]["key_id"]
    assert PLANTED not in said
    assert PLANTED not in (tmp_path / "data" / "server.log").read_text()


def _check_where_settings_come_from(run: Callable[..., Any]) -> None:
    """A limit leaves them the environment's, a setting does not."""
    local = run("issuers", "update", "iss-local", "--max-concurrency", "8")
    assert (local["source"], local["environment"]) == ("env", "applied")
    local = run("issuers", "update", "iss-local", "--set", "common_name=From the API")
    assert (local["source"], local["environment"]) == ("api", "differs")
    local = run("issuers", "update", "iss-local", "--from-environment")
    assert (local["source"], local["environment"]) == ("env", "applied")
    assert local["limits"]["max_concurrency"] == 8
