"""The use cases of one process, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.lifecycle.advance import Advance
from certctl.lifecycle.bulk_revocation import BulkRevocations, BulkStep
from certctl.lifecycle.crls import Crls
from certctl.lifecycle.enrolment import Enrolment
from certctl.lifecycle.ocsp import Ocsp
from certctl.lifecycle.orders import Orders
from certctl.lifecycle.renewal import Renewal
from certctl.lifecycle.revocations import Revocations
from certctl.lifecycle.scheduler import IDLE_SECONDS, LEASE_SECONDS, Queue, Scheduler
from certctl.lifecycle.tell import Tell
from certctl.storage import bulk_revocations, crls, orders, revocations

if TYPE_CHECKING:
    from certctl.domain.clock import Clock
    from certctl.domain.polling import PollSchedule
    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class UseCases:
    """One of each."""

    enrolment: Enrolment
    renewal: Renewal
    orders: Orders
    revocations: Revocations
    bulk_revocations: BulkRevocations
    crls: Crls
    ocsp: Ocsp
    scheduler: Scheduler
    advance: Advance


def assemble(
    database: Database,
    catalog: Catalog,
    clock: Clock,
    schedule: PollSchedule,
    *,
    lease_seconds: float = LEASE_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
) -> UseCases:
    """Make them, with the scheduler's queues: what waits, and how many of it run at a time."""
    ocsp = Ocsp(database, catalog, clock)
    forget = ocsp.drop_all
    crl_upkeep = Crls(database, catalog, clock)
    advance = Advance(database, catalog, clock, schedule)
    tell = Tell(database, catalog, clock, schedule, forget)
    bulk_step = BulkStep(database, catalog, clock, forget)
    scheduler = Scheduler(
        database,
        clock,
        (
            Queue("order", orders.LEASES, advance.step, 32),
            Queue("revocation", revocations.LEASES, tell.step, 16),
            Queue("crl", crls.LEASES, crl_upkeep.step, 2),
            Queue("bulk_revocation", bulk_revocations.LEASES, bulk_step.step, 1),
        ),
        lease_seconds=lease_seconds,
        idle_seconds=idle_seconds,
    )
    return UseCases(
        enrolment=Enrolment(database, catalog, clock, scheduler),
        renewal=Renewal(database, catalog, clock, scheduler),
        orders=Orders(database, clock, scheduler),
        revocations=Revocations(database, catalog, clock, scheduler, forget),
        bulk_revocations=BulkRevocations(database, catalog, clock, scheduler),
        crls=crl_upkeep,
        ocsp=ocsp,
        scheduler=scheduler,
        advance=advance,
    )


_LEASES = (orders.LEASES, revocations.LEASES, crls.LEASES, bulk_revocations.LEASES)


async def free_leases(database: Database) -> None:
    """Free what a process that is gone held: for the one process of an embedded database."""

    def write(transaction: Transaction) -> None:
        for leases in _LEASES:
            leases.release_all(transaction)

    await database.write(write)
