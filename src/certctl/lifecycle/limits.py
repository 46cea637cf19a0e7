"""Issuers' limits on calls to their CAs, which hold for all processes together.

A process that is alone on its database (SQLite) has each limit to itself. Several on one PostgreSQL
divide it: each holds a slice for a few seconds at a time, renews it while it has work for that
issuer, and gives it back when it has none. What a slice allows is then counted in memory, so that
a call costs no write.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from certctl.domain.errors import CertctlError, NotFound
from certctl.domain.ids import new_id
from certctl.domain.limits import UNLIMITED, Bucket, Slice, next_slice
from certctl.storage.slices import (
    IssuerLimits,
    SliceRecord,
    end_slices,
    list_slices,
    lock_limits,
    store_slices,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from certctl.domain.clock import Clock
    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.database import Database, Transaction

log = structlog.get_logger(__name__)

#: A process that joins waits for the others to renew, and all for one that died: not for long.
_LONGEST_LEASE_SECONDS = 15.0
_SHORT_OF_FAIR_MS = 500
_CONTENDED_SECONDS = 0.05
#: A part that ended longer ago cannot have used what is allowed within this minute.
_MEMORY_MS = 60_000

_NONE = IssuerLimits(None, None)
_NEVER = 2**62


@dataclass(frozen=True, slots=True)
class _Part:
    """What this process may use of one issuer's limits; times in milliseconds.

    `limits` are those that it is a part of; `held` is what other processes see of `concurrency`.
    `alone` says that nobody else had any of it within the last minute, `wanted` that there was work
    when it was made.
    """

    limits: IssuerLimits
    concurrency: int
    held: int
    calls_per_minute: int
    until: int
    renew_at: int
    alone: bool
    wanted: bool


@dataclass(frozen=True, slots=True)
class _Need:
    """What this process needs a part for: calls under way, and whether more are to begin."""

    running: int
    wanted: bool


class Limits:
    """Says how many calls to an issuer's CA may begin in this process, and counts them.

    For one task, the scheduler's. `monotonic` gives seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        *,
        lease_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._monotonic = monotonic
        self._shared = database.dialect != "sqlite"
        self._lease_ms = round(min(lease_seconds, _LONGEST_LEASE_SECONDS) * 1000)
        self._owner = new_id("proc", clock.now_ms())
        self._running: Counter[str] = Counter()
        self._parts: dict[str, _Part] = {}
        self._buckets: dict[str, Bucket] = {}
        #: Until when this process counts as one that has work for the issuer.
        self._wanted_until: dict[str, int] = {}

    async def room(self, issuer_ids: Iterable[str]) -> dict[str, int]:
        """How many calls to each of these issuers' CAs may begin now; there is work for all.

        Raises Unavailable when a slice cannot be renewed; until it is, nothing may begin.
        """
        wanted = tuple(issuer_ids)
        now = self._clock.now_ms()
        limited = [which for which in wanted if self._known(which) != _NONE]
        self._wanted_until.update(dict.fromkeys(limited, now + self._lease_ms // 2))
        await self._renew([which for which in limited if self._lacks_part(which, now)])
        return {which: self._room(which) for which in wanted}

    def begin(self, issuer_id: str) -> bool:
        """Count a call that begins now; False, and nothing counted, where it may not."""
        if not self._room(issuer_id):
            return False
        self._running[issuer_id] += 1
        if self._known(issuer_id).max_calls_per_minute is not None:
            self._buckets[issuer_id].take()
        return True

    def end(self, issuer_id: str) -> None:
        """Count a call that came to its end, however."""
        self._running[issuer_id] -= 1
        if not self._running[issuer_id]:
            del self._running[issuer_id]

    def wait(self, issuer_ids: Iterable[str]) -> float:
        """Seconds until one of these issuers may have room by the passing of time alone."""
        return min((self._wait(which) for which in issuer_ids), default=float("inf"))

    async def keep(self) -> None:
        """Renew the parts that are used or wanted, and give back the others. Call it often.

        Raises Unavailable, like `room`.
        """
        now = self._clock.now_ms()
        for which in [which for which in self._parts if self._known(which) == _NONE]:
            del self._parts[which]  # the row ends by itself
        await self._renew([which for which in self._parts if self._is_due(which, now)])

    async def release(self) -> None:
        """Give everything back: this process calls nobody any more."""
        if not self._shared or not self._parts:
            return
        self._parts.clear()
        now = self._clock.now_ms()
        try:
            await self._database.write(lambda t: end_slices(t, self._owner, now))
        except CertctlError as error:
            log.warning("limits not given back: they run out by themselves", problem=error.detail)

    def _known(self, issuer_id: str) -> IssuerLimits:
        """The limits as this process has heard of them."""
        try:
            record = self._catalog.issuer(issuer_id).record
        except NotFound:
            return _NONE
        return IssuerLimits(record.max_concurrency, record.max_calls_per_minute)

    def _room(self, issuer_id: str) -> int:
        limits = self._known(issuer_id)
        if limits == _NONE:
            return UNLIMITED
        part = self._parts.get(issuer_id)
        if part is None or part.limits != limits or part.until <= self._clock.now_ms():
            return 0
        room = UNLIMITED
        if limits.max_concurrency is not None:
            room = max(part.concurrency - self._running[issuer_id], 0)
        if limits.max_calls_per_minute is not None:
            room = min(room, self._tokens(issuer_id, part))
        return room

    def _tokens(self, issuer_id: str, part: _Part) -> int:
        if not part.calls_per_minute:
            return 0
        bucket = self._buckets[issuer_id]
        bucket.refill(self._monotonic())
        return bucket.whole

    def _wait(self, issuer_id: str) -> float:
        part = self._parts.get(issuer_id)
        if part is None:
            return float("inf") if self._known(issuer_id) == _NONE else _CONTENDED_SECONDS
        if not part.calls_per_minute or self._running[issuer_id] >= part.concurrency:
            return float("inf")
        return self._buckets[issuer_id].wait()

    def _lacks_part(self, issuer_id: str, now_ms: int) -> bool:
        part = self._parts.get(issuer_id)
        return part is None or not part.wanted or self._is_due(issuer_id, now_ms)

    def _is_due(self, issuer_id: str, now_ms: int) -> bool:
        part = self._parts[issuer_id]
        return now_ms >= part.renew_at or part.limits != self._known(issuer_id)

    def _is_wanted(self, issuer_id: str, now_ms: int) -> bool:
        return not self._shared or now_ms < self._wanted_until.get(issuer_id, 0)

    async def _renew(self, issuer_ids: Collection[str]) -> None:
        if not issuer_ids:
            return
        now = self._clock.now_ms()
        needs = {
            which: _Need(self._running[which], self._is_wanted(which, now)) for which in issuer_ids
        }
        # Nothing begins until it is known what is left: not even when the database fails.
        before = {which: self._parts.pop(which, None) for which in issuer_ids}
        if self._shared:
            parts = await self._database.write(lambda t: self._divide_all(t, needs))
        else:
            parts = {which: _whole(self._known(which)) for which in issuer_ids}
        for which, was in before.items():
            # What is not there is being divided by somebody else, who leaves us what we have.
            part = parts.get(which, was)
            if part is not None:
                self._parts[which] = part
                self._let_in(which, part, was)

    def _let_in(self, issuer_id: str, part: _Part, was: _Part | None) -> None:
        """Let calls in at the part's rate."""
        if not part.calls_per_minute:
            return
        now = self._monotonic()
        # Whoever comes first may begin at once, as if it had waited for a minute.
        bucket = self._buckets.setdefault(issuer_id, Bucket(at=now - 60))
        begins = was is None or not was.calls_per_minute or was.until <= self._clock.now_ms()
        if begins and part.alone:
            bucket.rate = part.calls_per_minute
        elif begins:  # what others called in the meantime was our rate, too
            bucket.tokens, bucket.at = 0.0, now
        bucket.set_rate(part.calls_per_minute, now)

    def _divide_all(
        self, transaction: Transaction, needs: Mapping[str, _Need]
    ) -> dict[str, _Part | None]:
        """Renew this process's parts in the database; without those that others divide just now."""
        now = self._clock.now_ms()
        limits = lock_limits(transaction, list(needs))
        rows: dict[str, list[SliceRecord]] = {which: [] for which in limits}
        for row in list_slices(transaction, list(limits)):
            rows[row.issuer_id].append(row)
        parts: dict[str, _Part | None] = {}
        stored, forgotten = [], []
        for which, found in rows.items():
            part = parts[which] = self._divide(limits[which], needs[which], found, now)
            stored += self._rows_after(which, part, found, now)
            forgotten += [row for row in found if row.until <= now - _MEMORY_MS]
        store_slices(transaction, stored, forgotten)
        return parts

    def _divide(
        self, limits: IssuerLimits, need: _Need, rows: Sequence[SliceRecord], now_ms: int
    ) -> _Part | None:
        """This process's part beside what others hold; None where it needs none."""
        if limits == _NONE or not (need.running or need.wanted):
            return None
        live = {row.owner: row for row in rows if row.until > now_ms}
        mine = live.pop(self._owner, None)
        calls = rate = Slice(UNLIMITED, 0, UNLIMITED)
        if limits.max_concurrency is not None:
            calls = next_slice(
                limits.max_concurrency,
                owner=self._owner,
                mine=mine.concurrency if mine else 0,
                in_use=need.running,
                wanted=need.wanted,
                others={owner: row.concurrency for owner, row in live.items()},
            )
        if limits.max_calls_per_minute is not None:
            rate = next_slice(
                limits.max_calls_per_minute,
                owner=self._owner,
                mine=mine.calls_per_minute if mine else 0,
                in_use=0,
                wanted=need.wanted,
                others={owner: row.calls_per_minute for owner, row in live.items()},
            )
        is_short = calls.usable < calls.fair or rate.usable < rate.fair
        return _Part(
            limits=limits,
            concurrency=calls.usable,
            held=calls.held,
            calls_per_minute=rate.held,
            until=now_ms + self._lease_ms,
            renew_at=now_ms + (_SHORT_OF_FAIR_MS if is_short else self._lease_ms // 3),
            alone=all(row.owner == self._owner or row.until <= now_ms - _MEMORY_MS for row in rows),
            wanted=need.wanted,
        )

    def _rows_after(
        self, issuer_id: str, part: _Part | None, rows: Sequence[SliceRecord], now_ms: int
    ) -> list[SliceRecord]:
        """This process's row as it is to be stored, where it is to change."""
        if part is None:
            mine = [row for row in rows if row.owner == self._owner and row.until > now_ms]
            return [replace(row, until=now_ms) for row in mine]
        return [SliceRecord(issuer_id, self._owner, part.held, part.calls_per_minute, part.until)]


def _whole(limits: IssuerLimits) -> _Part:
    """All of it, for good: nobody else is there."""
    calls, rate = limits.max_concurrency, limits.max_calls_per_minute
    return _Part(
        limits=limits,
        concurrency=UNLIMITED if calls is None else calls,
        held=0,
        calls_per_minute=rate or 0,
        until=_NEVER,
        renew_at=_NEVER,
        alone=True,
        wanted=True,
    )
