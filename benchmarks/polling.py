"""A hundred thousand orders that wait for a slow CA: what they cost, and how late they are asked.

The rows are put straight into the database of a real server, which has a CA that is never done (see
`waiting_ca`). It is started three times: with all of them parked for hours, with thirty a second
falling due, and with all of them due at once.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, text
from tests.support.api import client_for
from tests.support.postgres import NoPostgres, postgres_server
from tests.support.server import running_server

from benchmarks import waiting_ca
from benchmarks.load import make_csrs
from certctl.storage import tables
from certctl.storage.engine import database_url, writer_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from tests.support.server import ServerProcess

COUNT = 100_000
_AT_A_TIME = 5_000
_HOURS_MS = 5 * 3600 * 1000
_SETTLE_SECONDS = 5
_IDLE_SECONDS = 20
_PER_SECOND = 30
_FALLING_SECONDS = 20
_ISSUER = waiting_ca.CONNECTOR.issuer_id
_METADATA = "Metadata-Version: 2.1\nName: waiting-ca\nVersion: 1\n"
_ENTRY_POINT = "[certctl.connectors]\nwaiting = waiting_ca:CONNECTOR\n"


@dataclass(frozen=True, slots=True)
class _Figures:
    """Of one database. Memory in MB, CPU in per cent of a core, lateness in seconds."""

    idle_memory: float
    idle_cpu: float
    late_p99: float
    late_most: float
    polls_per_second: float
    busy_memory: float


class _Bench:
    """One database with its rows, and the server that is started on it."""

    def __init__(self, folder: Path, extra: dict[str, str]) -> None:
        self._data = folder
        self._site = folder / "site"
        self._books = folder / "asked"
        self._url = extra.get("CERTCTL_DATABASE_URL")
        self._extra = {**extra, waiting_ca.BOOKS_SETTING: str(self._books)}
        _install(self._site)

    def run(self, seconds: float) -> _Figures:
        """Measure; `seconds` of polls at full rate."""
        self._fill()
        self._make_due(first=_now_ms() + _HOURS_MS, apart_ms=1)
        with self._server() as server:
            time.sleep(_SETTLE_SECONDS)
            before = _cpu_seconds(server.pid)
            time.sleep(_IDLE_SECONDS)
            idle_cpu = (_cpu_seconds(server.pid) - before) / _IDLE_SECONDS
            idle_memory = _resident_mb(server.pid)
        late = self._lateness()
        self._make_due(first=_now_ms() - COUNT, apart_ms=1)
        self._books.unlink()
        with self._server() as server:
            time.sleep(_SETTLE_SECONDS + seconds)
            busy_memory = _resident_mb(server.pid)
        asked = sorted(at for at, _ in self._asked())
        counted = [at for at in asked if asked[0] + 2000 <= at <= asked[0] + 2000 + seconds * 1000]
        return _Figures(
            idle_memory=idle_memory,
            idle_cpu=idle_cpu * 100,
            late_p99=late[int(len(late) * 0.99)],
            late_most=late[-1],
            polls_per_second=len(counted) / seconds,
            busy_memory=busy_memory,
        )

    def _lateness(self) -> list[float]:
        """Seconds from when an order was due until its CA was asked, sorted."""
        due = {}
        with self._server():
            time.sleep(_SETTLE_SECONDS)
            begin = _now_ms() + 3000
            for number in range(_PER_SECOND * _FALLING_SECONDS):
                due[_order(number)] = begin + number * 1000 // _PER_SECOND
            with self._engine() as engine, engine.begin() as connection:
                connection.execute(
                    text("UPDATE orders SET due_at = :at WHERE id = :which"),
                    [{"which": which, "at": at} for which, at in due.items()],
                )
            time.sleep(3 + _FALLING_SECONDS + 3)
        asked = {which: at for at, which in reversed(self._asked())}
        missing = due.keys() - asked.keys()
        if missing:
            raise SystemExit(f"{len(missing)} orders were not asked for in time")
        return sorted((asked[which] - at) / 1000 for which, at in due.items())

    def _fill(self) -> None:
        """Copy one order that the server made itself."""
        with self._server():
            pass  # the first start makes the tables
        with self._engine() as engine, engine.begin() as connection:
            connection.execute(insert(tables.issuers), _issuer())
        with self._server() as server, client_for(server) as client:
            made = client.post(
                "/api/v1/certificates", json={"issuer_id": _ISSUER, "csr": make_csrs(1)[0]}
            )
            made.raise_for_status()
            path = f"/api/v1/orders/{made.json()['order_id']}"
            while client.get(path).json()["state"] != "pending":
                time.sleep(0.05)
        with self._engine() as engine, engine.begin() as connection:
            kept = select(tables.orders).where(tables.orders.c.state == "pending")
            order = dict(connection.execute(kept).one()._mapping)  # noqa: SLF001 - public, despite its name
            kept = select(tables.certificates).where(
                tables.certificates.c.id == order["certificate_id"]
            )
            certificate = dict(connection.execute(kept).one()._mapping)  # noqa: SLF001 - likewise
            # Old enough to be parked, and asked once an hour.
            order |= {"accepted_at": _now_ms() - 86_400_000, "attempts": 10}
            for first in range(0, COUNT, _AT_A_TIME):
                numbers = range(first, min(first + _AT_A_TIME, COUNT))
                connection.execute(
                    insert(tables.certificates),
                    [certificate | {"id": f"cert-{number:06}"} for number in numbers],
                )
                connection.execute(
                    insert(tables.orders),
                    [
                        order
                        | {
                            "id": _order(number),
                            "certificate_id": f"cert-{number:06}",
                            "due_at": None,
                            "reference": f'{{"id": "{_order(number)}"}}',
                        }
                        for number in numbers
                    ],
                )
        with self._engine() as engine, engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))

    def _make_due(self, *, first: int, apart_ms: int) -> None:
        with self._engine() as engine, engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE orders SET lease_owner = NULL, lease_until = NULL,"
                    " due_at = :first + :apart * CAST(substr(id, 11) AS INTEGER)"
                    " WHERE id LIKE 'ord-waits-%'"
                ),
                {"first": first, "apart": apart_ms},
            )

    @contextmanager
    def _server(self) -> Iterator[ServerProcess]:
        with running_server(self._data, extra=self._extra, python_path=self._site) as server:
            yield server

    @contextmanager
    def _engine(self) -> Iterator[Engine]:
        engine = writer_engine(database_url(self._url, self._data))
        try:
            yield engine
        finally:
            engine.dispose()

    def _asked(self) -> list[tuple[int, str]]:
        lines = self._books.read_text().splitlines()
        return [(int(at), which) for at, _, which in (line.partition(" ") for line in lines)]


def run(folder: Path, seconds: float) -> None:
    """Measure SQLite, and PostgreSQL where there is one, with one worker."""
    print(f"\n{COUNT:,} orders that wait for their CA, one process")
    print(
        f"{'database':<12}{'idle MB':>9}{'idle CPU %':>12}{'late p99 s':>12}{'late max s':>12}"
        f"{'polls/s':>9}{'busy MB':>9}"
    )
    _row("SQLite", _Bench(folder / "polling-sqlite", {}).run(seconds))
    try:
        with postgres_server(durable=True) as postgres:
            extra = {
                "CERTCTL_DATABASE_URL": postgres.create_database("bench_polling"),
                "CERTCTL_CONFIG_ENCRYPTION_KEY": "only for this measurement, 32 characters",
            }
            _row("PostgreSQL", _Bench(folder / "polling-postgres", extra).run(seconds))
    except NoPostgres as error:
        print(f"PostgreSQL: {error}")
    print(f"{'aims':<12}{'< 300':>9}{'< 5':>12}{'':>12}{'< 2':>12}{'':>9}{'< 300':>9}")


def _row(label: str, found: _Figures) -> None:
    print(
        f"{label:<12}{found.idle_memory:>9.0f}{found.idle_cpu:>12.1f}{found.late_p99:>12.2f}"
        f"{found.late_most:>12.2f}{found.polls_per_second:>9,.0f}{found.busy_memory:>9.0f}",
        flush=True,
    )


def _install(site: Path) -> None:
    """What `pip install` of a package with a connector leaves behind."""
    site.mkdir(parents=True)
    shutil.copy(Path(waiting_ca.__file__), site)
    described = site / "waiting_ca-1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(_METADATA)
    (described / "entry_points.txt").write_text(_ENTRY_POINT)


def _issuer() -> dict[str, Any]:
    kind = waiting_ca.CONNECTOR
    return {
        "id": _ISSUER, "name": kind.title, "type": kind.name, "config": "{}", "source": "api",
        "enabled": True, "revision": 1, "created_at": _now_ms(), "updated_at": _now_ms(),
    }  # fmt: skip


def _order(number: int) -> str:
    return f"ord-waits-{number:06}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _cpu_seconds(pid: int) -> float:
    """What the process has used so far, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this machine does not tell a process's resident memory")
