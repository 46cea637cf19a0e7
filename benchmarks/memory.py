"""Resident memory of one server process: idle, loaded, and after its OpenAPI document was built."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.support.server import running_server

_SETTLE_SECONDS = 2


def run(folder: Path) -> None:
    """Measure a second start (the first one migrates)."""
    data = folder / "memory"
    with running_server(data):
        pass
    with running_server(data) as server:
        time.sleep(_SETTLE_SECONDS)
        idle = resident_mb(server.pid)
        key = (data / "admin.key").read_text().strip()
        subprocess.run(
            [
                sys.executable, "-m", "benchmarks.load", server.url, str(data / "ca.pem"),
                str(data / "admin.key"), "32", "10",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        loaded = resident_mb(server.pid)
        _ask_for_openapi(server.url, data / "ca.pem", key)
        described = resident_mb(server.pid)
    print("\nresident memory of the server, SQLite")
    print(f"idle                 {idle:>6.0f} MB")
    print(f"after 10 s of load   {loaded:>6.0f} MB")
    print(f"after OpenAPI        {described:>6.0f} MB")


def resident_mb(pid: int | str = "self") -> float:
    """What a process holds in memory, by default this one."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this machine does not tell a process's resident memory")


def _ask_for_openapi(url: str, ca: Path, key: str) -> None:
    import ssl

    import httpx2

    context = ssl.create_default_context(cafile=ca)
    with httpx2.Client(verify=context, trust_env=False) as client:
        answer = client.get(
            f"{url}/api/v1/openapi.json", headers={"Authorization": f"Bearer {key}"}, timeout=30
        )
        answer.raise_for_status()
