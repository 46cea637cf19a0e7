"""What starting costs, and what the help teaches."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import typer

from certctl.cli.app import COMMANDS, app
from certctl.cli.exit_codes import ExitCode
from certctl.domain.revocations import RevocationReason
from tests.cli.conftest import certctl

if TYPE_CHECKING:
    from tests.cli.conftest import Run

HEAVY = ("fastapi", "sqlalchemy", "httpx2", "pydantic", "cryptography", "rich")
PROBE = f"""
import sys
from certctl.cli import main
sys.argv = ["certctl", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
sys.stderr.write(",".join(name for name in {HEAVY} if name in sys.modules))
"""


def every_command() -> dict[tuple[str, ...], Any]:
    """Each command with the words that call it; what is added later is found by itself."""
    found: dict[tuple[str, ...], Any] = {(): typer.main.get_command(app)}
    for name in COMMANDS:
        module = import_module(f"certctl.cli.{name}")
        command = typer.main.get_command(module.app)
        found[name,] = command
        for below, inner in getattr(command, "commands", {}).items():
            found[name, below] = inner
    return found


ALL = every_command()


# Typer itself reads arguments with pydantic, once a command is known.
@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        (("--help",), ""),
        (("--version",), ""),
        (("certs", "show", "--help"), "pydantic"),
        (("certs", "import", "--help"), "pydantic"),
        (("server", "--help"), "pydantic"),
        (("issue", "--help"), "pydantic"),
        (("renew", "--help"), "pydantic"),
        (("revoke", "--help"), "pydantic"),
        (("release", "--help"), "pydantic"),
        (("revocations", "follow", "--help"), "pydantic"),
        (("issuers", "create", "--help"), "pydantic"),
        (("orders", "resolve", "--help"), "pydantic"),
        (("keys", "create", "--help"), "pydantic"),
        (("profiles", "edit", "--help"), "pydantic"),
        (("secrets", "rotate", "--help"), "pydantic"),
        (("doctor", "--help"), "pydantic"),
        (("completion", "bash"), "pydantic"),
        (("backup", "--help"), "pydantic"),
        (("restore", "--help"), "pydantic"),
    ],
)
def test_nothing_heavy_is_loaded_for(arguments: tuple[str, ...], loaded: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout
    assert done.stderr in {"", loaded}


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, certctl.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_every_help_has_an_example_and_fits(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"certctl {' '.join(command)}".strip() in result.stdout.partition("Examples:")[2]
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


# The server answers nobody on standard output: what it writes is its log.
@pytest.mark.parametrize("command", [words for words in ALL if words != ("server",)], ids=" ".join)
def test_every_command_takes_json(command: tuple[str, ...]) -> None:
    options = {option for parameter in ALL[command].params for option in parameter.opts}
    assert "--json" in options


def test_the_list_of_commands_has_their_own_first_sentences(run: Run) -> None:
    listed = run("--help").stdout
    for name, sentence in COMMANDS.items():
        assert sentence in listed
        assert sentence in " ".join(run(name, "--help").stdout.split())


def test_the_help_explains_every_reason(run: Run) -> None:
    shown = run("revoke", "--help").stdout.partition("Reasons (RFC 5280):")[2]
    words = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.strip()}
    assert set(words) == set(RevocationReason)
    assert all(len(explained) >= 3 for explained in words.values())


def test_the_help_documents_every_exit_code(run: Run) -> None:
    shown = run("--help").stdout
    for code in ExitCode:
        assert f"{code.value}  {code.meaning}" in shown


def test_version(run: Run) -> None:
    from certctl import __version__

    assert run("--version").stdout == f"certctl {__version__}\n"


def test_a_mistyped_command_is_guessed(run: Run) -> None:
    result = run("cert")
    assert result.exit_code == 2
    assert "'certs'" in result.stderr


def test_commands_are_real_once_they_are_called() -> None:
    root = typer.main.get_command(app)
    assert isinstance(root, typer.core.TyperGroup)
    assert list(root.commands) == list(COMMANDS)


def test_the_server_command_hands_on_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import certctl.server

    given: list[dict[str, object]] = []

    def serve(overrides: dict[str, object]) -> int:
        given.append(overrides)
        return 3

    monkeypatch.setattr(certctl.server, "serve", serve)
    assert run("server").exit_code == 3
    result = run("--data-dir", "d", "server", "--host", "::1", "--port", "0", "--workers", "2")
    assert result.exit_code == 3
    assert given[0] == {}
    assert {name: str(value) for name, value in given[1].items()} == {
        "server_host": "::1",
        "server_port": "0",
        "data_dir": "d",
        "workers": "2",
    }


def test_the_settings_that_the_server_command_names_exist() -> None:
    from certctl.settings import Settings

    names = {"server_host", "server_port", "data_dir", "database_url", "workers", "log_level"}
    names.add("status_port")
    assert names <= set(Settings.model_fields)


def test_certctl_server_is_certctl_server() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from certctl.cli import server_main; server_main()", "--help"],
        env=dict(os.environ),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == certctl("server", "--help").stdout
