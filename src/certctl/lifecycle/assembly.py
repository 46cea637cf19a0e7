"""The use cases of one process, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.lifecycle.access import Access
from certctl.lifecycle.advance import Advance
from certctl.lifecycle.bulk_revocation import BulkRevocations, BulkStep
from certctl.lifecycle.conditions import Conditions
from certctl.lifecycle.crls import Crls
from certctl.lifecycle.editing import Editing
from certctl.lifecycle.enrolment import Enrolment
from certctl.lifecycle.events import Events
from certctl.lifecycle.imports import Imports
from certctl.lifecycle.issuers import Issuers
from certctl.lifecycle.keys import Keys
from certctl.lifecycle.last_use import LastUse
from certctl.lifecycle.late_answers import LateAnswers
from certctl.lifecycle.metrics import Metrics
from certctl.lifecycle.ocsp import Ocsp
from certctl.lifecycle.orders import Orders
from certctl.lifecycle.permissions import Permissions
from certctl.lifecycle.profiles import Profiles
from certctl.lifecycle.recording import Recording
from certctl.lifecycle.refusals import Refusals
from certctl.lifecycle.renewal import Renewal
from certctl.lifecycle.resolution import Resolution
from certctl.lifecycle.revocations import Revocations
from certctl.lifecycle.scheduler import IDLE_SECONDS, LEASE_SECONDS, Queue, Scheduler
from certctl.lifecycle.scrape import Scrape
from certctl.lifecycle.secrets import Secrets
from certctl.lifecycle.tally import Tally
from certctl.lifecycle.tell import Tell
from certctl.lifecycle.webhook import Webhook
from certctl.storage import bulk_revocations, crls, orders, revocations
from certctl.storage import conditions as condition_rows
from certctl.storage import events as event_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from certctl.connectors.contract import ConnectorType
    from certctl.domain.clock import Clock
    from certctl.domain.polling import PollSchedule
    from certctl.domain.webhooks import WebhookTarget
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.own_use import OwnUse
    from certctl.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class UseCases:
    """One of each."""

    access: Access
    last_use: LastUse
    keys: Keys
    permissions: Permissions
    refusals: Refusals
    enrolment: Enrolment
    renewal: Renewal
    editing: Editing
    imports: Imports
    orders: Orders
    resolution: Resolution
    conditions: Conditions
    revocations: Revocations
    bulk_revocations: BulkRevocations
    crls: Crls
    ocsp: Ocsp
    issuers: Issuers
    profiles: Profiles
    secrets: Secrets
    metrics: Metrics
    scrape: Scrape
    scheduler: Scheduler
    advance: Advance
    tell: Tell


def assemble(
    database: Database,
    catalog: Catalog,
    clock: Clock,
    schedule: PollSchedule,
    *,
    lease_seconds: float = LEASE_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
    environment: Mapping[str, str] | None = None,
    types: Iterable[ConnectorType] | None = None,
    own_use: OwnUse | None = None,
    metrics: Metrics | None = None,
    webhook: WebhookTarget | None = None,
) -> UseCases:
    """Make them, with the scheduler's queues: what waits, and how many of it run at a time."""
    ocsp = Ocsp(database, catalog, clock)
    forget = ocsp.drop_all
    crl_upkeep = Crls(database, catalog, clock)
    catalog.live.expect(crl_upkeep.ensure)
    metrics = metrics or Metrics()
    tally = Tally(catalog, clock, metrics)
    events = Events(metrics, has_webhook=webhook is not None)
    conditions = Conditions(database, catalog, clock, schedule, events)
    late_answers = LateAnswers(database, catalog, clock, events)
    recording = Recording(database, clock, conditions, late_answers, events)
    advance = Advance(catalog, clock, schedule, conditions, recording, tally)
    tell = Tell(database, catalog, clock, schedule, forget, conditions, events, tally)
    bulk_step = BulkStep(database, catalog, clock, forget)
    webhook_queue: tuple[Queue, ...] = ()
    if webhook is not None:
        poster = Webhook(webhook, database, clock, scale=schedule.scale)
        webhook_queue = (Queue("webhook_event", event_rows.LEASES, poster.step, 2),)
    queues = (
        Queue("order", orders.LEASES, advance.step, 32),
        Queue("revocation", revocations.LEASES, tell.step, 16),
        Queue("condition", condition_rows.LEASES, conditions.step, 4),
        Queue("crl", crls.LEASES, crl_upkeep.step, 2),
        Queue("bulk_revocation", bulk_revocations.LEASES, bulk_step.step, 1),
        *webhook_queue,
    )
    scheduler = Scheduler(
        database,
        catalog,
        clock,
        queues,
        lease_seconds=lease_seconds,
        idle_seconds=idle_seconds,
    )
    last_use = LastUse(database)
    return UseCases(
        access=Access(catalog, clock, metrics, last_use),
        last_use=last_use,
        keys=Keys(database, catalog, clock, last_use),
        permissions=Permissions(database),
        refusals=Refusals(database, clock),
        enrolment=Enrolment(database, catalog, clock, scheduler, tally),
        renewal=Renewal(database, catalog, clock, scheduler, tally),
        editing=Editing(database, clock),
        imports=Imports(database, catalog, clock),
        orders=Orders(database, catalog, clock, schedule, scheduler, tally=tally),
        resolution=Resolution(database, catalog, clock, scheduler, tally),
        conditions=conditions,
        revocations=Revocations(database, catalog, clock, scheduler, forget),
        bulk_revocations=BulkRevocations(database, catalog, clock, scheduler),
        crls=crl_upkeep,
        ocsp=ocsp,
        issuers=Issuers(
            database,
            catalog,
            clock,
            environment or {},
            ensure_crls=crl_upkeep.ensure,
            on_healthy=conditions.close,
            types=types,
            needed=None if own_use is None else own_use.issuer_id,
        ),
        profiles=Profiles(database, catalog, clock, own_use),
        secrets=Secrets(database, clock),
        metrics=metrics,
        scrape=Scrape(database, clock, metrics, {queue.name: queue.leases for queue in queues}),
        scheduler=scheduler,
        advance=advance,
        tell=tell,
    )


_LEASES = (
    orders.LEASES,
    revocations.LEASES,
    condition_rows.LEASES,
    crls.LEASES,
    bulk_revocations.LEASES,
    event_rows.LEASES,
)


async def free_leases(database: Database) -> None:
    """Free what a process that is gone held: for the one process of an embedded database."""

    def write(transaction: Transaction) -> None:
        for leases in _LEASES:
            leases.release_all(transaction)

    await database.write(write)
