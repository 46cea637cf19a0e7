"""Stored issuances per second through the HTTPS API."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.postgres import postgres_server
from tests.support.server import running_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import ServerProcess

CLIENTS = (1, 8, 32)
_HEADER = f"{'database':<24}{'clients':>8}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>8}"


def run(folder: Path, limit: float, seconds: float) -> None:
    """Measure SQLite, and PostgreSQL with one and two workers; `ratio` is to one core's limit."""
    print("\nstored issuances through the HTTPS API (authentication, idempotency, names, audit on)")
    print(_HEADER)
    with running_server(folder / "sqlite") as server:
        _measure("SQLite", server, limit, seconds)
    with postgres_server(durable=True) as postgres:
        for workers in (1, 2):
            extra = {
                "CERTCTL_DATABASE_URL": postgres.create_database(f"bench_{workers}"),
                "CERTCTL_CONFIG_ENCRYPTION_KEY": "only for this measurement, 32 characters",
                "CERTCTL_WORKERS": str(workers),
            }
            label = f"PostgreSQL, {workers} worker{'s' if workers > 1 else ''}"
            with running_server(folder / f"postgres-{workers}", extra=extra) as server:
                _measure(label, server, limit, seconds)


def _measure(label: str, server: ServerProcess, limit: float, seconds: float) -> None:
    for clients in CLIENTS:
        done = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.load", server.url,
                str(server.ca), str(server.data_dir / "admin.key"),
                str(clients), str(seconds),
            ],
            check=True,
            capture_output=True,
            text=True,
        )  # fmt: skip
        figures = json.loads(done.stdout)
        rate = figures["per_second"]
        print(
            f"{label:<24}{clients:>8}{rate:>9,.0f}{figures['p50_ms']:>9.1f}"
            f"{figures['p99_ms']:>9.1f}{rate / limit:>8.2f}",
            flush=True,
        )
