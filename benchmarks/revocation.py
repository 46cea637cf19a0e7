"""Revocations per second through the HTTPS API, and by a bulk revocation.

Also the load generator for it: `python -m benchmarks.revocation URL CA_FILE KEY_FILE CLIENTS`
issues COUNT certificates, revokes each with so many clients (none for 0), and prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.api import client_for
from tests.support.postgres import postgres_server
from tests.support.server import running_server

from benchmarks.load import figures, issuances, post, run_clients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import ServerProcess

CLIENTS = (1, 8, 32)
COUNT = 1000
_ISSUERS = 8
_FOREVER = float("inf")


def run(folder: Path) -> None:
    """Measure SQLite, and PostgreSQL with one worker; each revocation is one audited commit."""
    print(f"\nrevocations of our own CA ({COUNT} certificates each)")
    print(f"{'database':<24}{'clients':>8}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}")
    with running_server(folder / "revoke-sqlite") as server:
        _measure("SQLite", server)
    with postgres_server(durable=True) as postgres:
        extra = {
            "CERTCTL_DATABASE_URL": postgres.create_database("bench_revoke"),
            "CERTCTL_CONFIG_ENCRYPTION_KEY": "only for this measurement, 32 characters",
        }
        with running_server(folder / "revoke-postgres", extra=extra) as server:
            _measure("PostgreSQL, 1 worker", server)


def _measure(label: str, server: ServerProcess) -> None:
    for clients in CLIENTS:
        found = _generate(server, clients)
        print(
            f"{label:<24}{clients:>8}{found['per_second']:>9,.0f}{found['p50_ms']:>9.1f}"
            f"{found['p99_ms']:>9.1f}",
            flush=True,
        )
    _generate(server, 0)
    print(f"{label:<24}{'bulk':>8}{_bulk(server):>9,.0f}", flush=True)


def _generate(server: ServerProcess, clients: int) -> dict[str, float]:
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.revocation", server.url, str(server.ca),
            str(server.data_dir / "admin.key"), str(clients),
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _bulk(server: ServerProcess) -> float:
    """Certificates per second, from the request until the last one is revoked."""
    wanted = {"filter": {"owner": "bench"}}
    with client_for(server) as client:
        total = client.post("/api/v1/bulk-revocations/preview", json=wanted).json()["total"]
        begun = time.perf_counter()
        bulk = client.post("/api/v1/bulk-revocations", json={**wanted, "expected": total}).json()
        while bulk["state"] == "running":
            time.sleep(0.02)
            bulk = client.get(f"/api/v1/bulk-revocations/{bulk['id']}").json()
        return float(total / (time.perf_counter() - begun))


async def _load(url: str, ca: str, key: str, clients: int) -> dict[str, float]:
    ids: list[str] = []

    def note(answer: bytes) -> None:
        ids.append(json.loads(answer)["id"])

    shares = [islice(issuances(key, first), COUNT // _ISSUERS) for first in range(_ISSUERS)]
    await run_clients(url, ca, shares, start=0, until=_FOREVER, answers=note)
    if not clients:
        return {}
    begun = time.perf_counter()
    requests = [_revocations(key, ids[first::clients]) for first in range(clients)]
    times = await run_clients(url, ca, requests, start=0, until=_FOREVER)
    return figures(times, time.perf_counter() - begun)


def _revocations(key: str, ids: list[str]) -> Iterator[bytes]:
    body = b'{"reason":"superseded"}'
    for certificate_id in ids:
        yield post(f"/api/v1/certificates/{certificate_id}/revoke", key, body)


def main() -> None:
    url, ca, key_file, clients = sys.argv[1:]
    import uvloop

    key = Path(key_file).read_text().strip()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found: dict[str, Any] = runner.run(_load(url, ca, key, int(clients)))
        print(json.dumps(found))


if __name__ == "__main__":
    main()
