"""`make bench`: how fast, how soon, how much memory. Prints figures and ratios; judges nothing."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import (
    inventory,
    issuance,
    memory,
    polling,
    revocation,
    startup,
    status,
    transport,
)
from benchmarks.core_limit import core_limit

_PARTS = (
    "issuance", "revocation", "status", "startup", "memory", "polling", "transport", "inventory"
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="per measured row")
    parser.add_argument("--only", choices=_PARTS, action="append")
    parser.add_argument(
        "--certificates", type=int, default=inventory.CERTIFICATES, help="in the seeded inventory"
    )
    options = parser.parse_args()
    chosen = options.only or _PARTS
    with tempfile.TemporaryDirectory(prefix="certctl-bench-") as folder:
        if "issuance" in chosen:
            limit = core_limit(options.seconds)
            print(f"one core's limit: {limit:,.0f}/s (parse, verify, build, sign, encode; P-256)")
            issuance.run(Path(folder), limit, options.seconds)
        if "revocation" in chosen:
            revocation.run(Path(folder))
        if "status" in chosen:
            status.run(Path(folder), options.seconds)
        if "startup" in chosen:
            startup.run(Path(folder))
        if "memory" in chosen:
            memory.run(Path(folder))
        if "polling" in chosen:
            polling.run(Path(folder), options.seconds)
        if "transport" in chosen:
            transport.run(Path(folder), options.seconds)
        if "inventory" in chosen:
            inventory.run(Path(folder), options.certificates)


if __name__ == "__main__":
    main()
