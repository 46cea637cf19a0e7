"""Profiles over the API: made, changed, put away.

A change is for what comes next: requests are held against a profile when they come, and what was
ordered before keeps what it was held against then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from certctl.domain.audit import AuditEvent, changes
from certctl.domain.errors import Conflict, InvalidInput, NotFound
from certctl.domain.ids import id_after_name
from certctl.domain.imports import IMPORTED_PROFILE_ID
from certctl.domain.profile_rules import (
    check_issuer_can_follow,
    check_rules,
    rules_of,
    shortfalls,
)
from certctl.domain.randomness import random_bytes
from certctl.lifecycle.archiving import archived_name, archived_suffix
from certctl.lifecycle.presets import PRESETS
from certctl.storage.database import Duplicate
from certctl.storage.profiles import (
    ProfileRecord,
    delete_profile,
    get_profile,
    insert_profile,
    lock_profile,
    update_profile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from certctl.domain.clock import Clock
    from certctl.domain.profiles import Profile
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.live_issuers import Issuer
    from certctl.lifecycle.own_use import OwnUse
    from certctl.storage.database import Database, Transaction

_BUILT_IN = frozenset(preset.id for preset in PRESETS)


@dataclass(frozen=True, slots=True)
class ProfileWarning:
    """Why an issuer that a profile allows cannot give all that the profile allows."""

    issuer_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class ProfileState:
    """A profile as people see it."""

    record: ProfileRecord
    warnings: tuple[ProfileWarning, ...]


class Profiles:
    """What can be done with profiles. `own_use` is what this server itself orders with one."""

    def __init__(
        self, database: Database, catalog: Catalog, clock: Clock, own_use: OwnUse | None = None
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._own_use = own_use

    async def list(self, *, archived: bool = False) -> list[ProfileState]:
        """Every profile by id, the archived ones only where they are asked for."""
        await self._catalog.catch_up()
        return [
            self._state(record)
            for record in self._catalog.profiles()
            if archived or record.archived_at is None
        ]

    async def get(self, profile_id: str) -> ProfileState:
        """One profile, archived or not; NotFound if there is none."""
        await self._catalog.catch_up()
        try:
            return self._state(self._catalog.profile(profile_id))
        except NotFound:
            await self._catalog.refresh()  # another process may have made it just now
            return self._state(self._catalog.profile(profile_id))

    async def create(self, actor: Actor, wanted: Profile, *, enabled: bool = True) -> ProfileState:
        """Make a profile; where its id is empty it gets one after its name.

        Raises InvalidInput for rules that contradict each other, and for an allowed issuer that
        does not exist or cannot follow them; Conflict where the name or the id is taken.
        """
        profile = wanted
        if not wanted.id:
            profile = replace(wanted, id=id_after_name("prof", wanted.name, "profile"))
            if await self._stored(profile.id) is not None:
                profile = replace(profile, id=f"{profile.id}-{random_bytes(3).hex()}")
        await self._check(profile)
        now = self._clock.now_ms()
        told = changes({}, _told(profile, enabled=enabled))
        event = self._event(actor, "profile.created", profile.id, changes=told)

        def write(transaction: Transaction) -> None:
            insert_profile(transaction, profile, now, enabled=enabled)
            transaction.audit(event)

        await self._write_named(write)
        return await self._after(profile.id)

    async def update(
        self, actor: Actor, wanted: Profile, *, enabled: bool, revision: int | None = None
    ) -> ProfileState:
        """Replace all of the profile that has the id of `wanted`.

        `revision`, where it is given, is what the profile must have. Raises NotFound; Conflict for
        another revision, a name that is taken, an archived profile, and one that this server's own
        certificate could not be ordered with any more; InvalidInput as `create`. The profile stays
        as it was then.
        """
        _check_not_for_imports(wanted.id)
        before = await self._existing(wanted.id)
        if before.archived_at is not None:
            raise _archived()
        if revision is not None and revision != before.revision:
            raise _changed_meanwhile()
        after = replace(before, profile=wanted, enabled=enabled, updated_at=self._clock.now_ms())
        changed = changes(_audited(before), _audited(after))
        if not changed:
            return await self._after(wanted.id)
        await self._check(wanted, before.profile.allowed_issuers or ())
        self._check_own_use(after)
        event = self._event(
            actor, "profile.updated", wanted.id, revision=before.revision + 1, changes=changed
        )

        def write(transaction: Transaction) -> None:
            if not update_profile(transaction, after):
                raise _changed_meanwhile()
            transaction.audit(event)

        await self._write_named(write)
        return await self._after(wanted.id)

    async def enable(self, actor: Actor, profile_id: str) -> ProfileState:
        """Let requests name it again; Conflict for an archived profile."""
        return await self._set_enabled(actor, profile_id, enabled=True)

    async def disable(self, actor: Actor, profile_id: str) -> ProfileState:
        """Take no more requests for it, renewals included. What was ordered goes on."""
        return await self._set_enabled(actor, profile_id, enabled=False)

    async def archive(self, actor: Actor, profile_id: str) -> None:
        """Put a profile away for good: no requests, not in lists, its name is free."""
        _check_not_for_imports(profile_id)
        now = self._clock.now_ms()
        suffix = archived_suffix()

        def write(transaction: Transaction) -> None:
            before = _locked(transaction, profile_id)
            if before.archived_at is not None:
                return
            name = archived_name(before.profile.name, suffix)
            after = replace(
                before,
                profile=replace(before.profile, name=name),
                enabled=False,
                archived_at=now,
                updated_at=now,
            )
            self._check_own_use(after)
            update_profile(transaction, after)
            told = changes(_audited(before), _audited(after))
            transaction.audit(self._event(actor, "profile.archived", profile_id, changes=told))

        await self._database.write(write)
        await self._catalog.refresh()

    async def delete(self, actor: Actor, profile_id: str) -> None:
        """Delete a profile.

        Raises Conflict while certificates or orders use it, and for one that the next start would
        make again.
        """
        _check_not_for_imports(profile_id)
        before = await self._existing(profile_id)
        if profile_id in _BUILT_IN:
            raise Conflict(
                "profile-built-in",
                "certctl brings this profile along, and the next start would make it again",
                hint="archive it: DELETE with ?archive=true; or disable it",
            )
        event = self._event(
            actor,
            "profile.deleted",
            profile_id,
            name=before.profile.name,
            rules=rules_of(before.profile),
        )

        def write(transaction: Transaction) -> None:
            _locked(transaction, profile_id)
            delete_profile(transaction, profile_id)
            transaction.audit(event)

        try:
            await self._database.write(write)
        except Duplicate:
            raise Conflict(
                "profile-in-use",
                "certificates or orders use this profile",
                hint="archive it: DELETE with ?archive=true",
            ) from None
        await self._catalog.refresh()

    async def _set_enabled(self, actor: Actor, profile_id: str, *, enabled: bool) -> ProfileState:
        _check_not_for_imports(profile_id)
        now = self._clock.now_ms()
        action = "profile.enabled" if enabled else "profile.disabled"

        def write(transaction: Transaction) -> None:
            before = _locked(transaction, profile_id)
            if before.archived_at is not None and enabled:
                raise _archived()
            if before.enabled != enabled:
                after = replace(before, enabled=enabled, updated_at=now)
                self._check_own_use(after)
                update_profile(transaction, after)
                told = changes(_audited(before), _audited(after))
                transaction.audit(self._event(actor, action, profile_id, changes=told))

        await self._database.write(write)
        return await self._after(profile_id)

    async def _check(self, profile: Profile, known: Collection[str] = ()) -> None:
        """Hold rules against each other and against the issuers.

        `known` were allowed before: one of them that is gone meanwhile is no reason to refuse.
        """
        check_rules(profile)
        await self._catalog.catch_up()
        for index, issuer_id in enumerate(profile.allowed_issuers or ()):
            field = f"allowed_issuers.{index}"
            issuer = await self._issuer(issuer_id)
            if issuer is None:
                if issuer_id not in known:
                    raise _no_such_issuer(field)
            elif issuer.connector is not None and issuer.record.archived_at is None:
                check_issuer_can_follow(profile, issuer.connector.abilities, field=field)

    async def _issuer(self, issuer_id: str) -> Issuer | None:
        found = self._catalog.live.get(issuer_id)
        if found is None:
            await self._catalog.refresh()  # another process may have made it just now
            found = self._catalog.live.get(issuer_id)
        return found

    def _check_own_use(self, after: ProfileRecord) -> None:
        if self._own_use is not None:
            self._own_use.check(after)

    def _state(self, record: ProfileRecord) -> ProfileState:
        warnings = [
            ProfileWarning(issuer_id, detail)
            for issuer_id in record.profile.allowed_issuers or ()
            for detail in _doubts(record.profile, self._catalog.live.get(issuer_id))
        ]
        return ProfileState(record, tuple(warnings))

    async def _write_named(self, write: Callable[[Transaction], None]) -> None:
        try:
            await self._database.write(write)
        except Duplicate as error:
            if error.constraint == "pk_profiles":
                raise Conflict(
                    "profile-exists",
                    "there is a profile of that id, archived perhaps",
                    field="id",
                    hint="choose another id, or leave it out",
                ) from None
            raise Conflict(
                "profile-name-taken",
                "there is a profile of that name",
                field="name",
                hint="choose another name; archiving a profile frees its name",
            ) from None

    async def _after(self, profile_id: str) -> ProfileState:
        """What this process does before it answers; the others hear of the change by themselves."""
        await self._catalog.refresh()
        return self._state(self._catalog.profile(profile_id))

    async def _stored(self, profile_id: str) -> ProfileRecord | None:
        return await self._database.read(partial(get_profile, profile_id=profile_id))

    async def _existing(self, profile_id: str) -> ProfileRecord:
        record = await self._stored(profile_id)
        if record is None:
            raise _not_found()
        return record

    def _event(self, actor: Actor, action: str, profile_id: str, **detail: Any) -> AuditEvent:
        now = self._clock.now_ms()
        return AuditEvent(now, actor.id, action, "profile", profile_id, detail)


def _audited(record: ProfileRecord) -> dict[str, Any]:
    """All of a profile that a PUT can change."""
    return _told(record.profile, enabled=record.enabled)


def _told(profile: Profile, *, enabled: bool) -> dict[str, Any]:
    return {"name": profile.name, "enabled": enabled, **rules_of(profile)}


def _doubts(profile: Profile, issuer: Issuer | None) -> list[str]:
    """Why an issuer that the profile allows is not, or not wholly, of use to it."""
    if issuer is None:
        return ["there is no issuer of that id any more"]
    if issuer.record.archived_at is not None:
        return ["it is archived"]
    found = [] if issuer.record.enabled else ["it is disabled"]
    if issuer.connector is None:
        return [*found, f"it is not ready, and what it can do is not known: {issuer.problem}"]
    return found + shortfalls(profile, issuer.connector.abilities)


def _locked(transaction: Transaction, profile_id: str) -> ProfileRecord:
    record = lock_profile(transaction, profile_id)
    if record is None:
        raise _not_found()
    return record


def _check_not_for_imports(profile_id: str) -> None:
    if profile_id == IMPORTED_PROFILE_ID:
        raise Conflict(
            "profile-for-imports",
            "this profile is for imported certificates, and stays as it is",
            hint="make a profile of your own for what you order",
        )


def _not_found() -> NotFound:
    return NotFound(
        "profile-not-found",
        "there is no profile of that id",
        hint="list the profiles: GET /api/v1/profiles, or `certctl profiles`",
    )


def _no_such_issuer(field: str) -> InvalidInput:
    return InvalidInput(
        "issuer-not-found",
        "there is no issuer of that id",
        field=field,
        hint="list the issuers: GET /api/v1/issuers, or `certctl issuers`",
    )


def _archived() -> Conflict:
    return Conflict(
        "profile-archived",
        "an archived profile cannot be changed or enabled",
        hint="make a new profile; the name of this one is free",
    )


def _changed_meanwhile() -> Conflict:
    return Conflict(
        "profile-changed",
        "the profile has another revision than the one that was read",
        field="revision",
        hint="read it again, and make your change to what it is now",
    )
