"""A real certctl server in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 60


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This environment without certctl's own settings, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CERTCTL_")}
    return {**kept, **extra}


@dataclass
class ServerProcess:
    """One server: started, killed and started again on the same data directory."""

    data_dir: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    python_path: Path | None = None
    port: int = 0
    status_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the server writes its log."""
        return self.data_dir / "server.log"

    @property
    def url(self) -> str:
        """Its address, as it says itself."""
        return self._said("url")

    @property
    def status_url(self) -> str:
        """The address of its status listener."""
        return self._said("status_url")

    def _said(self, name: str) -> str:
        value: str = json.loads((self.data_dir / "server.json").read_text())[name]
        return value

    @property
    def key(self) -> str:
        """The first admin key."""
        return (self.data_dir / "admin.key").read_text().strip()

    @property
    def ca(self) -> Path:
        """The trust anchor of its HTTPS."""
        return self.data_dir / "ca.pem"

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> float:
        """Start it and wait until it is ready; seconds taken. Raises RuntimeError with its log."""
        environment = clean_environment(
            {
                "CERTCTL_DATA_DIR": str(self.data_dir),
                "CERTCTL_SERVER_PORT": str(self.port),
                "CERTCTL_STATUS_PORT": str(self.status_port),
                **self.extra,
            }
        )
        if self.python_path is not None:
            environment["PYTHONPATH"] = str(self.python_path)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        ready = self.data_dir / "server.json"
        ready.unlink(missing_ok=True)
        begun = time.perf_counter()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from certctl.cli import server_main; server_main()"],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
            )
        while not ready.exists():
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{self.log.read_text()}")
            if time.perf_counter() - begun > START_SECONDS:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.002)
        took = time.perf_counter() - begun
        self.port = int(self.url.rsplit(":", 1)[1])
        self.status_port = int(self.status_url.rsplit(":", 1)[1])
        return took

    def kill(self) -> None:
        """End it as a crash would: no handler runs."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """End it as an operator would; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running_server(
    data_dir: Path,
    *,
    extra: Mapping[str, str] | None = None,
    python_path: Path | None = None,
) -> Iterator[ServerProcess]:
    """A server on a free port, stopped at the end."""
    server = ServerProcess(data_dir, extra or {}, python_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()
