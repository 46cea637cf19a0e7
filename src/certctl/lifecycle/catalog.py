"""What every request needs and nobody wants to look up each time: issuers, profiles, API keys.

One `Catalog` per process holds them in memory, built once per revision, and follows the database's
changes counter: it looks every second, and on PostgreSQL as soon as it is notified. Who keeps
something else that other processes change subscribes here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from certctl.connectors.contract import ConnectorContext
from certctl.connectors.errors import IssuerError, Misconfigured
from certctl.connectors.registry import connector_type
from certctl.domain.errors import CertctlError, InvalidInput, NotFound, Unavailable
from certctl.storage.api_keys import ApiKeyRecord, list_api_keys
from certctl.storage.issuers import IssuerRecord, list_issuers
from certctl.storage.notifications import Notifications
from certctl.storage.profiles import ProfileRecord, list_profiles
from certctl.storage.sealed_values import StoredState

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.connectors.contract import Connector, ConnectorType
    from certctl.domain.clock import Clock
    from certctl.domain.profiles import Profile
    from certctl.storage.database import Connection, Database

log = structlog.get_logger(__name__)

WATCH_SECONDS = 1.0
#: Between two looks, however many notifications come: a bulk change is not one look per commit.
_SHORTEST_SECONDS = 0.05
#: A look that began longer ago does not vouch for what is kept.
_IN_STEP_SECONDS = 2.0
#: So long `catch_up` waits for a database that does not answer.
_CATCH_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer as this process holds it: its connector, or why there is none."""

    record: IssuerRecord
    connector: Connector | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    counter: int = -1
    issuers: dict[str, Issuer] = field(default_factory=dict)
    profiles: dict[str, ProfileRecord] = field(default_factory=dict)
    api_keys: dict[str, ApiKeyRecord] = field(default_factory=dict)


class Catalog:
    """Issuers, profiles and API keys in memory, following the database.

    `status_url` is the public address of the status listener, which goes into certificates.
    `listen_url` is the PostgreSQL address that `watch` listens at for notifications.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        find_type: Callable[[str], ConnectorType] = connector_type,
        *,
        status_url: str | None = None,
        listen_url: str | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._find_type = find_type
        self._status_url = status_url
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
        return list(self._snapshot.issuers.values())

    def profiles(self) -> list[ProfileRecord]:
        """Every profile, by id."""
        return list(self._snapshot.profiles.values())

    def api_key(self, key_id: str) -> ApiKeyRecord | None:
        """The API key of that id as far as this process knows."""
        return self._snapshot.api_keys.get(key_id)

    def issuer(self, issuer_id: str) -> Issuer:
        """The issuer of that id; NotFound if there is none."""
        try:
            return self._snapshot.issuers[issuer_id]
        except KeyError:
            raise NotFound(
                "issuer-not-found",
                "there is no issuer of that id",
                field="issuer_id",
                hint="list the issuers: GET /api/v1/issuers, or `certctl issuers`",
            ) from None

    def profile(self, profile_id: str) -> ProfileRecord:
        """The profile of that id; NotFound if there is none."""
        try:
            return self._snapshot.profiles[profile_id]
        except KeyError:
            raise NotFound(
                "profile-not-found",
                "there is no profile of that id",
                field="profile_id",
                hint="list the profiles: GET /api/v1/profiles, or `certctl profiles`",
            ) from None

    def usable_issuer(self, issuer_id: str) -> tuple[IssuerRecord, Connector]:
        """An issuer that can take an order now, with its connector.

        Raises InvalidInput where there is none or it is disabled, Unavailable where it is broken.
        """
        try:
            issuer = self.issuer(issuer_id)
        except NotFound as error:
            raise InvalidInput(
                error.code, error.detail, field=error.field, hint=error.hint
            ) from None
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
            raise InvalidInput(
                error.code, error.detail, field=error.field, hint=error.hint
            ) from None
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
            issuers, profiles, api_keys = await self._database.read(self._load)
            self._snapshot = _Snapshot(
                counter=counter,
                issuers={
                    record.id: await self._issuer(record, self._snapshot.issuers.get(record.id))
                    for record in issuers
                },
                profiles={record.profile.id: record for record in profiles},
                api_keys={record.id: record for record in api_keys},
            )
            self._tell()
        self._looked_at = begun

    def _tell(self) -> None:
        for heard in self._subscribers:
            heard()

    def _load(
        self, connection: Connection
    ) -> tuple[list[IssuerRecord], list[ProfileRecord], list[ApiKeyRecord]]:
        return (
            list_issuers(connection, self._database.keyring),
            list_profiles(connection),
            list_api_keys(connection),
        )

    async def _issuer(self, record: IssuerRecord, before: Issuer | None) -> Issuer:
        if before is not None and before.record.revision == record.revision:
            return before
        try:  # a disabled one too: relying parties still ask about what it issued
            connector = await self._build(record)
        except IssuerError as error:
            log.error("issuer not ready", issuer=record.id, problem=error.detail)
            # Settings that do not work leave the connector of the earlier revision at work.
            return Issuer(record, before.connector if before else None, error.detail)
        return Issuer(record, connector, None)

    async def _build(self, record: IssuerRecord) -> Connector:
        kind = self._find_type(record.type)
        try:
            config = kind.config(**record.config, **record.secrets)
        except ValidationError as error:
            raise Misconfigured(describe_validation(error)) from None
        context = ConnectorContext(
            issuer_id=record.id,
            clock=self._clock,
            state=StoredState(self._database, record.id),
            status_url=self._status_url,
        )
        return await kind.factory(config, context)

    async def watch(self, stopping: asyncio.Event) -> None:
        """Follow the changes counter until `stopping` is set."""
        async with asyncio.TaskGroup() as tasks:
            if self._notifications is not None:
                tasks.create_task(self._notifications.run(stopping))
            tasks.create_task(self._follow(stopping))

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


def describe_validation(error: ValidationError, prefix: str | None = None) -> str:
    """The faults of a connector's settings in words, without the values.

    With a prefix the settings are named as the environment variables that they came from.
    """
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    words = []
    for fault in faults:
        where = ".".join(map(str, fault["loc"]))
        if where and prefix is not None:
            where = prefix + where.upper()
        message = fault["msg"].removeprefix("Value error, ")
        words.append(f"{where}: {message}" if where else message)
    return "; ".join(words)
