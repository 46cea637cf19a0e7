"""A certctl server of our own for a measurement."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where it listens and keeps its files."""

    url: str
    data_dir: Path
    pid: int
    ready_seconds: float


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This environment without certctl's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CERTCTL_")}
    return {**kept, **extra}


@contextmanager
def running_server(
    data_dir: Path,
    *,
    extra: Mapping[str, str] | None = None,
    python_path: Path | None = None,
) -> Iterator[RunningServer]:
    """Start a server on a free port, wait until it is ready, stop it at the end."""
    environment = clean_environment(
        {"CERTCTL_DATA_DIR": str(data_dir), "CERTCTL_SERVER_PORT": "0", **(extra or {})}
    )
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    ready = data_dir / "server.json"
    ready.unlink(missing_ok=True)
    data_dir.mkdir(parents=True, exist_ok=True)
    log_path = data_dir / "server.log"
    begun = time.perf_counter()
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from certctl.cli import server_main; server_main()"],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=data_dir,
        )
    try:
        while not ready.exists():
            if process.poll() is not None or time.perf_counter() - begun > START_SECONDS:
                raise SystemExit(f"the server did not start:\n{log_path.read_text()}")
            time.sleep(0.002)
        took = time.perf_counter() - begun
        url = json.loads(ready.read_text())["url"]
        yield RunningServer(url, data_dir, process.pid, took)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
