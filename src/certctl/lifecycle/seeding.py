"""What the first start makes: issuers from the environment, profiles, the admin key."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import SecretStr, ValidationError

from certctl.connectors.registry import config_from_environment, connector_type
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Misconfigured
from certctl.lifecycle.access import ADMIN_KEY_ID, SYSTEM, hash_api_key, new_api_key
from certctl.lifecycle.catalog import describe_validation
from certctl.lifecycle.presets import PRESETS
from certctl.storage.api_keys import ApiKeyRecord, insert_api_key, list_api_keys
from certctl.storage.database import Duplicate
from certctl.storage.files import write_once
from certctl.storage.issuers import IssuerRecord, insert_issuer, list_issuers, update_issuer
from certctl.storage.profiles import insert_profile, list_profiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from certctl.domain.profiles import Profile
    from certctl.storage.database import Database, Transaction

log = structlog.get_logger(__name__)

LOCAL_ISSUER_ID = "iss-local"


async def seed(database: Database, environment: Mapping[str, str]) -> None:
    """Make what is missing and follow the environment where it is in charge; safe to repeat.

    Raises Misconfigured where the environment's settings of an issuer do not make sense.
    """
    config, secrets = _from_environment("GenericCA", environment)
    existing = await database.read(lambda c: list_issuers(c, database.keyring))
    found = next((record for record in existing if record.id == LOCAL_ISSUER_ID), None)
    if found is None:
        await _insert(database, _local_issuer(database, config, secrets))
    elif (found.config, found.secrets) != (config, secrets):
        if found.source == "env":
            await _update(database, replace(found, config=config, secrets=secrets))
        else:
            log.warning("environment not applied: changed over the API", issuer=found.id)
    known = {record.profile.id for record in await database.read(list_profiles)}
    for profile in PRESETS:
        if profile.id not in known:
            with suppress(Duplicate):  # another process was first
                await database.write(partial(_insert_profile, database.clock.now_ms(), profile))


def _from_environment(
    type_name: str, environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A connector's settings from the environment: those that may be shown, and the secrets."""
    model = connector_type(type_name).config
    prefix: str = model.env_prefix
    try:
        config = model(**config_from_environment(model, environment))
    except ValidationError as error:
        raise Misconfigured(
            "issuer-environment-invalid",
            f"settings of the {type_name} issuer: {describe_validation(error, prefix)}",
            hint="mend the environment variables of that issuer, then start again",
        ) from None
    shown: dict[str, Any] = {}
    secrets: dict[str, Any] = {}
    for name in config.model_fields_set:
        value = getattr(config, name)
        if isinstance(value, SecretStr):
            secrets[name] = value.get_secret_value()
        else:
            shown[name] = config.model_dump(mode="json", include={name})[name]
    return shown, secrets


def _local_issuer(
    database: Database, config: dict[str, Any], secrets: dict[str, Any]
) -> IssuerRecord:
    now = database.clock.now_ms()
    return IssuerRecord(
        id=LOCAL_ISSUER_ID,
        name="Local CA",
        type="GenericCA",
        config=config,
        secrets=secrets,
        source="env",
        enabled=True,
        revision=1,
        created_at=now,
        updated_at=now,
    )


async def _insert(database: Database, record: IssuerRecord) -> None:
    def write(transaction: Transaction) -> None:
        insert_issuer(transaction, database.keyring, record)
        transaction.audit(_event(database, "issuer.created", record))

    with suppress(Duplicate):  # another process was first
        await database.write(write)


def _insert_profile(now_ms: int, profile: Profile, transaction: Transaction) -> None:
    insert_profile(transaction, profile, now_ms)
    transaction.audit(
        AuditEvent(now_ms, SYSTEM.id, "profile.created", "profile", profile.id, {"preset": True})
    )


async def _update(database: Database, record: IssuerRecord) -> None:
    def write(transaction: Transaction) -> None:
        update_issuer(
            transaction, database.keyring, replace(record, updated_at=database.clock.now_ms())
        )
        transaction.audit(_event(database, "issuer.updated", record))

    await database.write(write)


def _event(database: Database, action: str, record: IssuerRecord) -> AuditEvent:
    return AuditEvent(
        at_ms=database.clock.now_ms(),
        actor=SYSTEM.id,
        action=action,
        object_type="issuer",
        object_id=record.id,
        detail={"source": "env", "settings": sorted([*record.config, *record.secrets])},
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
