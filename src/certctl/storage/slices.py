"""Each process's part of an issuer's limits, where several processes share a database.

A part holds until its `until`, and no longer: a process that died or stands still has none then.
Parts that ended stay in sight for a minute, so that a rate is not begun anew by who comes next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, update

from certctl.storage.tables import issuer_slices, issuers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class IssuerLimits:
    """An issuer's limits for all processes together; None: no limit."""

    max_concurrency: int | None
    max_calls_per_minute: int | None


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """One process's part; `until` in milliseconds. 0 where the issuer has no such limit."""

    issuer_id: str
    owner: str
    concurrency: int
    calls_per_minute: int
    until: int


# Whoever is at it already is not waited for: it takes a few milliseconds, and nobody then holds one
# lock while it waits for the next. New orders, which refer to the row, are not held up.
_LOCK = (
    select(issuers.c.id, issuers.c.max_concurrency, issuers.c.max_calls_per_minute)
    .where(issuers.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(issuers.c.id)
    .with_for_update(key_share=True, skip_locked=True)
)
_OF = select(issuer_slices).where(issuer_slices.c.issuer_id.in_(bindparam("ids", expanding=True)))
_DELETE = delete(issuer_slices).where(
    issuer_slices.c.issuer_id == bindparam("which"), issuer_slices.c.owner == bindparam("whose")
)


def lock_limits(transaction: Transaction, issuer_ids: Sequence[str]) -> dict[str, IssuerLimits]:
    """The limits of these issuers as stored; nobody else divides them until the transaction ends.

    An issuer that another process is dividing just now is left out.
    """
    rows = transaction.execute(_LOCK, {"ids": list(issuer_ids)})
    return {row.id: IssuerLimits(row.max_concurrency, row.max_calls_per_minute) for row in rows}


def list_slices(transaction: Transaction, issuer_ids: Sequence[str]) -> list[SliceRecord]:
    """All parts of these issuers' limits, those that have ended too."""
    return [
        SliceRecord(
            issuer_id=row.issuer_id,
            owner=row.owner,
            concurrency=row.concurrency,
            calls_per_minute=row.calls_per_minute,
            until=row.until,
        )
        for row in transaction.execute(_OF, {"ids": list(issuer_ids)})
    ]


def store_slices(
    transaction: Transaction, stored: Sequence[SliceRecord], forgotten: Sequence[SliceRecord]
) -> None:
    """Write parts, new ones or over what they were, and delete others. The limits are locked."""
    replaced = [{"which": one.issuer_id, "whose": one.owner} for one in (*stored, *forgotten)]
    if replaced:
        transaction.execute(_DELETE, replaced)
    if stored:
        transaction.execute(
            insert(issuer_slices),
            [
                {
                    "issuer_id": one.issuer_id,
                    "owner": one.owner,
                    "concurrency": one.concurrency,
                    "calls_per_minute": one.calls_per_minute,
                    "until": one.until,
                }
                for one in stored
            ],
        )


_END = (
    update(issuer_slices)
    .where(issuer_slices.c.owner == bindparam("whose"), issuer_slices.c.until > bindparam("now"))
    .values(until=bindparam("now"))
)


def end_slices(transaction: Transaction, owner: str, now_ms: int) -> None:
    """End all parts of a process. It needs no lock: nothing grows."""
    transaction.execute(_END, {"whose": owner, "now": now_ms})
