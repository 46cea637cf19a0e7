"""The newest CRL of each issuer, in rows that are their own queue.

`updated_at` grows with every change of a row but a claim's. So a builder that finds it as it was
claimed knows that no revocation came in meanwhile; else its CRL is stored, and another one is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, select, text, update

from certctl.ca.crl import CrlEntry
from certctl.domain.revocations import RevocationReason
from certctl.storage.leases import RELEASED, Leases, TakenOver
from certctl.storage.statuses import IS_REVOKED
from certctl.storage.tables import crls, revocations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy import Row as SqlRow

    from certctl.storage.database import Transaction

LEASES = Leases(crls)
#: Rows that are fetched at a time.
_SOME = 1000


@dataclass(frozen=True, slots=True)
class CrlRecord:
    """An issuer's newest CRL; `number` is 0, and `der` and its times None, until there is one.

    Times in milliseconds. `problem` says why the last try made none.
    """

    issuer_id: str
    number: int
    this_update: int | None
    next_update: int | None
    der: bytes | None
    problem: str | None
    due_at: int | None
    epoch: int
    updated_at: int


def load_crl(row: SqlRow[Any]) -> CrlRecord:
    """A CRL from its row."""
    return CrlRecord(
        issuer_id=row.issuer_id,
        number=row.number,
        this_update=row.this_update,
        next_update=row.next_update,
        der=row.der,
        problem=row.problem,
        due_at=row.due_at,
        epoch=row.epoch,
        updated_at=row.updated_at,
    )


_GET = select(crls).where(crls.c.issuer_id == bindparam("issuer_id"))


def get_crl(connection: Connection, issuer_id: str) -> CrlRecord | None:
    """The newest CRL of an issuer, None when none was ever due."""
    row = connection.execute(_GET, {"issuer_id": issuer_id}).first()
    return None if row is None else load_crl(row)


# Both databases spell it so. A null is not earlier than anything.
_MARK = text(
    "INSERT INTO crls (issuer_id, number, due_at, epoch, created_at, updated_at)"
    " VALUES (:issuer_id, 0, :at, 0, :at, :at)"
    " ON CONFLICT (issuer_id) DO UPDATE SET"
    " due_at = CASE WHEN crls.due_at < :at THEN crls.due_at ELSE :at END,"
    " updated_at = CASE WHEN crls.updated_at < :at THEN :at ELSE crls.updated_at + 1 END"
)


def mark_crl_due(transaction: Transaction, issuer_id: str, at_ms: int) -> None:
    """Have a CRL made at that time, or earlier when one is due earlier.

    A CRL that is being made now does not count: it may have been read before the revocation.
    """
    transaction.execute(_MARK, {"issuer_id": issuer_id, "at": at_ms})


_SERIALS = (
    select(revocations.c.serial, revocations.c.revoked_at, revocations.c.reason)
    .where(
        revocations.c.issuer_id == bindparam("issuer_id"),
        revocations.c.not_after >= bindparam("ends_from"),
        IS_REVOKED,
    )
    .execution_options(yield_per=_SOME)
)


def crl_entries(
    connection: Connection, issuer_id: str, previous_this_update: int | None
) -> Iterator[CrlEntry]:
    """What an issuer's next CRL lists, some rows at a time.

    One that expired is on one more CRL (RFC 5280 §3.3): `ca.crl.keeps_entry` as a condition, in
    whole seconds too.
    """
    ends_from = 0 if previous_this_update is None else previous_this_update // 1000 * 1000
    rows = connection.execute(_SERIALS, {"issuer_id": issuer_id, "ends_from": ends_from})
    for serial, revoked_at, reason in rows:
        yield CrlEntry(int(serial, 16), revoked_at, RevocationReason(reason))


_AFTER = (
    update(crls)
    .where(crls.c.issuer_id == bindparam("which"), crls.c.epoch == bindparam("fence"))
    .values(
        problem=bindparam("new_problem"),
        due_at=case(
            (crls.c.updated_at == bindparam("seen"), bindparam("new_due_at")),
            else_=bindparam("again_at"),
        ),
        updated_at=case(
            (crls.c.updated_at < bindparam("now"), bindparam("now")),
            else_=crls.c.updated_at + 1,
        ),
        **RELEASED,
    )
)
_STORE = _AFTER.values(
    number=bindparam("new_number"),
    this_update=bindparam("new_this_update"),
    next_update=bindparam("new_next_update"),
    der=bindparam("new_der"),
)


def store_crl(
    transaction: Transaction, claimed: CrlRecord, made: CrlRecord, *, again_at: int
) -> None:
    """Store the CRL that came of a claimed row, and release the row.

    It is due as `made` says, or at `again_at` when it was marked due since it was claimed. Raises
    TakenOver, and stores nothing, when somebody else has claimed it.
    """
    values = {
        **_outcome(claimed, made, again_at),
        "new_number": made.number,
        "new_this_update": made.this_update,
        "new_next_update": made.next_update,
        "new_der": made.der,
    }
    if not transaction.execute(_STORE, values).rowcount:
        raise TakenOver


def store_crl_problem(
    transaction: Transaction, claimed: CrlRecord, after: CrlRecord, *, again_at: int
) -> None:
    """Store that no CRL came of a claimed row, and why; the last one stays. Else as `store_crl`."""
    if not transaction.execute(_AFTER, _outcome(claimed, after, again_at)).rowcount:
        raise TakenOver


def _outcome(claimed: CrlRecord, after: CrlRecord, again_at: int) -> dict[str, Any]:
    return {
        "which": claimed.issuer_id,
        "fence": claimed.epoch,
        "seen": claimed.updated_at,
        "new_problem": after.problem,
        "new_due_at": after.due_at,
        "again_at": again_at,
        "now": after.updated_at,
    }
