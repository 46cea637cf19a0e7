"""What people change about a certificate: its owner, its labels, whether it is archived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, update

from certctl.storage.labels import decode_labels, encode_labels
from certctl.storage.tables import certificates

if TYPE_CHECKING:
    from certctl.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Details:
    """A certificate's row as far as people change it, and what decides whether they may."""

    id: str
    profile_id: str
    status: str
    version_id: str | None
    owner: str | None
    labels: dict[str, str]
    archived_at: int | None
    renew_at: int | None
    updated_at: int


_LOCK = select(certificates).where(certificates.c.id == bindparam("which")).with_for_update()


def lock_details(transaction: Transaction, certificate_id: str) -> Details | None:
    """How a certificate stands, held until the transaction ends; None if there is none."""
    row = transaction.execute(_LOCK, {"which": certificate_id}).first()
    if row is None:
        return None
    return Details(
        id=row.id,
        profile_id=row.profile_id,
        status=row.status,
        version_id=row.version_id,
        owner=row.owner,
        labels=decode_labels(row.labels),
        archived_at=row.archived_at,
        renew_at=row.renew_at,
        updated_at=row.updated_at,
    )


_STORE = (
    update(certificates)
    .where(certificates.c.id == bindparam("which"))
    .values(
        owner=bindparam("new_owner"),
        labels=bindparam("new_labels"),
        archived_at=bindparam("new_archived_at"),
        renew_at=bindparam("new_renew_at"),
        updated_at=bindparam("new_updated_at"),
    )
)


def store_details(transaction: Transaction, details: Details) -> None:
    """Write back what people may change of a row that this transaction holds."""
    transaction.execute(
        _STORE,
        {
            "which": details.id,
            "new_owner": details.owner,
            "new_labels": encode_labels(details.labels),
            "new_archived_at": details.archived_at,
            "new_renew_at": details.renew_at,
            "new_updated_at": details.updated_at,
        },
    )
