"""The command line, run in a folder of its own against a server of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import pytest
from typer.testing import CliRunner

from certctl.cli.app import app
from tests.cli.fake_server import FakeServer, Reply, fake_server, issue_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result


class Run(Protocol):
    """Runs `certctl` with arguments."""

    def __call__(self, *arguments: str) -> Result: ...


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings from outside."""
    for name in list(os.environ):
        if name.startswith(("CERTCTL_", "_CERTCTL")):
            monkeypatch.delenv(name)
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def server(
    socket_enabled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeServer]:
    """A server that issues at once; the environment leads to it."""
    with fake_server(tmp_path) as running:
        running.on("POST", "/api/v1/certificates", issue_at_once)
        running.on("GET", "/healthz", Reply(200, {"status": "ok"}))
        running.on("GET", "/readyz", Reply(200, {"status": "ok"}))
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def run() -> Run:
    """`certctl`, in this process."""

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(app, arguments, prog_name="certctl")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def certctl(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`certctl`, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from certctl.cli import main; main()", *arguments],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
