"""The scheduler: claims due rows of every queue, runs them a few at a time, keeps their leases."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from certctl.domain.errors import CertctlError
from certctl.domain.ids import new_id
from certctl.domain.limits import share
from certctl.domain.orders import IDEMPOTENCY_MS
from certctl.lifecycle.catalog import pause
from certctl.lifecycle.limits import Limits
from certctl.storage.conditions import ConditionState
from certctl.storage.idempotency import forget_idempotency_keys
from certctl.storage.leases import TakenOver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from certctl.domain.clock import Clock
    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.database import Connection, Database, SqlRow, Transaction
    from certctl.storage.leases import Leases

log = structlog.get_logger(__name__)

IDLE_SECONDS = 1.0
LEASE_SECONDS = 60.0
#: Between two looks, however many steps end: what becomes free meanwhile is claimed in one go.
_SHORTEST_SECONDS = 0.01
#: Rows that fall due one after the other are claimed together if they lie no further apart.
_TOGETHER_SECONDS = 0.05
_UPKEEP_MS = 3600 * 1000


@dataclass(frozen=True, slots=True)
class Queue:
    """Rows of one table that fall due, and what is done with one that was claimed.

    In the log a row is called by the queue's name. `step` returns whether the row is closed:
    nothing will come of it any more by itself. It raises TakenOver when another process has claimed
    the row meanwhile. `concurrency` is per process.
    """

    name: str
    leases: Leases
    step: Callable[[SqlRow[Any]], Awaitable[bool]]
    concurrency: int


@dataclass(frozen=True, slots=True)
class _Claim:
    """So many rows of one queue, and of one issuer where the queue has such groups."""

    queue: Queue
    group: str | None
    limit: int


class Scheduler:
    """One per process. It looks for due rows when woken, and every `idle_seconds`.

    Rows that belong to an issuer are claimed by issuer: each with something due gets a part of the
    queue's room, within the issuer's limits; one whose circuit is open gets none, and its rows are
    not looked at. Both lengths of time are settings, for tests' sake too.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        queues: Sequence[Queue],
        *,
        limits: Limits | None = None,
        lease_seconds: float = LEASE_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._queues = tuple(queues)
        self._limits = limits or Limits(database, catalog, clock, lease_seconds=lease_seconds)
        self._lease_ms = round(lease_seconds * 1000)
        self._idle = min(idle_seconds, lease_seconds / 3)
        self._owner = new_id(f"{socket.gethostname()[:20].lower()}-{os.getpid()}", clock.now_ms())
        self._next_upkeep = self._next_keep = clock.now_ms()
        self._wake = asyncio.Event()
        self._running: dict[str, dict[str, asyncio.Task[None]]] = {
            queue.name: {} for queue in queues
        }
        self._busy: dict[str, Counter[str]] = {queue.name: Counter() for queue in queues}
        #: Whether something due was left for want of room, so that the end of a step matters.
        self._more = False
        #: In which round of claims each issuer was served last.
        self._served: dict[str, int] = {}
        self._round = 0
        self._waiting: dict[str, set[asyncio.Event]] = {}
        catalog.subscribe(self.wake)

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
                rest = self._idle
                try:
                    # First: a process that stood still for a while holds on to what it still has.
                    await self._keep_leases()
                    await self._limits.keep()
                    rest = await self._claim()
                    await self._upkeep()
                except CertctlError as error:
                    log.warning("scheduler waits", problem=error.detail)
                    await pause(stopping, IDLE_SECONDS)
                await pause(stopping, _SHORTEST_SECONDS)
                await pause(self._wake, rest)
        finally:
            stop.cancel()
            under_way = [task for tasks in self._running.values() for task in tasks.values()]
            await asyncio.gather(*under_way, return_exceptions=True)
            await self._limits.release()

    async def _claim(self) -> float:
        """Start what is due and fits; seconds until there may be more to start."""
        now = self._clock.now_ms()
        self._more = any(not self._room(queue) for queue in self._queues)
        firsts = await self._look(now)
        due = {
            name: [group for group, due_at in found.items() if due_at <= now]
            for name, found in firsts.items()
        }
        issuers = {group for groups in due.values() for group in groups if group is not None}
        claims = self._divide(due, await self._limits.room(issuers))
        full = await self._start(claims, now) if claims else []
        hungry = issuers - {claim.group for claim in claims} | {claim.group for claim in full}
        self._more = self._more or bool(hungry or full)
        rest = min(self._idle, self._limits.wait(which for which in hungry if which is not None))
        later = [at - now for found in firsts.values() for at in found.values() if at > now]
        if later or claims:  # what comes after what was claimed is not known yet
            soonest = 0.0 if claims else min(later) / 1000
            rest = min(rest, max(soonest, _TOGETHER_SECONDS))
        return rest

    def _room(self, queue: Queue) -> int:
        return queue.concurrency - len(self._running[queue.name])

    async def _look(self, now_ms: int) -> dict[str, dict[str | None, int]]:
        """When the first row is due of each queue that has room, and of each issuer in it."""
        blocked = {
            condition.issuer_id
            for condition in self._catalog.conditions()
            if condition.state is ConditionState.OPEN
        }
        queues = [queue for queue in self._queues if self._room(queue)]

        def look(connection: Connection) -> dict[str, dict[str | None, int]]:
            return {
                queue.name: queue.leases.first_due(connection, now_ms, blocked) for queue in queues
            }

        found = await self._database.read(look)
        # Others are new, and heard of in a moment.
        known = {None, *(issuer.record.id for issuer in self._catalog.issuers())}
        return {
            name: {group: at for group, at in of_queue.items() if group in known}
            for name, of_queue in found.items()
        }

    def _divide(self, due: dict[str, list[str | None]], allowed: dict[str, int]) -> list[_Claim]:
        """Which rows to claim: for each issuer its part, by turns where there is not enough."""
        self._round += 1
        claims = []
        # One issuer's limits are for its orders and its revocations: neither always comes first.
        turn = self._round % len(self._queues)
        for queue in (*self._queues[turn:], *self._queues[:turn]):
            groups = due.get(queue.name, [])
            if not queue.leases.grouped:
                claims += [_Claim(queue, None, self._room(queue))] if groups else []
                continue
            waiting = sorted(
                (group for group in groups if group is not None),
                key=lambda group: (self._served.get(group, 0), group),
            )
            running = self._busy[queue.name]
            parts = share(self._room(queue), waiting, running=running, most=allowed)
            for group, part in parts.items():
                if part:
                    claims.append(_Claim(queue, group, part))
                    self._served[group] = self._round
                    allowed[group] -= part
        return claims

    async def _start(self, claims: Sequence[_Claim], now_ms: int) -> list[_Claim]:
        """Claim and run them; returns those of which there may be more."""

        def write(transaction: Transaction) -> list[Sequence[SqlRow[Any]]]:
            return [
                claim.queue.leases.claim(
                    transaction,
                    owner=self._owner,
                    now_ms=now_ms,
                    lease_ms=self._lease_ms,
                    limit=claim.limit,
                    group=claim.group,
                )
                for claim in claims
            ]

        claimed = list(zip(claims, await self._database.write(write), strict=True))
        left = [
            (claim.queue.leases, [row for row in rows if not self._begin(claim, row)])
            for claim, rows in claimed
        ]
        if any(rows for _, rows in left):
            await self._give_back(left)
        return [claim for claim, rows in claimed if len(rows) == claim.limit]

    def _begin(self, claim: _Claim, row: SqlRow[Any]) -> bool:
        """Run a row's step, unless its issuer's limit, a moment ago wider, does not let it."""
        if claim.group is not None:
            if not self._limits.begin(claim.group):
                return False
            self._busy[claim.queue.name][claim.group] += 1
        key = claim.queue.leases.key(row)
        task = asyncio.create_task(self._run(claim, key, row), name=f"{claim.queue.name}-{key}")
        self._running[claim.queue.name][key] = task
        return True

    async def _give_back(self, left: Sequence[tuple[Leases, Sequence[SqlRow[Any]]]]) -> None:
        def write(transaction: Transaction) -> None:
            for leases, rows in left:
                keys = [leases.key(row) for row in rows]
                leases.give_back(transaction, self._owner, keys)

        await self._database.write(write)

    async def _run(self, claim: _Claim, key: str, row: SqlRow[Any]) -> None:
        words = {claim.queue.name: key}
        if claim.group is not None:
            words["issuer"] = claim.group
        structlog.contextvars.bind_contextvars(**words)  # for this task and what it calls
        try:
            closed = await claim.queue.step(row)
        except TakenOver:
            log.warning("taken over")
        except CertctlError as error:
            # The lease runs out and the row is claimed again, by whoever can.
            log.warning("not advanced", problem=error.detail)
        except Exception:
            log.exception("not advanced")
        else:
            if closed:
                for waiter in self._waiting.get(key, ()):
                    waiter.set()
        finally:
            self._ended(claim, key)

    def _ended(self, claim: _Claim, key: str) -> None:
        name = claim.queue.name
        if self._running[name].get(key) is asyncio.current_task():
            del self._running[name][key]  # else it was claimed anew after its lease had run out
        if claim.group is not None:
            self._limits.end(claim.group)
            self._busy[name][claim.group] -= 1
        if self._more:
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
