"""What a scrape of `/metrics` gets: what was counted, and what is so at the moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from certctl import __version__
from certctl.domain import orders, revocations
from certctl.domain.errors import CertctlError
from certctl.lifecycle.metrics import Meter
from certctl.lifecycle.readings import Reading
from certctl.storage.conditions import STANDING, ConditionState
from certctl.storage.events import count_events
from certctl.storage.gauges import (
    count_open_orders,
    count_open_revocations,
    issuer_states,
    read_inventory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric
    from prometheus_client.core import GaugeMetricFamily

    from certctl.domain.clock import Clock
    from certctl.lifecycle.metrics import Metrics
    from certctl.storage.database import Connection, Database
    from certctl.storage.gauges import Inventory
    from certctl.storage.leases import Leases

log = structlog.get_logger(__name__)

CERTIFICATES = Meter(
    "certctl_certificates",
    "gauge",
    ("status",),
    "Certificates that are not archived, by status; those of `issued` that expired are `expired`",
)
EXPIRING = Meter(
    "certctl_certificates_expiring",
    "gauge",
    ("within",),
    "Issued certificates, not archived, whose newest version expires within that time",
)
EARLIEST_EXPIRY = Meter(
    "certctl_certificates_earliest_expiry_timestamp_seconds",
    "gauge",
    (),
    "When the next one of them expires, in seconds since 1970; left out where there is none",
)
ORDERS = Meter("certctl_orders", "gauge", ("state",), "Orders that are open, by state")
REVOCATIONS = Meter(
    "certctl_open_revocations",
    "gauge",
    ("state",),
    "Revocations that their CA is still to be told or asked about, by state",
)
QUEUE_LAG = Meter(
    "certctl_queue_lag_seconds",
    "gauge",
    ("queue",),
    "How late the scheduler is: since when the oldest row is due that nobody works on, without"
    " those of issuers whose circuit is open",
)
ISSUER_CONDITION = Meter(
    "certctl_issuer_condition",
    "gauge",
    ("issuer", "state"),
    "1 while an issuer's CA is left alone: open (its circuit), quota (nothing left to issue)",
)
WEBHOOK_WAITING = Meter(
    "certctl_webhook_waiting_events", "gauge", (), "Events that the webhook has not taken yet"
)
DATABASE_UP = Meter(
    "certctl_database_up",
    "gauge",
    (),
    "1 when the database answered this scrape; else what is read from it is left out",
)
WRITE_QUEUE = Meter(
    "certctl_write_queue",
    "gauge",
    (),
    "Writes that wait for the database, in the process that answers this scrape",
)
BUILD_INFO = Meter("certctl_build_info", "gauge", ("version",), "Always 1")

GAUGES = (
    CERTIFICATES,
    EXPIRING,
    EARLIEST_EXPIRY,
    ORDERS,
    REVOCATIONS,
    QUEUE_LAG,
    ISSUER_CONDITION,
    WEBHOOK_WAITING,
    DATABASE_UP,
    WRITE_QUEUE,
    BUILD_INFO,
)

_DAY_MS = 24 * 3600 * 1000
#: The windows of `within`, shortest first, in milliseconds.
WINDOWS = {f"{days}d": days * _DAY_MS for days in (1, 7, 30)}
#: The statuses that are shown when nothing has them, too, so that rules about them work.
_STATUSES = ("pending", "issued", "expired", "revoked", "failed")


@dataclass(frozen=True, slots=True)
class _Work:
    """What is open, and how late it is."""

    orders: dict[str, int]
    revocations: dict[str, int]
    issuers: dict[str, ConditionState | None]
    waiting_events: int
    lags: dict[str, float]


class Scrape:
    """Answers scrapes. `queues` are the scheduler's, by name.

    The certificates are read apart from the rest: to count a million takes longer, and is done less
    often.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        metrics: Metrics,
        queues: Mapping[str, Leases],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._queues = queues
        self._work = Reading(database, clock, self._read_work, monotonic=monotonic)
        self._inventory = Reading(database, clock, _read_inventory, monotonic=monotonic)

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """The metrics in a format that `accept` (the header) names, and that format's name.

        An outage of the database is shown, and raises nothing.
        """
        present = None
        try:
            present = (await self._work(), await self._inventory())
        except CertctlError as error:
            log.warning("scraped without the database", problem=error.detail)
        return await asyncio.to_thread(self._render, present, accept)

    def _read_work(self, connection: Connection, now_ms: int) -> _Work:
        issuers = issuer_states(connection)
        blocked = [which for which, state in issuers.items() if state is ConditionState.OPEN]
        lags = {}
        for name, leases in self._queues.items():
            first = min(leases.first_due(connection, now_ms, blocked).values(), default=now_ms)
            lags[name] = max(0, now_ms - first) / 1000
        return _Work(
            orders=count_open_orders(connection),
            revocations=count_open_revocations(connection),
            issuers=issuers,
            waiting_events=count_events(connection),
            lags=lags,
        )

    def _render(self, present: tuple[_Work, Inventory] | None, accept: str) -> tuple[bytes, str]:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        families = [*self._metrics.collect(), *self._own_gauges(is_up=present is not None)]
        if present is not None:
            work, inventory = present
            families += [*_work_gauges(work), *_inventory_gauges(inventory)]
        registry = CollectorRegistry()
        registry.register(_Collected(families))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _own_gauges(self, *, is_up: bool) -> Iterable[Metric]:
        build, up, queue = _family(BUILD_INFO), _family(DATABASE_UP), _family(WRITE_QUEUE)
        build.add_metric([__version__], 1)
        up.add_metric([], float(is_up))
        queue.add_metric([], self._database.queue_depth)
        return (build, up, queue)


def _read_inventory(connection: Connection, now_ms: int) -> Inventory:
    return read_inventory(connection, now_ms, WINDOWS)


def _work_gauges(work: _Work) -> Iterable[Metric]:
    order_gauge, revocation_gauge = _family(ORDERS), _family(REVOCATIONS)
    for order_state in sorted(orders.OPEN_STATES):
        order_gauge.add_metric([order_state.value], work.orders.get(order_state.value, 0))
    for revocation_state in sorted(revocations.OPEN_STATES):
        count = work.revocations.get(revocation_state.value, 0)
        revocation_gauge.add_metric([revocation_state.value], count)
    lag = _family(QUEUE_LAG)
    for name, seconds in work.lags.items():
        lag.add_metric([name], seconds)
    conditions, waiting = _family(ISSUER_CONDITION), _family(WEBHOOK_WAITING)
    for issuer_id, found in work.issuers.items():
        for state in sorted(STANDING):
            conditions.add_metric([issuer_id, state.value], float(found is state))
    waiting.add_metric([], work.waiting_events)
    return (order_gauge, revocation_gauge, lag, conditions, waiting)


def _inventory_gauges(inventory: Inventory) -> Iterable[Metric]:
    counts = dict.fromkeys(_STATUSES, 0) | inventory.statuses
    counts["expired"] = inventory.expired
    counts["issued"] -= inventory.expired
    by_status, expiring = _family(CERTIFICATES), _family(EXPIRING)
    for status, count in counts.items():
        by_status.add_metric([status], count)
    for name, count in inventory.expiring.items():
        expiring.add_metric([name], count)
    yield from (by_status, expiring)
    if inventory.earliest is not None:
        earliest = _family(EARLIEST_EXPIRY)
        earliest.add_metric([], inventory.earliest / 1000)
        yield earliest


@dataclass(frozen=True, slots=True, eq=False)  # the library hashes it
class _Collected:
    """Families as the library takes them."""

    families: list[Metric]

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self.families


def _family(meter: Meter) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(meter.name, meter.help, labels=meter.labels)
