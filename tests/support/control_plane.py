"""The control plane inside the test's own process: real storage, no sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from httpx2 import ASGITransport, AsyncClient

from certctl.api.app import create_app
from certctl.api.services import Services
from certctl.connectors.registry import connector_type
from certctl.domain.polling import PollSchedule
from certctl.lifecycle.access import Access
from certctl.lifecycle.assembly import assemble
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.seeding import seed, seed_admin_key
from certctl.storage.issuers import IssuerRecord, insert_issuer
from tests.support.scripted_ca import ScriptedCA, finding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from certctl.storage.database import Database

#: Waits of the schedule a hundred times shorter, so that a slow CA is slow for milliseconds.
FAST = PollSchedule(scale=0.01)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One process's worth of control plane, and a client that holds the first admin key."""

    services: Services
    client: AsyncClient
    key: str


async def add_issuer(
    database: Database, issuer_id: str, type_name: str, *, enabled: bool = True
) -> None:
    """Store an issuer without settings."""
    now = database.clock.now_ms()
    record = IssuerRecord(
        issuer_id, f"test {issuer_id}", type_name, {}, {}, "api", enabled, 1, now, now
    )
    await database.write(lambda t: insert_issuer(t, database.keyring, record))


@asynccontextmanager
async def control_plane(
    database: Database,
    data_dir: Path,
    *,
    ca: ScriptedCA | None = None,
    environment: Mapping[str, str] | None = None,
    schedule: PollSchedule = FAST,
    lease_seconds: float = 60.0,
    run_scheduler: bool = True,
) -> AsyncIterator[ControlPlane]:
    """Seed the database and serve it; with `ca`, the issuer `iss-slow` is that scripted CA."""
    stopping = asyncio.Event()
    await seed(database, environment or {})
    key = await seed_admin_key(database, data_dir)
    if key is None:
        key = (data_dir / "admin.key").read_text().strip()
    clock = database.clock
    if ca is None:
        catalog = Catalog(database, clock)
    else:
        catalog = Catalog(database, clock, finding(ca, connector_type))
        await catalog.refresh()
        if "iss-slow" not in {issuer.record.id for issuer in catalog.issuers()}:
            await add_issuer(database, "iss-slow", "Scripted")
    await catalog.refresh()
    its = assemble(
        database, catalog, clock, schedule, lease_seconds=lease_seconds, idle_seconds=0.05
    )
    services = Services(
        database=database,
        catalog=catalog,
        access=Access(catalog, clock),
        use_cases=its,
        clock=clock,
        stopping=stopping,
    )
    transport = ASGITransport(create_app(services), raise_app_exceptions=False)
    client = AsyncClient(
        transport=transport,
        base_url="https://certctl.test",
        headers={"Authorization": f"Bearer {key}"},
    )
    running = asyncio.create_task(its.scheduler.run(stopping)) if run_scheduler else None
    try:
        async with client:
            yield ControlPlane(services, client, key)
    finally:
        stopping.set()
        if running is not None:
            await running
