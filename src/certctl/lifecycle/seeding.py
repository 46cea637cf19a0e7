"""What the first start makes: issuers from the environment, profiles, the admin key."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from certctl.connectors.registry import all_connector_types
from certctl.domain.audit import AuditEvent
from certctl.domain.imports import IMPORTED_PROFILE_ID
from certctl.lifecycle.access import ADMIN_KEY_ID, SYSTEM, hash_api_key, new_api_key
from certctl.lifecycle.environment import LOCAL_ISSUER_ID, issuers_in_environment
from certctl.lifecycle.issuer_settings import changed_settings, issuer_changes
from certctl.lifecycle.presets import PRESETS
from certctl.storage.api_keys import ApiKeyRecord, insert_api_key, list_api_keys
from certctl.storage.database import Duplicate
from certctl.storage.files import write_once
from certctl.storage.issuers import IssuerRecord, insert_issuer, list_issuers, update_issuer
from certctl.storage.profiles import insert_profile, list_profiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from certctl.connectors.contract import ConnectorType
    from certctl.domain.profiles import Profile
    from certctl.lifecycle.environment import EnvironmentIssuer
    from certctl.storage.database import Database, Transaction

__all__ = ["LOCAL_ISSUER_ID", "seed", "seed_admin_key"]

log = structlog.get_logger(__name__)


async def seed(
    database: Database,
    environment: Mapping[str, str],
    types: Iterable[ConnectorType] | None = None,
) -> None:
    """Make what is missing and follow the environment where it is in charge; safe to repeat.

    `types` are those of the registry. Raises Misconfigured where the environment's settings of an
    issuer do not make sense.
    """
    named = issuers_in_environment(environment, all_connector_types() if types is None else types)
    existing = {
        record.id: record
        for record in await database.read(lambda c: list_issuers(c, database.keyring))
    }
    names = {record.name for record in existing.values()}
    for issuer_id, settings in named.items():
        found = existing.get(issuer_id)
        if found is None:
            await _insert(database, _record(database, settings, names))
        elif reason := _why_not(found, settings):
            if settings.is_named:
                log.warning("environment not applied", issuer=issuer_id, reason=reason)
        elif found.source == "env":
            after = replace(found, config=settings.config, secrets=settings.secrets)
            if changed_settings(found, after):
                await _update(database, found, after)
    stored = [record.profile for record in await database.read(list_profiles)]
    known, taken = {profile.id for profile in stored}, {profile.name for profile in stored}
    for profile in PRESETS:
        if profile.id not in known:
            name = profile.name if profile.name not in taken else f"{profile.name} ({profile.id})"
            with suppress(Duplicate):  # another process was first
                await database.write(
                    partial(_insert_profile, database.clock.now_ms(), replace(profile, name=name))
                )


def _why_not(found: IssuerRecord, settings: EnvironmentIssuer) -> str | None:
    """Why the environment is not applied to an issuer, or None when it is in charge."""
    if found.type != settings.kind.name:
        return f"the issuer of that id is of another type, {found.type}"
    if found.archived_at is not None:
        return "the issuer is archived"
    if found.source != "env" and not settings.is_in_effect(found):
        return "it differs, and the issuer was changed over the API: PUT it with source env"
    return None


def _record(database: Database, settings: EnvironmentIssuer, names: set[str]) -> IssuerRecord:
    now = database.clock.now_ms()
    kind = settings.kind
    return IssuerRecord(
        id=kind.issuer_id,
        name=kind.title if kind.title not in names else f"{kind.title} ({kind.issuer_id})"[:120],
        type=kind.name,
        config=settings.config,
        secrets=settings.secrets,
        source="env",
        enabled=True,
        revision=1,
        created_at=now,
        updated_at=now,
    )


async def _insert(database: Database, record: IssuerRecord) -> None:
    def write(transaction: Transaction) -> None:
        insert_issuer(transaction, database.keyring, record)
        detail = {"changes": issuer_changes(None, record)}
        transaction.audit(_event(database, "issuer.created", record.id, detail))

    with suppress(Duplicate):  # another process was first
        await database.write(write)


def _insert_profile(now_ms: int, profile: Profile, transaction: Transaction) -> None:
    is_for_orders = profile.id != IMPORTED_PROFILE_ID
    insert_profile(transaction, profile, now_ms, enabled=is_for_orders)
    transaction.audit(
        AuditEvent(now_ms, SYSTEM.id, "profile.created", "profile", profile.id, {"preset": True})
    )


async def _update(database: Database, before: IssuerRecord, after: IssuerRecord) -> None:
    detail = {"revision": before.revision + 1, "changes": issuer_changes(before, after)}

    def write(transaction: Transaction) -> None:
        record = replace(after, updated_at=database.clock.now_ms())
        if update_issuer(transaction, database.keyring, record):  # else another process was first
            transaction.audit(_event(database, "issuer.updated", record.id, detail))

    await database.write(write)


def _event(database: Database, action: str, issuer_id: str, detail: dict[str, Any]) -> AuditEvent:
    return AuditEvent(
        at_ms=database.clock.now_ms(),
        actor=SYSTEM.id,
        action=action,
        object_type="issuer",
        object_id=issuer_id,
        detail=detail,
    )


async def seed_admin_key(database: Database, data_dir: Path) -> str | None:
    """Create the first admin key and return it, or None if there are keys already.

    The file comes first and is what the row is made of: a start that dies in between is carried on
    by the next one, and no key is ever stored whose secret nobody has.
    """
    if await database.read(list_api_keys):
        return None
    path = data_dir / "admin.key"
    key = write_once(path, f"{new_api_key(ADMIN_KEY_ID)}\n".encode(), 0o600).decode().strip()
    now = database.clock.now_ms()
    record = ApiKeyRecord(ADMIN_KEY_ID, "first admin key", "admin", hash_api_key(key))

    def write(transaction: Transaction) -> None:
        insert_api_key(transaction, record, now)
        transaction.audit(
            AuditEvent(now, SYSTEM.id, "api_key.created", "api_key", record.id, {"role": "admin"})
        )

    try:
        await database.write(write)
    except Duplicate:  # a process on another machine was first, and has the file
        path.unlink()
        return None
    return key
