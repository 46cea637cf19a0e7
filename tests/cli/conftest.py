"""The command line, run in a folder of its own against a server of the test's own."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Protocol

import pytest
from typer.testing import CliRunner

from certctl.cli.app import app
from tests.cli.fake_server import FakeServer, Reply, fake_server, issue_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from typer.testing import Result


#: Bold, colours, and what moves the cursor.
_STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


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


def on_terminal(
    *arguments: str,
    columns: int = 80,
    answer: str | None = None,
    answers: Sequence[tuple[str, str]] = (),
) -> tuple[int, list[str]]:
    """`certctl` on a terminal of its own: exit code, and the lines that were on it.

    `answer` is typed once a question has been asked; of `answers`, each once its prompt is there.
    """
    left = [("[y/N]", answer)] if answer is not None else []
    left += answers
    outer, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", "from certctl.cli import main; main()", *arguments],
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"},
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,  # hidden prompts look for the controlling terminal
    ) as process:
        os.close(inner)
        shown = b""
        looked_at = 0
        while True:
            if not select.select([outer], [], [], 30)[0]:
                process.kill()
                raise AssertionError(f"it waits, with {left} still to be typed: {shown!r}")
            try:
                part = os.read(outer, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            shown += part
            # The space comes last: what is typed before it may be shown, and thrown away.
            if left and (found := shown.find(f"{left[0][0]}: ".encode(), looked_at)) >= 0:
                looked_at = found + 1
                _, typed = left.pop(0)
                os.write(outer, f"{typed}\n".encode())
        os.close(outer)
        code = process.wait(60)
    return code, [line.rstrip() for line in _STYLES.sub("", shown.decode()).splitlines()]


def interrupted(*arguments: str, when: Path) -> tuple[int, str]:
    """Start a process, press Ctrl-C once the file `when` is there; exit code and stderr."""
    with subprocess.Popen(
        [sys.executable, "-c", "from certctl.cli import main; main()", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for _ in range(1000):
            if when.exists():
                break
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr
