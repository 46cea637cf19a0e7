"""What a scrape of `/metrics` gets: what was counted, and what is so at the moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from certctl import __version__
from certctl.domain.errors import CertctlError
from certctl.domain.orders import OPEN_STATES
from certctl.lifecycle.metrics import Meter
from certctl.storage.conditions import STANDING
from certctl.storage.events import count_events
from certctl.storage.gauges import count_open_orders, issuer_states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric
    from prometheus_client.core import GaugeMetricFamily

    from certctl.domain.clock import Clock
    from certctl.lifecycle.metrics import Metrics
    from certctl.storage.conditions import ConditionState
    from certctl.storage.database import Connection, Database

log = structlog.get_logger(__name__)

#: How old what was read from the database may be, in milliseconds: many scrapers cost as much as
#: one. Where reading takes long (half a second with 100,000 open orders on PostgreSQL), so many
#: times as long as it took, so that it costs 2 % of a core at most.
FRESH_MS = 5000
_FRESH_TIMES = 50

ORDERS = Meter("certctl_orders", "gauge", ("state",), "Orders that are open, by state")
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

GAUGES = (ORDERS, ISSUER_CONDITION, WEBHOOK_WAITING, DATABASE_UP, WRITE_QUEUE, BUILD_INFO)


@dataclass(frozen=True, slots=True)
class _Present:
    """What was read from the database at `at_ms`, and for how long it is good."""

    at_ms: int
    fresh_ms: float
    orders: dict[str, int]
    issuers: dict[str, ConditionState | None]
    waiting_events: int


class Scrape:
    """Answers scrapes. `monotonic` (seconds) tells how long reading took."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        metrics: Metrics,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._present: _Present | None = None
        self._reading = asyncio.Lock()

    async def __call__(self, accept: str) -> tuple[bytes, str]:
        """The metrics in a format that `accept` (the header) names, and that format's name.

        An outage of the database is shown, and raises nothing.
        """
        try:
            present = await self._read()
        except CertctlError as error:
            log.warning("scraped without the database", problem=error.detail)
            present = None
        return await asyncio.to_thread(self._render, present, accept)

    async def _read(self) -> _Present:
        async with self._reading:
            now = self._clock.now_ms()
            present = self._present
            if present is None or abs(now - present.at_ms) >= present.fresh_ms:
                present = self._present = await self._database.read(partial(self._load, now))
            return present

    def _load(self, now_ms: int, connection: Connection) -> _Present:
        begun = self._monotonic()
        orders = count_open_orders(connection)
        issuers = issuer_states(connection)
        waiting = count_events(connection)
        took_ms = (self._monotonic() - begun) * 1000
        return _Present(now_ms, max(FRESH_MS, _FRESH_TIMES * took_ms), orders, issuers, waiting)

    def _render(self, present: _Present | None, accept: str) -> tuple[bytes, str]:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        families = [*self._metrics.collect(), *self._gauges(present)]
        registry = CollectorRegistry()
        registry.register(_Collected(families))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _gauges(self, present: _Present | None) -> Iterable[Metric]:
        build, up, queue = _family(BUILD_INFO), _family(DATABASE_UP), _family(WRITE_QUEUE)
        build.add_metric([__version__], 1)
        up.add_metric([], float(present is not None))
        queue.add_metric([], self._database.queue_depth)
        yield from (build, up, queue)
        if present is None:
            return
        orders, conditions = _family(ORDERS), _family(ISSUER_CONDITION)
        waiting = _family(WEBHOOK_WAITING)
        for order_state in OPEN_STATES:
            orders.add_metric([order_state.value], present.orders.get(order_state.value, 0))
        for issuer_id, found in present.issuers.items():
            for state in sorted(STANDING):
                conditions.add_metric([issuer_id, state.value], float(found is state))
        waiting.add_metric([], present.waiting_events)
        yield from (orders, conditions, waiting)


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
