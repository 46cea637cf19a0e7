"""API keys as rows: an id, and the SHA-256 of a secret that only its owner has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, or_, select, update

from certctl.storage.scopes import decode_scope, encode_scope
from certctl.storage.tables import api_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection
    from sqlalchemy import Row as SqlRow

    from certctl.domain.access import Scope
    from certctl.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """A key that may call the API. Times in milliseconds; no scope is everything.

    `created_by` is the key that made it, None for certctl itself.
    """

    id: str
    name: str
    role: str
    secret_hash: str
    expires_at: int | None = None
    revoked_at: int | None = None
    scope: Scope | None = None
    created_by: str | None = None
    created_at: int = 0
    last_used_at: int | None = None

    def is_live(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now_ms)


_ALL = select(api_keys)


def _load(row: SqlRow[Any]) -> ApiKeyRecord:
    return ApiKeyRecord(
        id=row.id,
        name=row.name,
        role=row.role,
        secret_hash=row.secret_hash,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        scope=decode_scope(row.scope),
        created_by=row.created_by,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
    )


def list_api_keys(connection: Connection) -> list[ApiKeyRecord]:
    """Every key, the revoked ones included."""
    return [_load(row) for row in connection.execute(_ALL)]


def page_of_api_keys(
    connection: Connection, *, limit: int, before: str | None, made_by: str | None
) -> list[ApiKeyRecord]:
    """Keys with ids below `before`, newest first; with `made_by` those that this key has made."""
    statement = _ALL.order_by(api_keys.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(api_keys.c.id < before)
    if made_by is not None:
        statement = statement.where(api_keys.c.created_by == made_by)
    return [_load(row) for row in connection.execute(statement)]


_GET = select(api_keys).where(api_keys.c.id == bindparam("which"))


def get_api_key(connection: Connection, key_id: str) -> ApiKeyRecord | None:
    """One key, or None."""
    row = connection.execute(_GET, {"which": key_id}).first()
    return None if row is None else _load(row)


_LOCK_ROLE = (
    select(api_keys)
    .where(api_keys.c.role == bindparam("which"))
    .order_by(api_keys.c.id)
    .with_for_update()
)


def lock_keys_of_role(transaction: Transaction, role: str) -> list[ApiKeyRecord]:
    """Every key of a role, held until the transaction ends: none is revoked meanwhile."""
    return [_load(row) for row in transaction.execute(_LOCK_ROLE, {"which": role})]


def insert_api_key(transaction: Transaction, record: ApiKeyRecord, now_ms: int) -> None:
    """Store a new key; other processes notice."""
    values: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "role": record.role,
        "scope": encode_scope(record.scope),
        "secret_hash": record.secret_hash,
        "created_by": record.created_by,
        "created_at": now_ms,
        "expires_at": record.expires_at,
    }
    transaction.execute(insert(api_keys), values)
    transaction.changed()


_REVOKE = (
    update(api_keys)
    .where(api_keys.c.id == bindparam("which"), api_keys.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)


def revoke_api_key(transaction: Transaction, key_id: str, now_ms: int) -> bool:
    """Revoke a key; other processes notice. False when it was revoked before."""
    if not transaction.execute(_REVOKE, {"which": key_id, "now": now_ms}).rowcount:
        return False
    transaction.changed()
    return True


_USED = (
    update(api_keys)
    .where(
        api_keys.c.id == bindparam("which"),
        or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= bindparam("long_ago")),
    )
    .values(last_used_at=bindparam("at"))
)


def note_use(transaction: Transaction, used_at: Mapping[str, int], interval_ms: int) -> None:
    """Write when keys were last used, but for those where that was written just now.

    What processes keep in memory of keys does not change by it.
    """
    if used_at:
        # In one order, so that processes that do the same do not wait for each other in a circle.
        transaction.execute(
            _USED,
            [
                {"which": key_id, "at": at, "long_ago": at - interval_ms}
                for key_id, at in sorted(used_at.items())
            ],
        )
