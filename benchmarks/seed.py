"""Fill a database with a plausible inventory: skewed, with every status, old and new.

Run as `python -m benchmarks.seed --data-dir DIRECTORY --certificates 1000000`, or with
`--database-url` for PostgreSQL. No server may be running on it. What it makes is the same every
time, but for the times, which are counted from now.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import insert, text
from tests.support.pki import make_ca, make_key

from certctl.domain.ids import new_id
from certctl.domain.profile_rules import rules_of
from certctl.lifecycle.presets import PRESETS
from certctl.storage import tables
from certctl.storage.engine import database_url, writer_engine
from certctl.storage.migrate import ensure_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine, Table

_AT_A_TIME = 20_000
_DAY_MS = 86_400_000
_AGE_DAYS = 730
_CHAIN = "5" * 64
DOMAINS = [f"dept-{number}.example.org" for number in range(2_000)]
OWNERS = [f"team {number}" for number in range(1_000)]
#: Weights of issuers: two that do nearly everything, an old one that made only the oldest, a small
#: one, and a tiny one.
ISSUERS = {
    "iss-seed-main": 60.0,
    "iss-seed-second": 34.0,
    "iss-seed-old": 5.9,
    "iss-seed-small": 0.1,
    "iss-seed-tiny": 0.0005,
}
_NEWER = {**ISSUERS, "iss-seed-old": 0.0}
_OLDEST = {**ISSUERS, "iss-seed-old": 20.0}
PROFILES = {"prof-seed-web": 80.0, "prof-seed-mtls": 19.8, "prof-seed-rare": 0.2}
_STATUSES = {
    "issued": 90.0,
    "expired": 5.0,
    "revoked": 2.0,
    "archived": 2.0,
    "failed": 0.8,
    "pending": 0.2,
}


class _Weighted:
    """Draws from values by weight."""

    def __init__(self, random: Random, weights: dict[str, float]) -> None:
        self._random = random
        self._values = list(weights)
        self._sums = list(accumulate(weights.values()))

    def draw(self) -> str:
        return self._random.choices(self._values, cum_weights=self._sums)[0]


def _zipf(values: Sequence[str]) -> dict[str, float]:
    return {value: 1 / rank for rank, value in enumerate(values, 1)}


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows as tuples, in the order of the tables' columns."""

    certificates: list[tuple[Any, ...]]
    names: list[tuple[Any, ...]]
    versions: list[tuple[Any, ...]]
    orders: list[tuple[Any, ...]]


_COLUMNS: dict[Table, tuple[str, ...]] = {
    tables.certificates: (
        "id", "issuer_id", "profile_id", "owner", "common_name", "names", "status", "version_id",
        "not_after", "renew_at", "archived_at", "created_at", "updated_at",
    ),
    tables.certificate_names: ("value", "certificate_id", "kind", "reversed"),
    tables.versions: (
        "id", "certificate_id", "issuer_id", "order_id", "serial", "not_before", "not_after",
        "der", "chain_id", "created_at",
    ),
    tables.orders: (
        "id", "certificate_id", "issuer_id", "state", "request", "version_id", "attempts", "epoch",
        "created_at", "updated_at",
    ),
}  # fmt: skip


class _Maker:
    """Makes certificates, from the oldest to the newest."""

    def __init__(self, count: int, now_ms: int) -> None:
        self._random = Random(7)  # noqa: S311 - the same inventory every time
        self._count = count
        self._now = now_ms
        self._der = make_ca(make_key()).public_bytes(Encoding.DER)
        self._newer = _Weighted(self._random, _NEWER)
        self._oldest = _Weighted(self._random, _OLDEST)
        self._profiles = _Weighted(self._random, PROFILES)
        self._owners = _Weighted(self._random, _zipf(OWNERS))
        self._domains = _Weighted(self._random, _zipf(DOMAINS))
        self._statuses = _Weighted(self._random, _STATUSES)

    def batches(self) -> Iterator[_Batch]:
        """All of it, some at a time."""
        for first in range(0, self._count, _AT_A_TIME):
            batch = _Batch([], [], [], [])
            for number in range(first, min(first + _AT_A_TIME, self._count)):
                self._add(batch, number)
            yield batch

    def _add(self, batch: _Batch, number: int) -> None:
        random, now = self._random, self._now
        created = now - _AGE_DAYS * _DAY_MS * (self._count - number) // self._count
        certificate_id, order_id = new_id("cert", created), new_id("ord", created)
        issuer = (self._oldest if number < self._count * 0.3 else self._newer).draw()
        status = self._statuses.draw()
        is_issued = status not in {"pending", "failed"}
        end = None
        if is_issued:
            days = random.random() * 90
            end = int(created + days * _DAY_MS if status == "expired" else now + days * _DAY_MS)
        version_id = new_id("ver", created) if is_issued else None
        names = self._names(number)
        batch.certificates.append(
            (
                certificate_id,
                issuer,
                self._profiles.draw(),
                self._owners.draw() if random.random() < 0.8 else None,
                names[0][1],
                json.dumps([f"{kind}:{value}" for kind, value in names]),
                "issued" if status in {"expired", "archived"} else status,
                version_id,
                end,
                end - 30 * _DAY_MS if end is not None and status == "issued" else None,
                now - _DAY_MS if status == "archived" else None,
                created,
                created,
            )
        )
        batch.names.extend((value, certificate_id, kind, value[::-1]) for kind, value in names)
        if version_id is not None and end is not None:
            batch.versions.append(
                (
                    version_id, certificate_id, issuer, order_id, f"{number + 1:x}",
                    end - 90 * _DAY_MS, end, self._der, _CHAIN, created,
                )
            )  # fmt: skip
        state = "failed" if status == "failed" else "pending" if not is_issued else "issued"
        batch.orders.append(
            (
                order_id, certificate_id, issuer, state, "{}", version_id, 1, 0, created, created,
            )
        )  # fmt: skip

    def _names(self, number: int) -> list[tuple[str, str]]:
        domain = self._domains.draw()
        names = [("dns", f"host-{number}.{domain}")]
        drawn = self._random.random()
        if drawn < 0.4:
            names.append(("dns", f"www-{number}.{domain}"))
        elif drawn < 0.5:
            names.append(("dns", f"*.{domain}"))
        elif drawn < 0.55:
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            names.append(("ip", address))
        elif drawn < 0.55 + 0.01:
            names.append(("dns", "shared.example.org"))
        return names


def fill(engine: Engine, count: int) -> None:
    """Put `count` certificates into a database that has its tables."""
    now = time.time_ns() // 1_000_000
    with engine.begin() as connection:
        _add_parents(connection, now)
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size = -1000000")
        for batch in _Maker(count, now).batches():
            _store(connection, tables.certificates, batch.certificates)
            _store(connection, tables.certificate_names, batch.names)
            _store(connection, tables.versions, batch.versions)
            _store(connection, tables.orders, batch.orders)
    if engine.dialect.name != "sqlite":  # as PostgreSQL does by itself, some minutes later
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(
                text("VACUUM ANALYZE")
            )


def _add_parents(connection: Connection, now: int) -> None:
    # Archived: servers that start on it load them, and build nothing.
    common = {
        "enabled": False, "revision": 1, "archived_at": now, "created_at": now, "updated_at": now
    }  # fmt: skip
    own = {"type": "GenericCA", "config": "{}", "source": "api"}
    connection.execute(
        insert(tables.issuers), [{**common, **own, "id": name, "name": name} for name in ISSUERS]
    )
    rules = json.dumps(rules_of(PRESETS[0]))
    connection.execute(
        insert(tables.profiles),
        [{**common, "id": name, "name": name, "rules": rules} for name in PROFILES],
    )
    connection.execute(insert(tables.chains), {"id": _CHAIN, "pem": ""})


def _store(connection: Connection, table: Table, rows: list[tuple[Any, ...]]) -> None:
    columns = ", ".join(_COLUMNS[table])
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(_COLUMNS[table]))
        driver.executemany(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", rows)  # noqa: S608 - our own names
        return
    with driver.cursor().copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data-dir", type=Path, help="of an embedded database")
    where.add_argument("--database-url", help="of a PostgreSQL database")
    parser.add_argument("--certificates", type=int, default=100_000)
    options = parser.parse_args()
    if options.data_dir is not None:
        options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = writer_engine(database_url(options.database_url, options.data_dir))
    begun = time.monotonic()
    ensure_schema(engine)
    fill(engine, options.certificates)
    engine.dispose()
    print(f"{options.certificates:,} certificates in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
