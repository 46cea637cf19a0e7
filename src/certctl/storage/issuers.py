"""Issuers as rows. Secrets of a config are sealed, and opened here only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from certctl.storage.sealed_values import insert_sealed
from certctl.storage.tables import (
    crls,
    issuer_checks,
    issuer_conditions,
    issuer_slices,
    issuers,
    sealed_values,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row

    from certctl.storage.database import Transaction
    from certctl.storage.sealing import Keyring


@dataclass(frozen=True, slots=True)
class IssuerRecord:
    """A configured account at a CA. `config` holds no secrets, `secrets` nothing else."""

    id: str
    name: str
    type: str
    config: dict[str, Any]
    secrets: dict[str, Any]
    source: str
    enabled: bool
    revision: int
    created_at: int
    updated_at: int
    #: Limits on calls to the CA, for all processes together.
    max_concurrency: int | None = None
    max_calls_per_minute: int | None = None
    archived_at: int | None = None


def _record(row: Row[Any], keyring: Keyring) -> IssuerRecord:
    secrets: dict[str, Any] = {}
    if row.sealed_config is not None:
        secrets = json.loads(keyring.open(row.id, "config", row.sealed_config))
    return IssuerRecord(
        id=row.id,
        name=row.name,
        type=row.type,
        config=json.loads(row.config),
        secrets=secrets,
        source=row.source,
        enabled=row.enabled,
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
        max_concurrency=row.max_concurrency,
        max_calls_per_minute=row.max_calls_per_minute,
        archived_at=row.archived_at,
    )


_ALL = select(issuers).order_by(issuers.c.id)


def list_issuers(connection: Connection, keyring: Keyring) -> list[IssuerRecord]:
    """Every issuer, by id."""
    return [_record(row, keyring) for row in connection.execute(_ALL)]


_ONE = select(issuers).where(issuers.c.id == bindparam("which"))
_LOCK_ONE = _ONE.with_for_update()


def get_issuer(connection: Connection, keyring: Keyring, issuer_id: str) -> IssuerRecord | None:
    """The issuer of that id, or None."""
    row = connection.execute(_ONE, {"which": issuer_id}).first()
    return None if row is None else _record(row, keyring)


def lock_issuer(transaction: Transaction, keyring: Keyring, issuer_id: str) -> IssuerRecord | None:
    """The same, held until the transaction ends."""
    row = transaction.execute(_LOCK_ONE, {"which": issuer_id}).first()
    return None if row is None else _record(row, keyring)


def _sealed(record: IssuerRecord, keyring: Keyring) -> bytes | None:
    if not record.secrets:
        return None
    return keyring.seal(record.id, "config", json.dumps(record.secrets).encode())


def insert_issuer(transaction: Transaction, keyring: Keyring, record: IssuerRecord) -> None:
    """Store a new issuer; other processes notice."""
    transaction.execute(
        insert(issuers),
        {
            "id": record.id,
            "name": record.name,
            "type": record.type,
            "config": json.dumps(record.config, sort_keys=True),
            "sealed_config": _sealed(record, keyring),
            "source": record.source,
            "enabled": record.enabled,
            "revision": record.revision,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
            "max_concurrency": record.max_concurrency,
            "max_calls_per_minute": record.max_calls_per_minute,
            "archived_at": record.archived_at,
        },
    )
    transaction.changed()


_UPDATE = (
    update(issuers)
    .where(issuers.c.id == bindparam("which"), issuers.c.revision == bindparam("seen"))
    .values(
        name=bindparam("name"),
        config=bindparam("config"),
        sealed_config=bindparam("sealed_config"),
        source=bindparam("source"),
        enabled=bindparam("enabled"),
        revision=issuers.c.revision + 1,
        updated_at=bindparam("updated_at"),
        max_concurrency=bindparam("max_concurrency"),
        max_calls_per_minute=bindparam("max_calls_per_minute"),
        archived_at=bindparam("archived_at"),
    )
)


def update_issuer(transaction: Transaction, keyring: Keyring, record: IssuerRecord) -> bool:
    """Store changed settings under the revision after `record.revision`; other processes notice.

    False, and nothing is stored, when the stored issuer has another revision, or is gone.
    """
    values = {
        "which": record.id,
        "seen": record.revision,
        "name": record.name,
        "config": json.dumps(record.config, sort_keys=True),
        "sealed_config": _sealed(record, keyring),
        "source": record.source,
        "enabled": record.enabled,
        "updated_at": record.updated_at,
        "max_concurrency": record.max_concurrency,
        "max_calls_per_minute": record.max_calls_per_minute,
        "archived_at": record.archived_at,
    }
    if not transaction.execute(_UPDATE, values).rowcount:
        return False
    transaction.changed()
    return True


def insert_state(
    transaction: Transaction,
    keyring: Keyring,
    issuer_id: str,
    values: Mapping[str, bytes],
    now_ms: int,
) -> bool:
    """Store what a connector put into its state, where there is nothing of that name yet.

    Whether all of it was stored.
    """
    stored = True
    for name, value in values.items():
        sealed = keyring.seal(issuer_id, name, value)
        new = insert_sealed(transaction.connection, issuer_id, name, sealed, now_ms)
        stored = stored and new
    return stored


_DELETE = (
    delete(sealed_values).where(sealed_values.c.scope == bindparam("which")),
    *[
        delete(table).where(table.c.issuer_id == bindparam("which"))
        for table in (issuer_checks, issuer_conditions, issuer_slices, crls)
    ],
    delete(issuers).where(issuers.c.id == bindparam("which")),
)


def delete_issuer(transaction: Transaction, issuer_id: str) -> None:
    """Delete an issuer with all that belongs to it alone; other processes notice.

    It is a Duplicate where there is a certificate, an order or a revocation of it.
    """
    for statement in _DELETE:
        transaction.execute(statement, {"which": issuer_id})
    transaction.changed()
