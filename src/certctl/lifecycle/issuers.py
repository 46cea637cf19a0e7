"""Issuers over the API: made, changed, tested, put away.

Settings are tried before they are stored: validated by the connector's model, then built. What is
refused leaves everything as it was.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import structlog

from certctl.connectors.registry import all_connector_types
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict, NotFound
from certctl.domain.imports import EXTERNAL_TYPE
from certctl.domain.randomness import random_bytes
from certctl.lifecycle.archiving import archived_name, archived_suffix
from certctl.lifecycle.issuer_check import CHECK_SECONDS, run_check
from certctl.lifecycle.issuer_requests import IssuerChange, IssuerState, NewIssuer
from certctl.lifecycle.issuer_settings import (
    Settings,
    accept_settings,
    changed_settings,
    issuer_changes,
    shown_settings,
)
from certctl.lifecycle.issuer_trial import Trial, try_settings
from certctl.lifecycle.issuer_types import IssuerTypes
from certctl.storage.database import Duplicate
from certctl.storage.issuer_checks import CheckRecord, store_check
from certctl.storage.issuers import (
    IssuerRecord,
    delete_issuer,
    get_issuer,
    insert_issuer,
    lock_issuer,
    update_issuer,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from certctl.connectors.contract import ConnectorType
    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.live_issuers import Issuer
    from certctl.storage.database import Database, Transaction

log = structlog.get_logger(__name__)


class Issuers:
    """What can be done with issuers from outside.

    `environment` is the server's, as it was at the start. `ensure_crls` is called when an issuer
    came into being or changed, `on_healthy` with the id of one whose CA has just answered. `needed`
    names an issuer that this server cannot be without.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        environment: Mapping[str, str],
        *,
        ensure_crls: Callable[[], Awaitable[None]],
        on_healthy: Callable[[str], Awaitable[None]],
        types: Iterable[ConnectorType] | None = None,
        needed: str | None = None,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._ensure_crls = ensure_crls
        self._on_healthy = on_healthy
        self._types = IssuerTypes(
            catalog.live.builder.find_type,
            all_connector_types() if types is None else types,
            environment,
        )
        self._needed = needed
        self._check_seconds = check_seconds

    def types(self) -> tuple[ConnectorType, ...]:
        """Every type of issuer that can be made here."""
        return self._types.types

    async def list(self, actor: Actor, *, archived: bool = False) -> list[IssuerState]:
        """Every issuer within the caller's scope by id, archived ones where they are asked for."""
        await self._catalog.catch_up()
        return [
            self._state(issuer)
            for issuer in self._catalog.issuers()
            if (archived or issuer.record.archived_at is None)
            and (actor.scope is None or actor.scope.admits_issuer(issuer.record.id))
        ]

    async def get(self, issuer_id: str) -> IssuerState:
        """One issuer; NotFound if there is none."""
        await self._catalog.catch_up()
        try:
            return self._state(self._catalog.issuer(issuer_id))
        except NotFound:
            await self._catalog.refresh()  # another process may have made it just now
            return self._state(self._catalog.issuer(issuer_id))

    async def create(self, actor: Actor, wanted: NewIssuer) -> IssuerState:
        """Make an issuer.

        Raises InvalidInput for a type that is not known and for settings that do not work, Conflict
        where the name or the id is taken, Unavailable where the CA has to be asked and does not
        answer. Nothing is stored then.
        """
        kind = self._types.kind_to_make(wanted.type)
        settings = accept_settings(kind, wanted.config, {})
        if wanted.id is not None:
            self._types.check_not_reserved(wanted.id, kind)
        now = self._clock.now_ms()
        record = IssuerRecord(
            id=wanted.id or self._types.id_for(wanted.name, kind),
            name=wanted.name,
            type=kind.name,
            config=settings.config,
            secrets=settings.secrets,
            source="api",
            enabled=wanted.enabled,
            revision=1,
            created_at=now,
            updated_at=now,
            max_concurrency=wanted.limits.max_concurrency,
            max_calls_per_minute=wanted.limits.max_calls_per_minute,
        )
        if await self._stored(record.id) is not None:
            if wanted.id is not None:
                raise _id_taken()
            record = replace(record, id=f"{record.id}-{random_bytes(3).hex()}")
        trial = await try_settings(self._database, self._catalog.live, record)
        event = self._event(
            actor, "issuer.created", record.id, changes=issuer_changes(None, record)
        )

        def write(transaction: Transaction) -> bool:
            insert_issuer(transaction, self._database.keyring, record)
            transaction.audit(event)
            return trial.keep(transaction, record.id)

        if await self._write_named(write):
            trial.use(self._catalog.live, record)
        return await self._after(record.id)

    async def update(self, actor: Actor, issuer_id: str, change: IssuerChange) -> IssuerState:
        """Replace all of an issuer but its type; the old connector finishes what it began.

        Raises NotFound; Conflict for another type, a revision that is not the stored one, or a name
        that is taken; InvalidInput for settings that do not work, Unavailable where the CA has to
        be asked and does not answer. The issuer stays as it was then.
        """
        before = await self._existing(issuer_id)
        if change.revision is not None and change.revision != before.revision:
            raise _changed_meanwhile()
        kind = self._types.kind_of(before, change.type)
        if change.source == "env":
            settings = self._types.settings_of_environment(before, change)
        elif change.config is None:
            settings = Settings(before.config, before.secrets)
        else:
            settings = accept_settings(kind, change.config, before.secrets)
        enabled = change.enabled and before.archived_at is None
        if enabled:
            _check_can_issue(before)
        else:
            self._check_not_needed(issuer_id)
        after = replace(
            before,
            name=change.name,
            config=settings.config,
            secrets=settings.secrets,
            source=change.source,
            enabled=enabled,
            updated_at=self._clock.now_ms(),
            max_concurrency=change.limits.max_concurrency,
            max_calls_per_minute=change.limits.max_calls_per_minute,
        )
        changed = changed_settings(before, after)
        trial: Trial | None = None
        if changed:
            trial = await try_settings(self._database, self._catalog.live, after)
        event = self._changed(actor, "issuer.updated", before, after)

        def write(transaction: Transaction) -> bool:
            if not update_issuer(transaction, self._database.keyring, after):
                raise _changed_meanwhile()
            transaction.audit(event)
            return trial is not None and trial.keep(transaction, issuer_id)

        if await self._write_named(write) and trial is not None:
            trial.use(self._catalog.live, replace(after, revision=after.revision + 1))
        return await self._after(issuer_id)

    async def enable(self, actor: Actor, issuer_id: str) -> IssuerState:
        """Take orders again; Conflict for an archived issuer."""
        return await self._set_enabled(actor, issuer_id, enabled=True)

    async def disable(self, actor: Actor, issuer_id: str) -> IssuerState:
        """Take no more orders. What was ordered goes on, and revoking works."""
        return await self._set_enabled(actor, issuer_id, enabled=False)

    async def archive(self, actor: Actor, issuer_id: str) -> None:
        """Put an issuer away for good: no orders, not in lists, its name is free.

        Its certificates can still be revoked, their status is told, and what its CA works on is
        still asked for.
        """
        self._check_not_needed(issuer_id)
        now = self._clock.now_ms()
        suffix = archived_suffix()

        def write(transaction: Transaction) -> None:
            before = self._locked(transaction, issuer_id)
            if before.archived_at is None:
                after = replace(
                    before,
                    name=archived_name(before.name, suffix),
                    enabled=False,
                    archived_at=now,
                    updated_at=now,
                )
                update_issuer(transaction, self._database.keyring, after)
                transaction.audit(self._changed(actor, "issuer.archived", before, after))

        await self._database.write(write)
        await self._catalog.refresh()

    async def delete(self, actor: Actor, issuer_id: str) -> None:
        """Delete an issuer and all that belongs to it alone.

        Raises Conflict while something depends on it, or the environment would make it again.
        """
        self._check_not_needed(issuer_id)
        before = await self._existing(issuer_id)
        settings = self._types.environment.get(issuer_id)
        if settings is not None and settings.kind.name == before.type:
            raise Conflict(
                "issuer-in-environment",
                "the server's environment has this issuer, and would make it again",
                hint="archive it (?archive=true), or unset its variables and restart the server",
            )
        event = self._event(actor, "issuer.deleted", issuer_id, type=before.type, name=before.name)

        def write(transaction: Transaction) -> None:
            self._locked(transaction, issuer_id)
            delete_issuer(transaction, issuer_id)
            transaction.audit(event)

        try:
            await self._database.write(write)
        except Duplicate:
            raise Conflict(
                "issuer-in-use",
                "certificates or orders depend on this issuer",
                hint="archive it: DELETE with ?archive=true",
            ) from None
        await self._catalog.refresh()

    async def test(self, actor: Actor, issuer_id: str) -> CheckRecord:
        """Call the CA, and keep what came of it; NotFound if there is no such issuer.

        An issuer whose connector could not be built is tried to be built first.
        """
        await self.get(issuer_id)
        await self._catalog.live.mend([issuer_id])
        issuer = self._catalog.issuer(issuer_id)
        check = await run_check(issuer, self._clock, self._check_seconds)
        event = self._event(actor, "issuer.tested", issuer_id, ok=check.ok)

        def write(transaction: Transaction) -> None:
            store_check(transaction, check)
            transaction.audit(event)

        try:
            await self._database.write(write)
        except Duplicate:  # deleted meanwhile
            raise _not_found() from None
        if check.ok:
            await self._on_healthy(issuer_id)
        await self._catalog.refresh()
        return check

    async def _set_enabled(self, actor: Actor, issuer_id: str, *, enabled: bool) -> IssuerState:
        if not enabled:
            self._check_not_needed(issuer_id)
        now = self._clock.now_ms()
        action = "issuer.enabled" if enabled else "issuer.disabled"

        def write(transaction: Transaction) -> None:
            before = self._locked(transaction, issuer_id)
            if before.archived_at is not None and enabled:
                raise Conflict(
                    "issuer-archived",
                    "an archived issuer cannot be enabled",
                    hint="make a new issuer; the name of this one is free",
                )
            if enabled:
                _check_can_issue(before)
            if before.enabled != enabled:
                after = replace(before, enabled=enabled, updated_at=now)
                update_issuer(transaction, self._database.keyring, after)
                transaction.audit(self._changed(actor, action, before, after))

        await self._database.write(write)
        return await self._after(issuer_id)

    async def _write_named(self, write: Callable[[Transaction], bool]) -> bool:
        try:
            return await self._database.write(write)
        except Duplicate as error:
            if error.constraint == "pk_issuers":
                raise _id_taken() from None
            raise Conflict(
                "issuer-name-taken",
                "there is an issuer of that name",
                field="name",
                hint="choose another name; archiving an issuer frees its name",
            ) from None

    async def _after(self, issuer_id: str) -> IssuerState:
        """What this process does before it answers; the others hear of the change by themselves."""
        await self._catalog.refresh()
        try:
            await self._ensure_crls()
        except Duplicate:  # an issuer is gone meanwhile, and with it the need of a CRL
            log.info("no crl asked for: an issuer is gone")
        return self._state(self._catalog.issuer(issuer_id))

    def _state(self, issuer: Issuer) -> IssuerState:
        record = issuer.record
        kind = self._types.find(record.type)
        environment: Literal["applied", "differs"] | None = None
        settings = self._types.environment.get(record.id)
        if settings is not None and settings.is_named and settings.kind is kind:
            environment = "applied" if settings.is_in_effect(record) else "differs"
        return IssuerState(
            issuer=issuer,
            config=shown_settings(kind, record),
            environment=environment,
            condition=self._catalog.condition(record.id),
            check=self._catalog.check(record.id),
        )

    def _check_not_needed(self, issuer_id: str) -> None:
        if issuer_id == self._needed:
            raise Conflict(
                "issuer-needed",
                "this server's own HTTPS certificate comes from this issuer",
                hint="set CERTCTL_SERVER_TLS_CERT_PATH and CERTCTL_SERVER_TLS_KEY_PATH, and "
                "restart the server, before you do without it",
            )

    async def _stored(self, issuer_id: str) -> IssuerRecord | None:
        keyring = self._database.keyring
        return await self._database.read(partial(get_issuer, keyring=keyring, issuer_id=issuer_id))

    async def _existing(self, issuer_id: str) -> IssuerRecord:
        record = await self._stored(issuer_id)
        if record is None:
            raise _not_found()
        return record

    def _locked(self, transaction: Transaction, issuer_id: str) -> IssuerRecord:
        record = lock_issuer(transaction, self._database.keyring, issuer_id)
        if record is None:
            raise _not_found()
        return record

    def _changed(
        self, actor: Actor, action: str, before: IssuerRecord, after: IssuerRecord
    ) -> AuditEvent:
        return self._event(
            actor,
            action,
            after.id,
            revision=before.revision + 1,
            changes=issuer_changes(before, after),
        )

    def _event(self, actor: Actor, action: str, issuer_id: str, **detail: Any) -> AuditEvent:
        now = self._clock.now_ms()
        return AuditEvent(now, actor.id, action, "issuer", issuer_id, detail)


def _not_found() -> NotFound:
    return NotFound(
        "issuer-not-found",
        "there is no issuer of that id",
        hint="list the issuers: GET /api/v1/issuers, or `certctl issuers`",
    )


def _check_can_issue(record: IssuerRecord) -> None:
    if record.type == EXTERNAL_TYPE:
        raise Conflict(
            "issuer-external",
            "this issuer stands for a CA whose certificates were imported: nothing is ordered "
            "from it, so it cannot be enabled",
            field="enabled",
            hint="make an issuer with an account at that CA, where there is a type for it",
        )


def _id_taken() -> Conflict:
    return Conflict(
        "issuer-exists",
        "there is an issuer of that id, archived perhaps",
        field="id",
        hint="choose another id, or leave it out",
    )


def _changed_meanwhile() -> Conflict:
    return Conflict(
        "issuer-changed",
        "the issuer has another revision than the one that was read",
        field="revision",
        hint="read it again, and make your change to what it is now",
    )
