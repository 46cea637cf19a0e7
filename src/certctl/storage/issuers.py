"""Issuers as rows. Secrets of a config are sealed and only leave through `config`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from certctl.storage.tables import issuers

if TYPE_CHECKING:
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
    )


_ALL = select(issuers).order_by(issuers.c.id)


def list_issuers(connection: Connection, keyring: Keyring) -> list[IssuerRecord]:
    """Every issuer, by id."""
    return [_record(row, keyring) for row in connection.execute(_ALL)]


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
        },
    )
    transaction.changed()


_UPDATE = (
    update(issuers)
    .where(issuers.c.id == bindparam("which"))
    .values(
        name=bindparam("name"),
        config=bindparam("config"),
        sealed_config=bindparam("sealed_config"),
        source=bindparam("source"),
        enabled=bindparam("enabled"),
        revision=issuers.c.revision + 1,
        updated_at=bindparam("updated_at"),
    )
)


def update_issuer(transaction: Transaction, keyring: Keyring, record: IssuerRecord) -> None:
    """Store changed settings under a new revision; other processes notice."""
    transaction.execute(
        _UPDATE,
        {
            "which": record.id,
            "name": record.name,
            "config": json.dumps(record.config, sort_keys=True),
            "sealed_config": _sealed(record, keyring),
            "source": record.source,
            "enabled": record.enabled,
            "updated_at": record.updated_at,
        },
    )
    transaction.changed()
