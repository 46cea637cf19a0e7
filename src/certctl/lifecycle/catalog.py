"""What every request needs and nobody wants to look up each time: issuers, profiles, API keys.

One `Catalog` per process holds them in memory, built once per revision, and follows the database's
changes counter: it looks every second, and on PostgreSQL as soon as it is notified. Who keeps
something else that other processes change subscribes here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import structlog

from certctl.connectors.registry import connector_type
from certctl.connectors.transport import Transports
from certctl.domain.errors import CertctlError, InvalidInput, NotFound, Unavailable
from certctl.domain.imports import EXTERNAL_TYPE, IMPORTED_PROFILE_ID
from certctl.lifecycle.building import BUILD_SECONDS, Builder
from certctl.lifecycle.live_issuers import RETRY_SECONDS, Issuer, LiveIssuers
from certctl.storage.api_keys import ApiKeyRecord, list_api_keys
from certctl.storage.conditions import ConditionRecord, list_conditions
from certctl.storage.issuer_checks import CheckRecord, list_checks
from certctl.storage.issuers import IssuerRecord, list_issuers
from certctl.storage.notifications import Notifications
from certctl.storage.profiles import ProfileRecord, list_profiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.connectors.contract import Connector, ConnectorType
    from certctl.domain.clock import Clock
    from certctl.domain.profiles import Profile
    from certctl.storage.database import Connection, Database

__all__ = ["Catalog", "Issuer", "pause"]

log = structlog.get_logger(__name__)

WATCH_SECONDS = 1.0
#: Between two looks, however many notifications come: a bulk change is not one look per commit.
_SHORTEST_SECONDS = 0.05
#: A look that began longer ago does not vouch for what is kept.
_IN_STEP_SECONDS = 2.0
#: So long `catch_up` waits for a database that does not answer.
_CATCH_UP_SECONDS = 2.0


class _Loaded(NamedTuple):
    """What a look reads."""

    issuers: list[IssuerRecord]
    profiles: list[ProfileRecord]
    api_keys: list[ApiKeyRecord]
    conditions: dict[str, ConditionRecord]
    checks: dict[str, CheckRecord]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    counter: int = -1
    conditions: dict[str, ConditionRecord] = field(default_factory=dict)
    checks: dict[str, CheckRecord] = field(default_factory=dict)
    profiles: dict[str, ProfileRecord] = field(default_factory=dict)
    api_keys: dict[str, ApiKeyRecord] = field(default_factory=dict)


class Catalog:
    """Issuers, profiles and API keys in memory, following the database.

    `transports` are the process's connections to CAs, which outlive every change of an issuer.
    `status_url` is the public address of the status listener, which goes into certificates.
    `listen_url` is the PostgreSQL address that `watch` listens at for notifications.
    A factory may take `build_seconds`; what could not be built is tried again after
    `retry_seconds`.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        find_type: Callable[[str], ConnectorType] = connector_type,
        *,
        transports: Transports | None = None,
        status_url: str | None = None,
        listen_url: str | None = None,
        build_seconds: float = BUILD_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        builder = Builder(
            database,
            clock,
            find_type,
            Transports() if transports is None else transports,
            status_url,
            build_seconds,
        )
        #: The connectors, each in its place.
        self.live = LiveIssuers(builder, self._tell)
        self._database = database
        self._retry_seconds = retry_seconds
        self._snapshot = _Snapshot()
        self._subscribers: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._notifications = (
            None if listen_url is None else Notifications(listen_url, self._wake.set)
        )
        self._looking: asyncio.Task[None] | None = None
        self._next_look: asyncio.Task[None] | None = None
        #: Monotonic times at which the last look began, and the last one that succeeded.
        self._look_begun = self._looked_at = float("-inf")

    def issuers(self) -> list[Issuer]:
        """Every issuer, by id."""
        return self.live.issuers()

    def profiles(self) -> list[ProfileRecord]:
        """Every profile, by id, the archived ones too."""
        return list(self._snapshot.profiles.values())

    def api_key(self, key_id: str) -> ApiKeyRecord | None:
        """The API key of that id as far as this process knows."""
        return self._snapshot.api_keys.get(key_id)

    def issuer(self, issuer_id: str) -> Issuer:
        """The issuer of that id; NotFound if there is none."""
        found = self.live.get(issuer_id)
        if found is None:
            raise issuer_not_found()
        return found

    def knows(self, issuer_id: str, profile_id: str) -> bool:
        """Whether this process has heard of both."""
        return self.live.get(issuer_id) is not None and profile_id in self._snapshot.profiles

    def connector(self, issuer_id: str) -> Connector | None:
        """The connector of that issuer; None where it is broken, or this process knows none."""
        found = self.live.get(issuer_id)
        return None if found is None else found.connector

    def condition(self, issuer_id: str) -> ConditionRecord | None:
        """Why that issuer's CA is left alone for now; None when it is not."""
        return self._snapshot.conditions.get(issuer_id)

    def conditions(self) -> list[ConditionRecord]:
        """The condition of every issuer that has one."""
        return list(self._snapshot.conditions.values())

    def check(self, issuer_id: str) -> CheckRecord | None:
        """What came of the last time that somebody tested that issuer."""
        return self._snapshot.checks.get(issuer_id)

    def profile(self, profile_id: str) -> ProfileRecord:
        """The profile of that id; NotFound if there is none."""
        try:
            return self._snapshot.profiles[profile_id]
        except KeyError:
            raise profile_not_found() from None

    def usable_issuer(self, issuer_id: str) -> tuple[IssuerRecord, Connector]:
        """An issuer that can take an order now, with its connector.

        Raises InvalidInput where there is none or it is disabled or archived, Unavailable where it
        is broken.
        """
        try:
            issuer = self.issuer(issuer_id)
        except NotFound as error:
            raise error.as_input() from None
        if issuer.record.type == EXTERNAL_TYPE:
            raise InvalidInput(
                "issuer-external",
                "this issuer stands for a CA whose certificates were imported: nothing can be "
                "ordered from it",
                field="issuer_id",
                hint="choose another issuer",
            )
        if issuer.record.archived_at is not None:
            raise InvalidInput(
                "issuer-archived",
                "this issuer is archived",
                field="issuer_id",
                hint="choose another issuer",
            )
        if not issuer.record.enabled:
            raise InvalidInput(
                "issuer-disabled",
                "this issuer is disabled",
                field="issuer_id",
                hint="enable it, or choose another issuer",
            )
        if issuer.connector is None:
            raise Unavailable(
                "issuer-not-ready",
                f"this issuer cannot issue: {issuer.problem}",
                field="issuer_id",
                hint="mend the issuer's settings, then try again",
                retry_after=30,
            )
        return issuer.record, issuer.connector

    def usable_profile(self, profile_id: str) -> Profile:
        """A profile that requests may name; raises InvalidInput where there is none."""
        try:
            found = self.profile(profile_id)
        except NotFound as error:
            raise error.as_input() from None
        if profile_id == IMPORTED_PROFILE_ID:
            raise InvalidInput(
                "profile-for-imports",
                "this profile is for imported certificates: nothing can be ordered with it",
                field="profile_id",
                hint="choose another profile",
            )
        if found.archived_at is not None:
            raise InvalidInput(
                "profile-archived",
                "this profile is archived",
                field="profile_id",
                hint="choose another profile",
            )
        if not found.enabled:
            raise InvalidInput(
                "profile-disabled",
                "this profile is disabled",
                field="profile_id",
                hint="enable it, or choose another profile",
            )
        return found.profile

    def subscribe(self, heard: Callable[[], None]) -> None:
        """Have `heard` called whenever the counter was seen to have moved.

        It is called at once, and again when the issuers, profiles and keys are loaded.
        """
        self._subscribers.append(heard)

    def in_step(self) -> bool:
        """Whether what this process keeps can be used without asking the database.

        With SQLite always: no other process changes anything. With PostgreSQL while notifications
        come in and a look since then succeeded in the last two seconds.
        """
        if self._notifications is None:
            return self._database.dialect == "sqlite"
        since = self._notifications.listening_since
        return (
            since is not None
            and since <= self._looked_at
            and time.monotonic() - self._looked_at < _IN_STEP_SECONDS
        )

    async def catch_up(self) -> bool:
        """Miss no change that was stored before this call, even when not in step.

        False when the database does not answer, or not within two seconds: then what is kept here
        is all there is. Nobody waits for a look that was begun longer ago.
        """
        if self.in_step():
            return True
        if self._waits_in_vain():
            return False
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                await self.refresh()
        except (TimeoutError, CertctlError):
            return False
        return True

    def _waits_in_vain(self) -> bool:
        under_way = self._looking is not None and not self._looking.done()
        return under_way and time.monotonic() - self._look_begun > _CATCH_UP_SECONDS

    async def refresh(self) -> None:
        """Load what changed since the last time; cheap when nothing did.

        Everything that was stored before the call is seen. Callers share a look that has not begun
        yet, and its failure: Unavailable.
        """
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look_after(self._looking))
            self._next_look.add_done_callback(_retrieve)
        await asyncio.shield(self._next_look)

    async def _look_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        self._looking, self._next_look = self._next_look, None
        await self._look()

    async def _look(self) -> None:
        begun = self._look_begun = time.monotonic()
        # Read before the rows: a change in between is then loaded twice rather than missed.
        counter = await self._database.change_counter()
        if counter != self._snapshot.counter:
            self._tell()  # before the rows, which may take a while
            loaded = await self._database.read(self._load)
            await self.live.take(loaded.issuers)
            self._snapshot = _Snapshot(
                counter=counter,
                conditions=loaded.conditions,
                checks=loaded.checks,
                profiles={record.profile.id: record for record in loaded.profiles},
                api_keys={record.id: record for record in loaded.api_keys},
            )
            self._tell()
        self._looked_at = begun

    def _tell(self) -> None:
        for heard in self._subscribers:
            heard()

    def _load(self, connection: Connection) -> _Loaded:
        return _Loaded(
            issuers=list_issuers(connection, self._database.keyring),
            profiles=list_profiles(connection),
            api_keys=list_api_keys(connection),
            conditions=list_conditions(connection),
            checks=list_checks(connection),
        )

    async def watch(self, stopping: asyncio.Event) -> None:
        """Follow the changes counter, and mend what is broken, until `stopping` is set."""
        async with asyncio.TaskGroup() as tasks:
            if self._notifications is not None:
                tasks.create_task(self._notifications.run(stopping))
            tasks.create_task(self._follow(stopping))
            tasks.create_task(self._mend(stopping))

    async def _follow(self, stopping: asyncio.Event) -> None:
        stop = asyncio.create_task(stopping.wait())
        stop.add_done_callback(lambda _: self._wake.set())
        try:
            while not stopping.is_set():
                self._wake.clear()
                try:
                    await self.refresh()
                except CertctlError as error:
                    log.warning("changes not read", problem=error.detail)
                await pause(stopping, _SHORTEST_SECONDS)
                await pause(self._wake, WATCH_SECONDS)
        finally:
            stop.cancel()

    async def _mend(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await pause(stopping, self._retry_seconds)
            if not stopping.is_set():
                await self.live.mend()


def issuer_not_found() -> NotFound:
    """There is no issuer of that id."""
    return NotFound(
        "issuer-not-found",
        "there is no issuer of that id",
        field="issuer_id",
        hint="list the issuers: GET /api/v1/issuers, or `certctl issuers`",
    )


def profile_not_found() -> NotFound:
    """There is no profile of that id."""
    return NotFound(
        "profile-not-found",
        "there is no profile of that id",
        field="profile_id",
        hint="list the profiles: GET /api/v1/profiles, or `certctl profiles`",
    )


def _retrieve(look: asyncio.Task[None]) -> None:
    """Take note of how a look ended, which may be that all who waited for it have gone."""
    if not look.cancelled():
        look.exception()


async def pause(until: asyncio.Event, seconds: float) -> None:
    """Sleep, or wake at once when the event is set."""
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        return
