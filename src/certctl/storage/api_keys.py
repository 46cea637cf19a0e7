"""API keys as rows: an id, and the SHA-256 of a secret that only its owner has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from certctl.storage.tables import api_keys

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from certctl.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """A key that may call the API. Times in milliseconds."""

    id: str
    name: str
    role: str
    secret_hash: str
    expires_at: int | None = None
    revoked_at: int | None = None


_ALL = select(
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.role,
    api_keys.c.secret_hash,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
)


def list_api_keys(connection: Connection) -> list[ApiKeyRecord]:
    """Every key, the revoked ones included."""
    return [ApiKeyRecord(*row) for row in connection.execute(_ALL)]


def insert_api_key(transaction: Transaction, record: ApiKeyRecord, now_ms: int) -> None:
    """Store a new key; other processes notice."""
    values: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "role": record.role,
        "secret_hash": record.secret_hash,
        "created_at": now_ms,
        "expires_at": record.expires_at,
    }
    transaction.execute(insert(api_keys), values)
    transaction.changed()
