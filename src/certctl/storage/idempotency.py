"""Clients' idempotency keys: each stands for the order that its request led to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from certctl.storage.tables import idempotency_keys

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from certctl.storage.database import Row, Transaction

DUPLICATE_KEY = "pk_idempotency_keys"


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """What a client's key stands for."""

    request_hash: str
    order_id: str
    created_at: int


def idempotency_row(api_key_id: str, key: str, record: IdempotencyRecord) -> tuple[Table, Row]:
    """The row that ties a client's key to its order."""
    return (
        idempotency_keys,
        {
            "api_key_id": api_key_id,
            "key": key,
            "request_hash": record.request_hash,
            "order_id": record.order_id,
            "created_at": record.created_at,
        },
    )


_FIND_KEY = select(
    idempotency_keys.c.request_hash, idempotency_keys.c.order_id, idempotency_keys.c.created_at
).where(
    idempotency_keys.c.api_key_id == bindparam("api_key_id"),
    idempotency_keys.c.key == bindparam("key"),
)


def find_idempotency_key(
    connection: Connection, api_key_id: str, key: str
) -> IdempotencyRecord | None:
    """What that key was used for, or None."""
    row = connection.execute(_FIND_KEY, {"api_key_id": api_key_id, "key": key}).first()
    return None if row is None else IdempotencyRecord(*row)


_FORGET = delete(idempotency_keys).where(idempotency_keys.c.created_at <= bindparam("before"))


def forget_idempotency_keys(transaction: Transaction, before_ms: int) -> int:
    """Drop keys made before that time; the number dropped."""
    return int(transaction.execute(_FORGET, {"before": before_ms}).rowcount)
