"""Ask one seeded database for the inventory in every way, in a process of its own.

Run as `python -m benchmarks.inventory_load --data-dir DIRECTORY` (with `--database-url` for
PostgreSQL) after `benchmarks.seed`. The server's application is asked without a socket: what is
measured is a request from the gateway to the last byte of the answer, whoever sends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import text
from tests.support.control_plane import control_plane

from benchmarks.memory import resident_mb
from benchmarks.seed import DOMAINS, OWNERS
from certctl.api.inventory_cursors import encode_place
from certctl.domain.clock import SystemClock, from_ms, to_ms
from certctl.domain.inventory import (
    InventoryFilter,
    InventorySort,
    InventoryStatus,
    parse_name_filter,
)
from certctl.storage.database import open_database
from certctl.storage.inventory_walks import Place
from certctl.storage.sealing import Keyring

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

    from certctl.storage.database import Connection

_KEYRING = "only for this measurement, 32 characters"
_PATH = "/api/v1/certificates"
#: Where pages begin, as a part of the list.
_DEPTHS = (0.0, 0.5, 0.98)

_now = from_ms(time.time_ns() // 1_000_000)
_soon = {"expires_after": _now, "expires_before": _now + timedelta(hours=2)}
_month = {"expires_after": _now, "expires_before": _now + timedelta(days=30)}
_name = {
    "name, shared by many": "shared.example.org",
    "name begins, few": "host-4711*",
    "name begins, many": "www*",
    "below a small domain": f"*.{DOMAINS[-1]}",
    "below a middling domain": f"*.{DOMAINS[60]}",
    "below a large domain": f"*.{DOMAINS[0]}",
    "below everything": "*.example.org",
}
FILTERS: dict[str, dict[str, Any]] = {
    "everything": {},
    **{f"status {status.value}": {"status": status} for status in InventoryStatus},
    "issuer, 60 %": {"issuer_id": "iss-seed-main"},
    "issuer, old ones only": {"issuer_id": "iss-seed-old"},
    "issuer, 0.1 %": {"issuer_id": "iss-seed-small"},
    "issuer, tiny": {"issuer_id": "iss-seed-tiny"},
    "profile, 80 %": {"profile_id": "prof-seed-web"},
    "profile, 0.2 %": {"profile_id": "prof-seed-rare"},
    "owner, many": {"owner": OWNERS[0]},
    "owner, some": {"owner": OWNERS[30]},
    "owner, few": {"owner": OWNERS[-1]},
    **{kind: {"name": name} for kind, name in _name.items()},
    "ends within hours": _soon,
    "ends within a month": _month,
    "ended": {"expires_before": _now},
    "old issuer, ends in a month": {"issuer_id": "iss-seed-old", **_month},
    "old issuer, revoked": {"issuer_id": "iss-seed-old", "status": InventoryStatus.REVOKED},
    "main issuer, archived": {"issuer_id": "iss-seed-main", "status": InventoryStatus.ARCHIVED},
    "main issuer, some owner": {"issuer_id": "iss-seed-main", "owner": OWNERS[30]},
    "many's owner, large domain": {"owner": OWNERS[0], "name": f"*.{DOMAINS[0]}"},
    "many's owner, expired": {"owner": OWNERS[0], "status": InventoryStatus.EXPIRED},
}
SCOPES: dict[str, dict[str, Any]] = {
    "scope: two large issuers": {"issuers": ["iss-seed-main", "iss-seed-old"]},
    "scope: two small issuers": {"issuers": ["iss-seed-small", "iss-seed-tiny"]},
    "scope: two profiles": {"profiles": ["prof-seed-web", "prof-seed-mtls"]},
    "scope: rare profile": {"profiles": ["prof-seed-rare"]},
    "scope: a shared name": {"names": ["shared.example.org"]},
    "scope: a small domain": {"names": [f"*.{DOMAINS[-1]}"]},
    "scope: a middling domain": {"names": [f"*.{DOMAINS[60]}"]},
    "scope: a large domain": {"names": [f"*.{DOMAINS[0]}"]},
    "scope: every domain": {"names": ["*.example.org"]},
    "scope: issuer, profile, 2 domains": {
        "issuers": ["iss-seed-main"],
        "profiles": ["prof-seed-web"],
        "names": [f"*.{DOMAINS[3]}", f"*.{DOMAINS[4]}"],
    },
}


@dataclass(slots=True)
class _Kind:
    """What was measured of one kind of request. Times in milliseconds."""

    times: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    short: int = 0  # pages that are not full, with more to come


def _wanted(parts: dict[str, Any]) -> InventoryFilter:
    """The filter as the server reads it, which its cursors are bound to."""
    read = dict(parts)
    for moment in ("expires_after", "expires_before"):
        if moment in read:
            read[moment] = to_ms(read[moment])
    if "name" in read:
        read["name"] = parse_name_filter(read["name"], "name")
    return InventoryFilter(**read)


def _place(connection: Connection, sort: InventorySort, depth: float) -> Place:
    """Where that part of the inventory has been listed."""
    order = "not_after, id" if sort.by_not_after else "id"
    where = "WHERE archived_at IS NULL AND not_after IS NOT NULL" if sort.by_not_after else ""
    counted = text(f"SELECT count(*) FROM certificates {where}")  # noqa: S608 - our own words
    count = connection.execute(counted).scalar_one()
    part = 1 - depth if sort.is_descending else depth
    found = text(
        f"SELECT id, not_after FROM certificates {where} ORDER BY {order} LIMIT 1 OFFSET :skipped"  # noqa: S608 - likewise
    )
    row = connection.execute(found, {"skipped": int(count * part)}).one()
    return Place(row.id, row.not_after)


def _parameters(parts: dict[str, Any], sort: InventorySort, place: Place | None) -> dict[str, Any]:
    sent = {
        name: value.isoformat() if name.startswith("expires") else value
        for name, value in parts.items()
    }
    cursor = None if place is None else encode_place(place, _wanted(parts), sort)
    return {**sent, "sort": sort.value} | ({"cursor": cursor} if cursor else {})


async def _scoped_key(client: AsyncClient, scope: dict[str, Any]) -> str:
    body = {"name": "measured", "role": "viewer", "scope": scope}
    answer = await client.post("/api/v1/keys", json=body)
    answer.raise_for_status()
    return str(answer.json()["key"])


async def measure(url: str | None, data_dir: Path, rounds: int, limit: int) -> dict[str, Any]:
    """Every kind in every order at every depth, `rounds` times, after once for warming up."""
    database = await open_database(
        url=url, data_dir=data_dir, clock=SystemClock(), keyring=Keyring(_KEYRING)
    )
    kinds: dict[str, _Kind] = {}
    async with control_plane(database, data_dir, run_scheduler=False) as plane:
        keys = {kind: await _scoped_key(plane.client, scope) for kind, scope in SCOPES.items()}
        places = {
            (sort, depth): None
            if not depth
            else await database.read(lambda c, s=sort, d=depth: _place(c, s, d))  # type: ignore[misc] # bound now
            for sort in InventorySort
            for depth in _DEPTHS
        }
        asked = [(kind, parts, plane.key) for kind, parts in FILTERS.items()] + [
            (kind, {}, key) for kind, key in keys.items()
        ]

        async def once(parts: dict[str, Any], key: str, which: Any) -> tuple[float, Response]:
            parameters = _parameters(parts, which[0], places[which]) | {"limit": limit}
            headers = {"Authorization": f"Bearer {key}"}
            begun = time.perf_counter()
            answer = await plane.client.get(_PATH, params=parameters, headers=headers)
            took = (time.perf_counter() - begun) * 1000
            answer.raise_for_status()
            return took, answer

        memory = [0.0, 0.0]
        for turn in range(rounds + 1):
            for kind, parts, key in asked:
                seen = kinds.setdefault(kind, _Kind())
                for which in places:
                    took, answer = await once(parts, key, which)
                    if not turn:
                        continue
                    page = answer.json()
                    seen.times.append(took)
                    seen.rows.append(len(page["data"]))
                    seen.short += len(page["data"]) < limit and page["next"] is not None
            memory = [memory[0] or resident_mb(), resident_mb()]
    await database.close()
    return {
        "memory": memory,
        "kinds": {
            kind: {
                "p50": statistics.median(seen.times),
                "p99": sorted(seen.times)[int(len(seen.times) * 0.99)],
                "rows": statistics.mean(seen.rows),
                "short": seen.short / len(seen.rows),
            }
            for kind, seen in kinds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inventory_load")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--database-url")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--limit", type=int, default=50)
    options = parser.parse_args()
    # The figures go to standard output; a line for each request as well, but for this.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    found = measure(options.database_url, options.data_dir, options.rounds, options.limit)
    print(json.dumps(asyncio.run(found)))


if __name__ == "__main__":
    main()
