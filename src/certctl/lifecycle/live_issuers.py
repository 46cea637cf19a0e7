"""Issuers with their connectors, as one process holds them, and how one takes the other's place.

A changed issuer is swapped alone: the others keep their connectors, and calls under way come to
their end on the connector that they began with. A connector that takes long to build takes its
place when it is ready; one that could not be built is tried again, because what was in the way may
be a file.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

from certctl.connectors.errors import IssuerError
from certctl.domain.errors import CertctlError
from certctl.storage.database import Duplicate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from certctl.connectors.contract import Connector
    from certctl.lifecycle.building import Builder
    from certctl.storage.issuers import IssuerRecord

log = structlog.get_logger(__name__)

#: Between two tries to build what could not be built.
RETRY_SECONDS = 30.0
#: So long the first look waits for connectors, and so long every later one does.
_START_SECONDS = 10.0
_SWAP_SECONDS = 1.0
_UNDER_WAY = "its connector is still being set up"


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer as this process holds it: its connector, or why there is none.

    With a problem *and* a connector, that is the connector of the settings before these.
    """

    record: IssuerRecord
    connector: Connector | None
    problem: str | None


class _Built(NamedTuple):
    """What came of building a connector: it, or why there is none."""

    connector: Connector | None
    problem: str | None


class LiveIssuers:
    """Every issuer of this process. `tell` is called when one came into its place late."""

    def __init__(self, builder: Builder, tell: Callable[[], None]) -> None:
        self.builder = builder
        self._tell = tell
        self._issuers: dict[str, Issuer] | None = None
        #: Connectors that were built before their settings were stored.
        self._offers: dict[str, Issuer] = {}
        #: What is being built longer than anybody waits for it.
        self._late: dict[str, asyncio.Task[None]] = {}
        self._expecting: list[Callable[[], Awaitable[None]]] = []

    def get(self, issuer_id: str) -> Issuer | None:
        """The issuer of that id, or None."""
        return None if self._issuers is None else self._issuers.get(issuer_id)

    def issuers(self) -> list[Issuer]:
        """Every issuer, by id."""
        return list((self._issuers or {}).values())

    def expect(self, heard: Callable[[], Awaitable[None]]) -> None:
        """Have `heard` called after a connector came into being that was late or broken before."""
        self._expecting.append(heard)

    def offer(self, record: IssuerRecord, connector: Connector) -> None:
        """Give the connector of settings that were just stored, for `take` to use."""
        self._offers[record.id] = Issuer(record, connector, None)

    async def take(self, records: Sequence[IssuerRecord]) -> None:
        """Follow what is stored: build a connector for each issuer that changed, at the same time.

        Raises CertctlError, and changes nothing, when the database fails meanwhile.
        """
        changed = [record for record in records if not self._has(record)]
        building = {record.id: asyncio.create_task(self._build(record)) for record in changed}
        try:
            if building:
                seconds = _START_SECONDS if self._issuers is None else _SWAP_SECONDS
                await asyncio.wait(building.values(), timeout=seconds)
            swapped = {record.id: self._swapped(record, building[record.id]) for record in changed}
        except BaseException:
            for task in building.values():
                task.add_done_callback(_retrieve)
                task.cancel()
            raise
        # Nothing else has run since the wait, so what came in late before it is kept.
        kept = self._issuers or {}
        self._issuers = {record.id: swapped.get(record.id) or kept[record.id] for record in records}
        for record in changed:
            if not building[record.id].done():
                self._await(record, building[record.id])
        for issuer_id in self._late.keys() - self._issuers.keys():
            self._late.pop(issuer_id).cancel()

    async def mend(self, issuer_ids: Collection[str] | None = None) -> None:
        """Try again to build connectors that could not be built: these, or all of them."""
        for record in [issuer.record for issuer in self.issuers() if issuer.problem is not None]:
            if record.id not in self._late and (issuer_ids is None or record.id in issuer_ids):
                self._await(record, asyncio.create_task(self._build(record)))
        waiting = [
            task for name, task in self._late.items() if issuer_ids is None or name in issuer_ids
        ]
        if waiting:
            await asyncio.wait(waiting)

    def _has(self, record: IssuerRecord) -> bool:
        kept = self.get(record.id)
        return kept is not None and _is_same(kept.record, record)

    async def _build(self, record: IssuerRecord) -> _Built:
        """Build a connector, a disabled issuer's too: what it issued is still asked about."""
        offered = self._offers.pop(record.id, None)
        if offered is not None and _is_same(offered.record, record):
            return _Built(offered.connector, None)
        try:
            return _Built(await self.builder.build(record), None)
        except IssuerError as error:
            return _Built(None, error.detail)

    def _swapped(self, record: IssuerRecord, building: asyncio.Task[_Built]) -> Issuer:
        before = self.get(record.id)
        if before is not None and before.record.created_at != record.created_at:
            before = None  # it was deleted, and another one has its id
        earlier = None if before is None else before.connector
        if not building.done():
            return Issuer(record, earlier, None if earlier is not None else _UNDER_WAY)
        connector, problem = building.result()
        if problem is not None:
            log.error("issuer not ready", issuer=record.id, problem=problem)
        # Settings that do not work leave the connector of the earlier revision at work.
        return Issuer(record, connector or earlier, problem)

    def _await(self, record: IssuerRecord, building: asyncio.Task[_Built]) -> None:
        """Put a connector in its place once it is built."""
        earlier = self._late.pop(record.id, None)
        if earlier is not None:
            earlier.cancel()
        self._late[record.id] = asyncio.create_task(self._finish(record, building))

    async def _finish(self, record: IssuerRecord, building: asyncio.Task[_Built]) -> None:
        try:
            connector, problem = await building
        except CertctlError as error:
            connector, problem = None, error.detail
        if self._late.get(record.id) is asyncio.current_task():
            del self._late[record.id]
        kept = self.get(record.id)
        if self._issuers is None or kept is None or not _is_same(kept.record, record):
            return  # changed again since then, or gone
        self._issuers[record.id] = Issuer(record, connector or kept.connector, problem)
        if problem is not None:
            if problem != kept.problem:
                log.error("issuer not ready", issuer=record.id, problem=problem)
            return
        log.info("issuer ready", issuer=record.id)
        self._tell()
        for heard in self._expecting:
            try:
                await heard()
            except (CertctlError, Duplicate) as error:
                log.warning("not all followed a new connector", problem=str(error))


def _is_same(one: IssuerRecord, other: IssuerRecord) -> bool:
    """Whether two records are one issuer (not another that got its id) in one revision."""
    return (one.revision, one.created_at) == (other.revision, other.created_at)


def _retrieve(task: asyncio.Task[_Built]) -> None:
    """Take note of how it ended, which nobody waits for any more."""
    if not task.cancelled():
        task.exception()
