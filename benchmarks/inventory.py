"""The inventory's list over a seeded database: every filter, order and depth, and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.postgres import NoPostgres, postgres_server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CERTIFICATES = 100_000
_HEADER = f"{'kind':<36}{'p50 ms':>9}{'p99 ms':>9}{'rows':>7}{'short pages':>13}"


def run(folder: Path, certificates: int) -> None:
    """Measure SQLite, and PostgreSQL where there is one."""
    print(
        f"\nlisting {certificates:,} certificates: all orders; first, middle and last pages of 50"
    )
    data_dir = folder / "inventory-sqlite"
    _measure("SQLite", certificates, ["--data-dir", str(data_dir)], [])
    try:
        with postgres_server(durable=True) as postgres:
            url = postgres.create_database("bench_inventory")
            data_dir = folder / "inventory-postgres"
            data_dir.mkdir(mode=0o700)
            _measure(
                "PostgreSQL",
                certificates,
                ["--database-url", url],
                ["--data-dir", str(data_dir)],
            )
    except NoPostgres as error:
        print(f"PostgreSQL: {error}")


def _measure(label: str, certificates: int, where: list[str], more: Sequence[str]) -> None:
    seeded = _python("benchmarks.seed", [*where, "--certificates", str(certificates)])
    print(f"{label}: {seeded.strip()}\n{_HEADER}")
    found = json.loads(_python("benchmarks.inventory_load", [*where, *more]))
    for kind, figures in found["kinds"].items():
        print(
            f"{kind:<36}{figures['p50']:>9.1f}{figures['p99']:>9.1f}{figures['rows']:>7.0f}"
            f"{figures['short'] * 100:>11.0f} %"
        )
    before, after = found["memory"]
    print(f"resident memory: {before:.0f} MB after the first round, {after:.0f} MB after the last")


def _python(module: str, arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
