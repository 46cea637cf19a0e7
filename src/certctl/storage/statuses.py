"""What is recorded about the status of an issuer's certificates, for those who rely on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, or_, select

from certctl.domain.revocations import RevocationAction, RevocationReason, RevocationState
from certctl.storage.tables import revocations, versions

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: A version with such a row is revoked, whether or not its CA has been told: what is recorded
#: counts. A hold lasts until the CA has confirmed its end.
IS_REVOKED = or_(
    revocations.c.action == RevocationAction.REVOKE.value,
    revocations.c.state != RevocationState.CONFIRMED.value,
)


@dataclass(frozen=True, slots=True)
class StatusRecord:
    """An issued certificate; `revoked_at` (milliseconds) and `reason` are None unless revoked."""

    revoked_at: int | None
    reason: RevocationReason | None


_FIND = (
    select(revocations.c.revoked_at, revocations.c.reason)
    .select_from(versions)
    .outerjoin(revocations, (revocations.c.version_id == versions.c.id) & IS_REVOKED)
    .where(versions.c.issuer_id == bindparam("issuer_id"), versions.c.serial == bindparam("serial"))
)


def find_status(connection: Connection, issuer_id: str, serial: str) -> StatusRecord | None:
    """The status of an issuer's serial (lower-case hex), None for one that it did not issue."""
    row = connection.execute(_FIND, {"issuer_id": issuer_id, "serial": serial}).first()
    if row is None:
        return None
    reason = None if row.reason is None else RevocationReason(row.reason)
    return StatusRecord(row.revoked_at, reason)
