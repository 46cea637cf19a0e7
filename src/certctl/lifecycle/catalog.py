"""What every request needs and nobody wants to look up each time: issuers, profiles, API keys.

One `Catalog` per process holds them in memory, built once per revision, and follows the database's
changes counter, so that what another process changed is known here within a second.
"""

from __future__ import annotations

import asyncio
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
    """Issuers, profiles and API keys in memory, following the database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        find_type: Callable[[str], ConnectorType] = connector_type,
    ) -> None:
        self._database = database
        self._clock = clock
        self._find_type = find_type
        self._snapshot = _Snapshot()
        self._refreshing = asyncio.Lock()

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

    async def refresh(self) -> None:
        """Load what changed since the last time; cheap when nothing did."""
        async with self._refreshing:
            # Read before the rows: a change in between is then loaded twice rather than missed.
            counter = await self._database.change_counter()
            if counter == self._snapshot.counter:
                return
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
        if not record.enabled:
            return Issuer(record, None, None)
        try:
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
        )
        return await kind.factory(config, context)

    async def watch(self, stopping: asyncio.Event) -> None:
        """Follow the changes counter until `stopping` is set."""
        while not stopping.is_set():
            try:
                await self.refresh()
            except CertctlError as error:
                log.warning("changes not read", problem=error.detail)
            await pause(stopping, WATCH_SECONDS)


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Sleep, or wake at once when `stopping` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
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
