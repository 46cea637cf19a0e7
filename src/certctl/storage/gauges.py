"""What `/metrics` shows of the database: each query reads an index, and no more of it than it must.

Only the count of all certificates by status reads as much as there are: an index's worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from certctl.domain.imports import EXTERNAL_TYPE
from certctl.storage.conditions import ConditionState
from certctl.storage.tables import (
    LISTED,
    OPEN_ORDERS,
    UNUSUAL,
    certificates,
    issuer_conditions,
    issuers,
    orders,
    revocations,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

# Through the index of the open orders: the closed ones, however many, cost nothing.
_ORDERS = (
    select(orders.c.state, func.count().label("orders")).where(OPEN_ORDERS).group_by(orders.c.state)
)


def count_open_orders(connection: Connection) -> dict[str, int]:
    """How many orders there are in each open state that any is in (100,000: 0.1 to 0.5 s)."""
    return {row.state: row.orders for row in connection.execute(_ORDERS)}


# Those that are due some time: the closed ones never are.
_REVOCATIONS = (
    select(revocations.c.state, func.count().label("revocations"))
    .where(revocations.c.due_at.is_not(None))
    .group_by(revocations.c.state)
)


def count_open_revocations(connection: Connection) -> dict[str, int]:
    """How many revocations there are in each state in which the CA is still told or asked."""
    return {row.state: row.revocations for row in connection.execute(_REVOCATIONS)}


_CONDITIONS = (
    select(issuers.c.id, issuer_conditions.c.state)
    .select_from(issuers.outerjoin(issuer_conditions))
    .where(issuers.c.archived_at.is_(None), issuers.c.type != EXTERNAL_TYPE)
    .order_by(issuers.c.id)
)


def issuer_states(connection: Connection) -> dict[str, ConditionState | None]:
    """The condition of every issuer in use that can be asked; None where it has none."""
    return {
        row.id: None if row.state is None else ConditionState(row.state)
        for row in connection.execute(_CONDITIONS)
    }


@dataclass(frozen=True, slots=True)
class Inventory:
    """The certificates that are not archived.

    `statuses` counts the stored ones; `expired` are those of `issued` whose time is over, and
    `expiring` those whose time will be over within each window. `earliest` is when that is so of
    the first of these, in milliseconds; None where there are none.
    """

    statuses: dict[str, int]
    expired: int
    expiring: dict[str, int]
    earliest: int | None


# Nearly all are `issued`, and no index has them alone: the few that are not are counted, and taken
# away from the whole.
_UNUSUAL = (
    select(certificates.c.status, func.count().label("certificates"))
    .where(UNUSUAL)
    .group_by(certificates.c.status)
)
_ALL = select(func.count()).select_from(certificates).where(LISTED)
_WITHIN = (
    certificates.c.not_after > bindparam("after"),
    certificates.c.not_after <= bindparam("until"),
)
_ALL_WITHIN = _ALL.where(*_WITHIN)
_UNUSUAL_WITHIN = (
    select(func.count())
    .select_from(certificates)
    .where(UNUSUAL, certificates.c.status.in_(("pending", "failed", "revoked")), *_WITHIN)
)
_EARLIEST = (
    select(certificates.c.not_after)
    .where(LISTED, certificates.c.status == "issued", certificates.c.not_after > bindparam("after"))
    .order_by(certificates.c.not_after)
    .limit(1)
)


def read_inventory(connection: Connection, now_ms: int, windows: Mapping[str, int]) -> Inventory:
    """Count the certificates; `windows` are lengths in milliseconds by name, shortest first."""

    def count(after: int, until: int) -> int:
        window = {"after": after, "until": until}
        whole: int = connection.execute(_ALL_WITHIN, window).scalar_one()
        unusual: int = connection.execute(_UNUSUAL_WITHIN, window).scalar_one()
        return whole - unusual

    expiring: dict[str, int] = {}
    counted, edge = 0, now_ms
    for name, length in windows.items():  # what a shorter one holds is not counted again
        counted += count(edge, now_ms + length)
        expiring[name], edge = counted, now_ms + length
    statuses = {row.status: row.certificates for row in connection.execute(_UNUSUAL)}
    issued = connection.execute(_ALL).scalar_one() - sum(statuses.values())
    if issued:
        statuses["issued"] = issued
    return Inventory(
        statuses=statuses,
        expired=count(0, now_ms),
        expiring=expiring,
        earliest=connection.execute(_EARLIEST, {"after": now_ms}).scalar(),
    )
