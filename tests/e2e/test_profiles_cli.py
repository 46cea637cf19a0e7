"""The life of a profile on the command line, against a real server."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from certctl.cli.app import app
from tests.support.server import running_server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

EDITOR = """
import json, pathlib, sys
file = pathlib.Path(sys.argv[1])
rules = json.loads(file.read_text())
rules["name_patterns"].append("shop.example.test")
file.write_text(json.dumps(rules))
"""


def test_the_life_of_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "editor.py").write_text(EDITOR)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {tmp_path / 'editor.py'}")

    def run(*arguments: str, code: int = 0) -> Any:
        """The JSON that a command answers with, on either of its outputs."""
        options = ["--data-dir", str(tmp_path / "data"), "--json"]
        result = CliRunner().invoke(app, [*options, *arguments], prog_name="certctl")
        assert result.exit_code == code, result.output
        text = result.stdout if code == 0 else result.stderr
        return json.loads(text) if text else None

    with running_server(tmp_path / "data"):
        made = run(
            "profiles", "create", "Shop", "--like", "prof-tls-server", "--set", "name_kinds=dns",
            "--set", "name_patterns=*.shop.example.test", "--set", "allowed_issuers=iss-local",
        )  # fmt: skip
        shop = made["id"]
        assert made["name_patterns"] == ["dns:*.shop.example.test"]
        assert run("profiles", "show", shop) == made
        issued = run("issue", "www.shop.example.test", "--profile", shop, "--out", "www")
        problem = run("issue", "shop.example.test", "--profile", shop, "--out", "shop", code=3)
        assert problem["type"].endswith(":name-not-allowed")

        edited = run("profiles", "edit", shop)
        assert edited["name_patterns"] == ["dns:*.shop.example.test", "dns:shop.example.test"]
        run("issue", "shop.example.test", "--profile", shop, "--out", "shop")
        changed = run("profiles", "edit", shop, "--set", "name_patterns=shop.example.test")
        assert changed["revision"] == 3
        certificate = issued["id"]
        problem = run("renew", certificate, "--out", "again", code=3)
        assert problem["type"].endswith(":name-not-allowed")
        assert run("certs", "show", certificate)["status"] == "issued"

        assert run("profiles", "disable", shop)["enabled"] is False
        assert run("profiles", "enable", shop)["enabled"] is True
        assert run("profiles", "delete", shop, "--yes", code=3)["status"] == 409
        run("profiles", "delete", shop, "--archive", "--yes")
        assert shop not in [profile["id"] for profile in run("profiles")["data"]]
        assert shop in [profile["id"] for profile in run("profiles", "--archived")["data"]]

        # The server's own certificate is ordered with it, for names that are no shop's.
        needed = "prof-tls-server"
        only = ("--set", "name_kinds=dns", "--set", "name_patterns=*.shop.example.test")
        problem = run("profiles", "edit", needed, *only, code=3)
        assert problem["type"].endswith(":profile-needed")
        actions = [event["action"] for event in run("audit")["data"]]
        assert actions.count("profile.updated") == 2
    with running_server(tmp_path / "data"):
        assert run("profiles", "show", shop)["archived_at"] is not None
