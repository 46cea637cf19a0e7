"""The last time that a person had an issuer's CA called, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, text

from certctl.storage.tables import issuer_checks

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from certctl.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """One issuer's check. Times in milliseconds; `code` and `detail` are the CA's own words."""

    issuer_id: str
    ok: bool
    detail: str
    code: str | None
    host: str | None
    checked_at: int
    duration_ms: int


_ALL = select(issuer_checks)


def list_checks(connection: Connection) -> dict[str, CheckRecord]:
    """The check of every issuer that had one, by the issuer's id."""
    return {
        row.issuer_id: CheckRecord(
            issuer_id=row.issuer_id,
            ok=row.status == "ok",
            detail=row.detail,
            code=row.code,
            host=row.host,
            checked_at=row.checked_at,
            duration_ms=row.duration_ms,
        )
        for row in connection.execute(_ALL)
    }


# Both databases spell it so.
_STORE = text(
    "INSERT INTO issuer_checks"
    " (issuer_id, status, detail, code, host, checked_at, duration_ms)"
    " VALUES (:issuer_id, :status, :detail, :code, :host, :checked_at, :duration_ms)"
    " ON CONFLICT (issuer_id) DO UPDATE SET status = excluded.status, detail = excluded.detail,"
    " code = excluded.code, host = excluded.host, checked_at = excluded.checked_at,"
    " duration_ms = excluded.duration_ms"
)


def store_check(transaction: Transaction, check: CheckRecord) -> None:
    """Keep a check in place of the one before; other processes notice.

    It is a Duplicate where there is no such issuer.
    """
    transaction.execute(
        _STORE,
        {
            "issuer_id": check.issuer_id,
            "status": "ok" if check.ok else "failed",
            "detail": check.detail,
            "code": check.code,
            "host": check.host,
            "checked_at": check.checked_at,
            "duration_ms": check.duration_ms,
        },
    )
    transaction.changed()
