"""API keys over the API: made, listed, revoked. A key's secret is shown to its maker, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain.access import Grant, Role, Scope, check_expiry, check_grant, parse_scope_name
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict, InvalidInput, NotFound
from certctl.domain.ids import new_id
from certctl.lifecycle.access import hash_api_key, new_api_key
from certctl.lifecycle.catalog import issuer_not_found, profile_not_found
from certctl.storage.api_keys import (
    ApiKeyRecord,
    get_api_key,
    insert_api_key,
    lock_keys_of_role,
    page_of_api_keys,
    revoke_api_key,
)
from certctl.storage.scopes import scope_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.last_use import LastUse
    from certctl.storage.database import Connection, Database, Transaction


@dataclass(frozen=True, slots=True)
class ScopeRequest:
    """A scope as it was asked for; a part that is None is everything."""

    issuers: Sequence[str] | None = None
    profiles: Sequence[str] | None = None
    names: Sequence[str] | None = None

    def parsed(self) -> Scope:
        """The scope; raises InvalidInput for a pattern that is none."""
        patterns = None
        if self.names is not None:
            patterns = tuple(
                dict.fromkeys(
                    parse_scope_name(text, f"scope.names.{index}")
                    for index, text in enumerate(self.names)
                )
            )
        return Scope(
            issuers=None if self.issuers is None else frozenset(self.issuers),
            profiles=None if self.profiles is None else frozenset(self.profiles),
            names=patterns,
        )


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is to be made; `expires_at` in milliseconds, None for never."""

    name: str
    role: Role
    scope: ScopeRequest | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class KeyState:
    """A key as people see it. Times in milliseconds."""

    record: ApiKeyRecord
    last_used_at: int | None


class Keys:
    """What can be done with API keys. A caller with a scope sees the keys that it has made."""

    def __init__(self, database: Database, catalog: Catalog, clock: Clock, used: LastUse) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._used = used

    async def create(self, actor: Actor, wanted: NewKey) -> tuple[KeyState, str]:
        """Make a key, and return it with its secret, which nobody can find out later.

        Raises Forbidden where it would give more than its maker has, InvalidInput for an issuer or
        profile that does not exist, a pattern that is none, an end that has passed.
        """
        now = self._clock.now_ms()
        scope = None if wanted.scope is None else wanted.scope.parsed()
        check_grant(actor.grant, Grant(wanted.role, scope, wanted.expires_at))
        check_expiry(wanted.expires_at, now)
        if wanted.scope is not None:
            await self._check_known(wanted.scope)
        key_id = new_id("key", now).removeprefix("key-")
        secret = new_api_key(key_id)
        record = ApiKeyRecord(
            id=key_id,
            name=wanted.name,
            role=wanted.role.value,
            secret_hash=hash_api_key(secret),
            expires_at=wanted.expires_at,
            scope=scope,
            created_by=actor.id,
            created_at=now,
        )
        detail = {
            "name": record.name,
            "role": record.role,
            "scope": None if scope is None else scope_values(scope),
            "expires_at": record.expires_at,
        }

        def write(transaction: Transaction) -> None:
            insert_api_key(transaction, record, now)
            transaction.audit(
                AuditEvent(now, actor.id, "api_key.created", "api_key", key_id, detail)
            )

        await self._database.write(write)
        await self._catalog.refresh()
        return KeyState(record, None), secret

    async def list(self, actor: Actor, *, limit: int, before: str | None) -> list[KeyState]:
        """Keys with ids below `before`, newest first, the revoked and the expired ones too."""
        made_by = None if actor.scope is None else actor.id

        def load(connection: Connection) -> list[ApiKeyRecord]:
            return page_of_api_keys(connection, limit=limit, before=before, made_by=made_by)

        return [self._state(record) for record in await self._database.read(load)]

    async def get(self, key_id: str) -> KeyState:
        """One key; NotFound if there is none."""
        record = await self._database.read(lambda connection: get_api_key(connection, key_id))
        if record is None:
            raise key_not_found()
        return self._state(record)

    async def revoke(self, actor: Actor, key_id: str) -> KeyState:
        """Refuse a key from now on; other processes do within a second. Twice is harmless.

        Raises NotFound; Conflict for the last key that can administer this installation.
        """
        now = self._clock.now_ms()

        def write(transaction: Transaction) -> ApiKeyRecord:
            # Every admin key is locked: two that are revoked at the same moment count each other.
            admins = lock_keys_of_role(transaction, Role.ADMIN.value)
            record = get_api_key(transaction.connection, key_id)
            if record is None:
                raise key_not_found()
            rulers = {each.id for each in admins if each.scope is None and each.is_live(now)}
            if rulers == {key_id}:
                raise Conflict(
                    "last-admin-key",
                    "this is the last key that can administer this installation",
                    hint="make another admin key without a scope first",
                )
            if revoke_api_key(transaction, key_id, now):
                detail = {"name": record.name, "role": record.role}
                transaction.audit(
                    AuditEvent(now, actor.id, "api_key.revoked", "api_key", key_id, detail)
                )
            after = get_api_key(transaction.connection, key_id)
            return record if after is None else after

        record = await self._database.write(write)
        await self._catalog.refresh()
        return self._state(record)

    def _state(self, record: ApiKeyRecord) -> KeyState:
        return KeyState(record, self._used.last_used(record))

    async def _check_known(self, scope: ScopeRequest) -> None:
        issuers, profiles = scope.issuers or (), scope.profiles or ()
        try:
            self._check_in_catalog(issuers, profiles)
        except InvalidInput:
            await self._catalog.refresh()  # another process may have made it just now
            self._check_in_catalog(issuers, profiles)

    def _check_in_catalog(self, issuers: Sequence[str], profiles: Sequence[str]) -> None:
        """Raise InvalidInput for a name of nothing: a slip would be a key that reaches nothing."""
        known = {issuer.record.id for issuer in self._catalog.issuers()}
        for index, issuer_id in enumerate(issuers):
            if issuer_id not in known:
                raise issuer_not_found().as_input(f"scope.issuers.{index}")
        known = {record.profile.id for record in self._catalog.profiles()}
        for index, profile_id in enumerate(profiles):
            if profile_id not in known:
                raise profile_not_found().as_input(f"scope.profiles.{index}")


def key_not_found() -> NotFound:
    """There is no API key of that id."""
    return NotFound(
        "key-not-found",
        "there is no API key of that id",
        hint="list the keys: GET /api/v1/keys, or `certctl keys`",
    )
