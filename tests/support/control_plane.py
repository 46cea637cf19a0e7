"""The control plane inside the test's own process: real storage, no sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from httpx2 import ASGITransport, AsyncClient

from certctl.api.app import create_app
from certctl.api.services import Services
from certctl.connectors.registry import connector_type
from certctl.connectors.transport import Transports
from certctl.domain.polling import PollSchedule
from certctl.lifecycle.assembly import assemble
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.seeding import seed, seed_admin_key
from certctl.storage.issuers import IssuerRecord, insert_issuer
from tests.support.scripted_ca import ScriptedCA, finding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from certctl.connectors.contract import ConnectorType
    from certctl.domain.webhooks import WebhookTarget
    from certctl.storage.database import Database

#: Waits of the schedule a hundred times shorter, so that a slow CA is slow for milliseconds.
FAST = PollSchedule(scale=0.01)


class KnownTypes(Protocol):
    """The types of issuers that a control plane knows, one of which may be a test's own."""

    @property
    def types(self) -> tuple[ConnectorType, ...]:
        """All of them."""
        ...

    def find(self, name: str) -> ConnectorType:
        """The one of that name or alias."""
        ...


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
    sample: KnownTypes | None = None,
    environment: Mapping[str, str] | None = None,
    schedule: PollSchedule = FAST,
    lease_seconds: float = 60.0,
    run_scheduler: bool = True,
    webhook: WebhookTarget | None = None,
) -> AsyncIterator[ControlPlane]:
    """Seed the database and serve it; with `ca`, the issuer `iss-slow` is that scripted CA.

    With `sample` there is another type of issuer.
    """
    stopping = asyncio.Event()
    types = None if sample is None else sample.types
    await seed(database, environment or {}, types)
    key = await seed_admin_key(database, data_dir)
    if key is None:
        key = (data_dir / "admin.key").read_text().strip()
    clock = database.clock
    transports = Transports()
    if ca is None:
        find = connector_type if sample is None else sample.find
        catalog = Catalog(database, clock, find, transports=transports)
    else:
        catalog = Catalog(database, clock, finding(ca, connector_type), transports=transports)
        await catalog.refresh()
        if "iss-slow" not in {issuer.record.id for issuer in catalog.issuers()}:
            await add_issuer(database, "iss-slow", "Scripted")
    await catalog.refresh()
    its = assemble(
        database,
        catalog,
        clock,
        schedule,
        lease_seconds=lease_seconds,
        idle_seconds=0.05,
        environment=environment,
        types=types,
        webhook=webhook,
    )
    services = Services(
        database=database,
        catalog=catalog,
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
    works = (its.scheduler.run, its.conditions.watch) if run_scheduler else ()
    tasks = [asyncio.create_task(work(stopping)) for work in works]
    try:
        async with client:
            yield ControlPlane(services, client, key)
    finally:
        stopping.set()
        for task in tasks:
            await task
        await transports.close()
