"""Issuers' circuits and quotas: when a CA is left alone, and when it is tried again.

A circuit opens when a CA does not accept our credentials, or when the settings or files of the
issuer do not work: with one event, not with one failure for each of a thousand orders. It closes
when the settings change, when one of the files changes on a machine that saw it open, when a person
tests the issuer with success, or when a probe, a minute later, is answered.

A CA whose probe passes and whose orders fail all the same opens its circuit again: silently, and
with twice the wait each time, up to an hour. That it is closed is said once it has stayed so.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from certctl.connectors.errors import IssuerError, Misconfigured, QuotaExhausted, Unauthorized
from certctl.connectors.mtls import file_identity
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import CertctlError, NotFound
from certctl.domain.events import Event, EventKind
from certctl.lifecycle import outcomes
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.calls import call
from certctl.lifecycle.catalog import WATCH_SECONDS, pause
from certctl.storage.conditions import (
    STANDING,
    ConditionRecord,
    ConditionState,
    begin_condition,
    end_condition,
    get_condition,
    load_condition,
    revision_of,
    store_condition,
)
from certctl.storage.orders import wake_orders
from certctl.storage.revocations import wake_revocations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certctl.connectors.mtls import FileIdentity
    from certctl.domain.clock import Clock
    from certctl.domain.polling import PollSchedule
    from certctl.lifecycle.catalog import Catalog, Issuer
    from certctl.lifecycle.events import Events
    from certctl.storage.database import Database, SqlRow, Transaction

    Files = Mapping[str, FileIdentity | None]

log = structlog.get_logger(__name__)

#: A probe that fails again and again is made at least once in so many seconds.
_LONGEST_PROBE_WAIT = 3600.0
#: What was postponed a moment ago is due this much later than the wait, at most.
_SLACK_MS = 1000

S = ConditionState


class Circumstances(NamedTuple):
    """With what a call to a CA was made; noted before it began."""

    issuer_id: str
    revision: int
    files: Files


class Noted(NamedTuple):
    """What a failure did to its issuer's condition.

    `is_stale` says that the settings or files it was made with are not the present ones any more:
    it says nothing about the issuer, and the call is worth making again at once.
    """

    events: tuple[Event, ...] = ()
    changed: bool = False
    is_stale: bool = False


class _Next(NamedTuple):
    """A condition that takes another's place; `is_again`: it is the same one, come back."""

    record: ConditionRecord
    is_again: bool


class _Seen(NamedTuple):
    """The files of an issuer as they were when its circuit opened, or when this process saw it."""

    opening: tuple[int, int]
    files: Files


class Conditions:
    """Opens and closes circuits for every process: what it decides by is in the database."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        schedule: PollSchedule,
        events: Events,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._schedule = schedule
        self._events = events
        self._seen: dict[str, _Seen] = {}

    def circumstances(self, issuer: Issuer) -> Circumstances:
        """What a call is about to be made with: one `stat` for each file, and nothing is opened."""
        record = issuer.record
        return Circumstances(record.id, record.revision, self._files(issuer))

    def files_changed(self, made_with: Circumstances) -> bool:
        """Whether a file is another one than before the call."""
        return _look_at(made_with.files) != made_with.files

    def standing(self, issuer_id: str) -> ConditionRecord | None:
        """Why that issuer's CA is left alone now; None when it is not, or its time is over."""
        found = self._catalog.condition(issuer_id)
        if found is None or not self._is_of_present_settings(found):
            return None
        if found.state is S.OPEN:
            return found
        is_over = found.due_at is None or found.due_at <= self._clock.now_ms()
        return None if is_over else found

    def _is_of_present_settings(self, record: ConditionRecord) -> bool:
        """Whether it is not about to be ended: who is woken by that must not meet it again."""
        try:
            return self._catalog.issuer(record.issuer_id).record.revision == record.revision
        except NotFound:
            return True

    def note(
        self,
        transaction: Transaction,
        made_with: Circumstances,
        error: IssuerError,
        *,
        files_changed: bool,
    ) -> Noted:
        """Record what a failure means for the issuer, in the transaction that records the failure.

        `announce` is to follow the commit.
        """
        is_quota = isinstance(error, QuotaExhausted)
        if not is_quota and not isinstance(error, Unauthorized | Misconfigured):
            return Noted()
        revision = revision_of(transaction.connection, made_with.issuer_id)
        if revision is None or revision != made_with.revision or files_changed:
            return Noted(is_stale=True)
        now = self._clock.now_ms()
        wait = outcomes.QUOTA_WAIT * self._schedule.scale if is_quota else self._probe_wait(1)
        fresh = ConditionRecord(
            issuer_id=made_with.issuer_id,
            state=S.QUOTA if is_quota else S.OPEN,
            problem=error.detail,
            since=now,
            revision=revision,
            due_at=now + round(wait * 1000),
        )
        before = begin_condition(transaction, fresh, now)
        following: _Next | None = _Next(fresh, is_again=False)
        if before is not None and before.revision == revision:  # else of settings that are gone
            following = _exhausted(before, fresh) if is_quota else self._opened(before, fresh)
        if following is None:
            return Noted()
        if before is not None:
            store_condition(transaction, replace(following.record, epoch=before.epoch), now)
        transaction.changed()
        action = "issuer.quota_exhausted" if is_quota else "issuer.circuit_opened"
        _audit(transaction, action, fresh.issuer_id, now, problem=fresh.problem)
        events = []
        if is_quota and before is not None and before.state is S.CLOSED:
            events.append(self._event(EventKind.CIRCUIT_CLOSED, fresh.issuer_id, "the CA answered"))
        if not following.is_again:
            kind = EventKind.QUOTA_EXHAUSTED if is_quota else EventKind.CIRCUIT_OPEN
            events.append(self._event(kind, fresh.issuer_id, fresh.problem))
        for event in events:
            self._events.record(transaction, event)
        return Noted(tuple(events), changed=True)

    async def announce(self, noted: Noted, made_with: Circumstances) -> None:
        """Say what was noted, once it is committed, and have this process act on it at once."""
        for event in noted.events:
            self._events.announce(event)
        if noted.changed:
            await self._refresh()
        found = self._catalog.condition(made_with.issuer_id)
        if found is not None and found.state is S.OPEN and not noted.is_stale:
            seen = self._seen.get(found.issuer_id)
            if seen is None or seen.opening != (found.since, found.openings):
                opening = (found.since, found.openings)
                self._seen[found.issuer_id] = _Seen(opening, made_with.files)

    async def step(self, row: SqlRow[Any]) -> bool:
        """Take the next step with a condition whose time has come; whether it is over.

        Raises TakenOver when it was claimed or changed meanwhile, Unavailable if the database is
        not there.
        """
        record = load_condition(row)
        match record.state:
            case S.OPEN:
                return await self._probe(record)
            case S.QUOTA:
                # Remembered for as long as an order may come to ask again.
                wait = outcomes.QUOTA_WAIT * self._schedule.scale
                await self._store(replace(record, state=S.REFILLED, due_at=self._in(wait)))
            case S.CLOSED | S.REFILLED:
                await self._end(record, "its calls have not failed so again")
        return True

    async def close(self, issuer_id: str) -> None:
        """End an issuer's condition: a person has just tested it, with success."""
        found = await self._database.read(lambda connection: get_condition(connection, issuer_id))
        if found is not None:
            await self._end(found, "the issuer was tested with success")

    async def watch(self, stopping: asyncio.Event) -> None:
        """Look each second, and after each change, for what ends a condition; until `stopping`."""
        heard = asyncio.Event()
        self._catalog.subscribe(heard.set)
        stop = asyncio.create_task(stopping.wait())
        stop.add_done_callback(lambda _: heard.set())
        try:
            while not stopping.is_set():
                heard.clear()
                try:
                    await self.look()
                except CertctlError as error:
                    log.warning("conditions not looked at", problem=error.detail)
                await pause(heard, WATCH_SECONDS)
        finally:
            stop.cancel()

    async def look(self) -> None:
        """End the conditions of issuers whose settings or files are no longer the same.

        Without a condition there is nothing to do.
        """
        found = self._catalog.conditions()
        self._seen = {record.issuer_id: self._see(record) for record in found}
        for record in found:
            try:
                issuer = self._catalog.issuer(record.issuer_id)
            except NotFound:
                continue
            files = self._seen[record.issuer_id].files
            if issuer.record.revision != record.revision:
                await self._end(record, "the issuer's settings were changed")
            elif record.state is S.OPEN and _look_at(files) != files:
                await self._end(record, "one of the issuer's files was changed")

    def _see(self, record: ConditionRecord) -> _Seen:
        seen = self._seen.get(record.issuer_id)
        if seen is not None and seen.opening == (record.since, record.openings):
            return seen
        try:
            files: Files = self._files(self._catalog.issuer(record.issuer_id))
        except NotFound:
            files = {}
        return _Seen((record.since, record.openings), files)

    def _files(self, issuer: Issuer) -> Files:
        try:
            kind = self._catalog.live.builder.find_type(issuer.record.type)
        except Misconfigured:  # its connector is not installed
            return {}
        paths = [issuer.record.config.get(name) for name in kind.config.file_fields()]
        return {path: file_identity(path) for path in paths if isinstance(path, str)}

    def _opened(self, before: ConditionRecord, fresh: ConditionRecord) -> _Next | None:
        """The condition after credentials or settings failed; None where it stays as it is."""
        match before.state:
            case S.OPEN:
                return None
            case S.CLOSED:
                openings = before.openings + 1
                due_at = self._in(self._probe_wait(openings))
                again = replace(fresh, since=before.since, openings=openings, due_at=due_at)
                return _Next(again, is_again=True)
            case _:
                return _Next(fresh, is_again=False)

    def _probe_wait(self, openings: int) -> float:
        doubled = outcomes.CIRCUIT_WAIT * (1 << min(openings - 1, 10))
        return min(doubled, _LONGEST_PROBE_WAIT) * self._schedule.scale

    def _in(self, seconds: float) -> int:
        return self._clock.now_ms() + round(seconds * 1000)

    async def _probe(self, record: ConditionRecord) -> bool:
        wait = self._probe_wait(record.openings)
        try:
            issuer = self._catalog.issuer(record.issuer_id)
        except NotFound:
            issuer = None
        problem = record.problem
        if issuer is not None and issuer.connector is not None:
            try:
                await call(issuer.record, issuer.connector.check())
            except IssuerError as error:
                log.info("circuit stays open", issuer=record.issuer_id, problem=error.detail)
                if isinstance(error, Unauthorized | Misconfigured):
                    problem = error.detail
            else:
                log.info("circuit closed on trial", issuer=record.issuer_id)
                await self._store(replace(record, state=S.CLOSED, due_at=self._in(wait)), wake=True)
                return True
        await self._store(replace(record, problem=problem, due_at=self._in(wait)))
        return False

    async def _store(self, record: ConditionRecord, *, wake: bool = False) -> None:
        now = self._clock.now_ms()

        def write(transaction: Transaction) -> None:
            store_condition(transaction, record, now)
            transaction.changed()
            if wake:
                self._wake_rows(transaction, record, now)

        await self._database.write(write)
        await self._refresh()

    async def _end(self, record: ConditionRecord, why: str) -> None:
        """Forget a condition, unless another process was faster, and wake what waited for it."""
        now = self._clock.now_ms()
        was_quota = record.state in {S.QUOTA, S.REFILLED}
        event = self._event(EventKind.CIRCUIT_CLOSED, record.issuer_id, why)
        was_standing = record.state in STANDING

        def write(transaction: Transaction) -> bool:
            if not end_condition(transaction, record):
                return False
            action = "issuer.quota_ended" if was_quota else "issuer.circuit_closed"
            _audit(transaction, action, record.issuer_id, now, why=why)
            if not was_quota:
                self._events.record(transaction, event)
            if was_standing:
                transaction.changed()
                self._wake_rows(transaction, record, now)
            return True

        if not await self._database.write(write):
            return
        if not was_quota:
            self._events.announce(event)
        if was_standing:
            await self._refresh()

    def _wake_rows(self, transaction: Transaction, record: ConditionRecord, now_ms: int) -> None:
        """Make due what was postponed because of the condition."""
        is_quota = record.state is S.QUOTA
        wait = outcomes.CIRCUIT_WAIT * self._schedule.scale
        if is_quota:
            wait = outcomes.quota_pause(self._schedule, 1.0)
        until = now_ms + round(wait * 1000) + _SLACK_MS
        wake_orders(transaction, record.issuer_id, now_ms, until, only_ready=is_quota)
        if not is_quota:
            wake_revocations(transaction, record.issuer_id, now_ms, until)

    async def _refresh(self) -> None:
        try:
            await self._catalog.refresh()
        except CertctlError as error:  # it is stored, and seen within a second
            log.warning("changes not read", problem=error.detail)

    def _event(self, kind: EventKind, issuer_id: str, words: str) -> Event:
        return Event(kind, self._clock.now_ms(), issuer_id, words)


def _exhausted(before: ConditionRecord, fresh: ConditionRecord) -> _Next | None:
    """The condition after the account had nothing left; None where it stays as it is."""
    is_over = before.due_at is None or before.due_at <= fresh.since
    match before.state:
        case S.OPEN:
            return None
        case S.QUOTA if not is_over:
            return None
        case S.QUOTA | S.REFILLED:
            return _Next(replace(fresh, since=before.since), is_again=True)
        case _:
            return _Next(fresh, is_again=False)


def _look_at(files: Files) -> Files:
    return {path: file_identity(path) for path in files}


def _audit(
    transaction: Transaction, action: str, issuer_id: str, now_ms: int, **detail: str
) -> None:
    transaction.audit(
        AuditEvent(
            at_ms=now_ms,
            actor=SYSTEM.id,
            action=action,
            object_type="issuer",
            object_id=issuer_id,
            detail=detail,
        )
    )
