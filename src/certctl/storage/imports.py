"""What an import changes about an imported certificate that is there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, update

from certctl.storage.tables import certificates

if TYPE_CHECKING:
    from certctl.storage.database import Transaction

_FOLLOW = (
    update(certificates)
    .where(certificates.c.id == bindparam("which"))
    .values(issuer_id=bindparam("new_issuer"), common_name=bindparam("new_common_name"))
)


def follow_version(
    transaction: Transaction, certificate_id: str, issuer_id: str, common_name: str | None
) -> None:
    """Say of a certificate what its newest version says: another CA may have issued that."""
    values = {"which": certificate_id, "new_issuer": issuer_id, "new_common_name": common_name}
    transaction.execute(_FOLLOW, values)
