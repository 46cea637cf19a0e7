"""The scheduler: claims due rows of every queue, runs them a few at a time, keeps their leases."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from certctl.domain.errors import CertctlError
from certctl.domain.ids import new_id
from certctl.domain.orders import IDEMPOTENCY_MS
from certctl.lifecycle.catalog import pause
from certctl.storage.leases import TakenOver
from certctl.storage.orders import forget_idempotency_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from certctl.domain.clock import Clock
    from certctl.storage.database import Connection, Database, SqlRow, Transaction
    from certctl.storage.leases import Leases

log = structlog.get_logger(__name__)

IDLE_SECONDS = 1.0
LEASE_SECONDS = 60.0
_UPKEEP_MS = 3600 * 1000


@dataclass(frozen=True, slots=True)
class Queue:
    """Rows of one table that fall due, and what is done with one that was claimed.

    `step` returns whether the row is closed: nothing will come of it any more by itself. It raises
    TakenOver when another process has claimed the row meanwhile. `concurrency` is per process.
    """

    name: str
    leases: Leases
    step: Callable[[SqlRow[Any]], Awaitable[bool]]
    concurrency: int


class Scheduler:
    """One per process. It looks for due rows when woken, and every `idle_seconds`.

    Both lengths of time are settings, for tests' sake too.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        queues: Sequence[Queue],
        *,
        lease_seconds: float = LEASE_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._queues = tuple(queues)
        self._lease_ms = round(lease_seconds * 1000)
        self._idle = min(idle_seconds, lease_seconds / 3)
        self._owner = new_id(f"{socket.gethostname()[:20].lower()}-{os.getpid()}", clock.now_ms())
        self._next_upkeep = self._next_keep = clock.now_ms()
        self._wake = asyncio.Event()
        self._running: dict[str, dict[str, asyncio.Task[None]]] = {
            queue.name: {} for queue in queues
        }
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def wake(self) -> None:
        """Look for due rows now: one has just been written."""
        self._wake.set()

    async def wait_closed(self, key: str, seconds: float, stopping: asyncio.Event) -> None:
        """Wait until this process closed a row, `seconds` passed, or `stopping` is set.

        Another process may be the one that works on it, so the caller looks at the row afterwards.
        """
        closed = asyncio.Event()
        self._waiting.setdefault(key, set()).add(closed)
        waits = {asyncio.create_task(closed.wait()), asyncio.create_task(stopping.wait())}
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            waiting = self._waiting[key]
            waiting.discard(closed)
            if not waiting:
                del self._waiting[key]

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
                    async with asyncio.timeout(self._idle):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            stop.cancel()
            under_way = [task for tasks in self._running.values() for task in tasks.values()]
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _claim(self) -> bool:
        """Start what is due and fits; whether there may be more."""
        now = self._clock.now_ms()
        open_queues = [q for q in self._queues if len(self._running[q.name]) < q.concurrency]

        def look(connection: Connection) -> list[Queue]:
            return [queue for queue in open_queues if queue.leases.any_due(connection, now)]

        more = False
        for queue in await self._database.read(look):
            room = queue.concurrency - len(self._running[queue.name])
            claimed = await self._database.write(self._claiming(queue, now, room))
            for row in claimed:
                key = queue.leases.key(row)
                self._running[queue.name][key] = asyncio.create_task(
                    self._run(queue, key, row), name=f"{queue.name}-{key}"
                )
            more = more or len(claimed) == room
        return more

    def _claiming(
        self, queue: Queue, now_ms: int, limit: int
    ) -> Callable[[Transaction], Sequence[SqlRow[Any]]]:
        return lambda transaction: queue.leases.claim(
            transaction,
            owner=self._owner,
            now_ms=now_ms,
            lease_ms=self._lease_ms,
            limit=limit,
        )

    async def _run(self, queue: Queue, key: str, row: SqlRow[Any]) -> None:
        try:
            closed = await queue.step(row)
        except TakenOver:
            log.warning("taken over", queue=queue.name, key=key)
        except CertctlError as error:
            # The lease runs out and the row is claimed again, by whoever can.
            log.warning("not advanced", queue=queue.name, key=key, problem=error.detail)
        except Exception:
            log.exception("not advanced", queue=queue.name, key=key)
        else:
            if closed:
                for waiter in self._waiting.get(key, ()):
                    waiter.set()
        finally:
            del self._running[queue.name][key]
            self._wake.set()

    async def _keep_leases(self) -> None:
        now = self._clock.now_ms()
        held = [(queue, list(self._running[queue.name])) for queue in self._queues]
        held = [(queue, keys) for queue, keys in held if keys]
        if not held or now < self._next_keep:
            return
        until = now + self._lease_ms

        def extend(transaction: Transaction) -> None:
            for queue, keys in held:
                queue.leases.extend(transaction, self._owner, keys, until)

        await self._database.write(extend)
        self._next_keep = now + self._lease_ms // 3

    async def _upkeep(self) -> None:
        now = self._clock.now_ms()
        if now < self._next_upkeep:
            return
        await self._database.write(lambda t: forget_idempotency_keys(t, now - IDEMPOTENCY_MS))
        self._next_upkeep = now + _UPKEEP_MS
