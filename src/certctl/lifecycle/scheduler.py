"""The scheduler: claims due orders, runs them with bounded concurrency, keeps their leases."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import structlog

from certctl.domain.errors import CertctlError
from certctl.domain.ids import new_id
from certctl.domain.orders import IDEMPOTENCY_MS, OPEN_STATES
from certctl.lifecycle.advance import Advance, TakenOver
from certctl.lifecycle.catalog import pause
from certctl.storage.orders import any_due, claim_due, extend_leases, forget_idempotency_keys

if TYPE_CHECKING:
    from certctl.domain.clock import Clock
    from certctl.domain.polling import PollSchedule
    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.database import Database
    from certctl.storage.orders import OrderRecord

log = structlog.get_logger(__name__)

IDLE_SECONDS = 1.0
CONCURRENCY = 32
LEASE_SECONDS = 60.0
_UPKEEP_MS = 3600 * 1000


class Scheduler:
    """One per process. `lease_seconds` and the poll schedule are settings, for tests' sake too."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        schedule: PollSchedule,
        *,
        lease_seconds: float = LEASE_SECONDS,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._database = database
        self._clock = clock
        self._advance = Advance(database, catalog, clock, schedule)
        self._lease_ms = round(lease_seconds * 1000)
        self._concurrency = concurrency
        self._owner = new_id(f"{socket.gethostname()[:20].lower()}-{os.getpid()}", clock.now_ms())
        self._next_upkeep = self._next_keep = clock.now_ms()
        self._wake = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def wake(self) -> None:
        """Look for due orders now: one has just been written."""
        self._wake.set()

    async def wait_closed(self, order_id: str, seconds: float, stopping: asyncio.Event) -> None:
        """Wait until this process closed an order, `seconds` passed, or `stopping` is set.

        Another process may be the one that works on it, so the caller looks at the row afterwards.
        """
        closed = asyncio.Event()
        self._waiting.setdefault(order_id, set()).add(closed)
        waits = {asyncio.create_task(closed.wait()), asyncio.create_task(stopping.wait())}
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            waiting = self._waiting[order_id]
            waiting.discard(closed)
            if not waiting:
                del self._waiting[order_id]

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, then let the steps under way come to their end."""
        stop = asyncio.create_task(stopping.wait())
        stop.add_done_callback(lambda _: self._wake.set())
        try:
            while not stopping.is_set():
                self._wake.clear()
                try:
                    while await self._claim():
                        if stopping.is_set():
                            break
                    await self._keep_leases()
                    await self._upkeep()
                except CertctlError as error:
                    log.warning("scheduler waits", problem=error.detail)
                    await pause(stopping, IDLE_SECONDS)
                try:
                    async with asyncio.timeout(min(IDLE_SECONDS, self._lease_ms / 3000)):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            stop.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _claim(self) -> bool:
        """Start what is due and fits; whether there may be more."""
        room = self._concurrency - len(self._running)
        now = self._clock.now_ms()
        if room <= 0 or not await self._database.read(lambda c: any_due(c, now)):
            return False
        claimed = await self._database.write(
            lambda t: claim_due(
                t, owner=self._owner, now_ms=now, lease_ms=self._lease_ms, limit=room
            )
        )
        for order in claimed:
            self._running[order.id] = asyncio.create_task(
                self._run(order), name=f"order-{order.id}"
            )
        return len(claimed) == room

    async def _run(self, order: OrderRecord) -> None:
        try:
            after = await self._advance(order)
        except TakenOver:
            log.warning("order taken over", order=order.id)
        except CertctlError as error:
            # The lease runs out and the order is claimed again, by whoever can.
            log.warning("order not advanced", order=order.id, problem=error.detail)
        except Exception:
            log.exception("order not advanced", order=order.id)
        else:
            if after.state not in OPEN_STATES:
                for closed in self._waiting.get(order.id, ()):
                    closed.set()
        finally:
            del self._running[order.id]
            self._wake.set()

    async def _keep_leases(self) -> None:
        now = self._clock.now_ms()
        if not self._running or now < self._next_keep:
            return
        ids = list(self._running)
        until = now + self._lease_ms
        await self._database.write(lambda t: extend_leases(t, self._owner, ids, until))
        self._next_keep = now + self._lease_ms // 3

    async def _upkeep(self) -> None:
        now = self._clock.now_ms()
        if now < self._next_upkeep:
            return
        await self._database.write(lambda t: forget_idempotency_keys(t, now - IDEMPOTENCY_MS))
        self._next_upkeep = now + _UPKEEP_MS
