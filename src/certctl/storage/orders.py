"""Orders as rows that are their own queue: claimed by lease, changed under an epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, delete, func, insert, select, update

from certctl.domain.orders import CANCELLABLE, OPEN_STATES, OrderState
from certctl.storage.leases import RELEASED, Leases
from certctl.storage.tables import idempotency_keys, order_attempts, orders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy import Row as SqlRow

    from certctl.storage.database import Row, Transaction

DUPLICATE_KEY = "pk_idempotency_keys"
SECOND_OPEN_ORDER = "uq_orders_open"


@dataclass(slots=True)
class OrderRecord:
    """One request to an issuer. Times in milliseconds; `request` as `lifecycle` wrote it."""

    id: str
    certificate_id: str
    issuer_id: str
    state: OrderState
    csr: bytes | None
    request: dict[str, Any]
    reference: dict[str, Any] | None
    version_id: str | None
    problem: str | None
    attempts: int
    accepted_at: int | None
    due_at: int | None
    epoch: int
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One time the CA was asked; `action` is submit, poll or lookup. Storage gives the number."""

    action: str
    outcome: str
    detail: str | None
    started_at: int
    duration_ms: int
    number: int = 0


def order_row(order: OrderRecord) -> tuple[Table, Row]:
    """The row of a new order."""
    return (
        orders,
        {
            "id": order.id,
            "certificate_id": order.certificate_id,
            "issuer_id": order.issuer_id,
            "state": order.state.value,
            "csr": order.csr,
            "request": json.dumps(order.request),
            "reference": None if order.reference is None else json.dumps(order.reference),
            "version_id": order.version_id,
            "problem": order.problem,
            "attempts": order.attempts,
            "accepted_at": order.accepted_at,
            "due_at": order.due_at,
            "epoch": order.epoch,
            "created_at": order.created_at,
            "updated_at": order.updated_at,
        },
    )


def load_order(row: SqlRow[Any]) -> OrderRecord:
    """An order from its row."""
    return OrderRecord(
        id=row.id,
        certificate_id=row.certificate_id,
        issuer_id=row.issuer_id,
        state=OrderState(row.state),
        csr=row.csr,
        request=json.loads(row.request),
        reference=None if row.reference is None else json.loads(row.reference),
        version_id=row.version_id,
        problem=row.problem,
        attempts=row.attempts,
        accepted_at=row.accepted_at,
        due_at=row.due_at,
        epoch=row.epoch,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


_GET = select(orders).where(orders.c.id == bindparam("which"))


def get_order(connection: Connection, order_id: str) -> OrderRecord | None:
    """One order, or None."""
    row = connection.execute(_GET, {"which": order_id}).first()
    return None if row is None else load_order(row)


def list_orders(
    connection: Connection, *, limit: int, before: str | None, state: OrderState | None
) -> list[OrderRecord]:
    """Orders with ids below `before`, newest first, of one state where it is given."""
    statement = select(orders).order_by(orders.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(orders.c.id < before)
    if state is not None:
        statement = statement.where(orders.c.state == state.value)
    return [load_order(row) for row in connection.execute(statement)]


_ATTEMPTS = (
    select(order_attempts)
    .where(order_attempts.c.order_id == bindparam("which"))
    .order_by(order_attempts.c.number)
)


def list_attempts(connection: Connection, order_id: str) -> list[AttemptRecord]:
    """The history of an order, oldest attempt first."""
    return [
        AttemptRecord(
            number=row.number,
            action=row.action,
            outcome=row.outcome,
            detail=row.detail,
            started_at=row.started_at,
            duration_ms=row.duration_ms,
        )
        for row in connection.execute(_ATTEMPTS, {"which": order_id})
    ]


LEASES = Leases(orders)

_STORE = (
    update(orders)
    .where(orders.c.id == bindparam("which"), orders.c.epoch == bindparam("fence"))
    .values(
        state=bindparam("state"),
        reference=bindparam("reference"),
        version_id=bindparam("version_id"),
        problem=bindparam("problem"),
        attempts=bindparam("attempts"),
        accepted_at=bindparam("accepted_at"),
        due_at=bindparam("due_at"),
        updated_at=bindparam("updated_at"),
    )
)
_STORE_AND_RELEASE = _STORE.values(**RELEASED)


def store_order(transaction: Transaction, order: OrderRecord, *, release: bool) -> bool:
    """Write an order back if its epoch still is the one it was claimed under.

    False means that somebody else has taken it over, and that nothing was changed.
    """
    result = transaction.execute(
        _STORE_AND_RELEASE if release else _STORE,
        {
            "which": order.id,
            "fence": order.epoch,
            "state": order.state.value,
            "reference": None if order.reference is None else json.dumps(order.reference),
            "version_id": order.version_id,
            "problem": order.problem,
            "attempts": order.attempts,
            "accepted_at": order.accepted_at,
            "due_at": order.due_at,
            "updated_at": order.updated_at,
        },
    )
    return bool(result.rowcount)


_LAST_ATTEMPT = select(func.coalesce(func.max(order_attempts.c.number), 0)).where(
    order_attempts.c.order_id == bindparam("which")
)


def add_attempt(transaction: Transaction, order_id: str, attempt: AttemptRecord) -> None:
    """Add to an order's history. The order's epoch keeps two from being added at once."""
    last = transaction.execute(_LAST_ATTEMPT, {"which": order_id}).scalar_one()
    transaction.execute(
        insert(order_attempts),
        {
            "order_id": order_id,
            "number": last + 1,
            "action": attempt.action,
            "outcome": attempt.outcome,
            "detail": attempt.detail,
            "started_at": attempt.started_at,
            "duration_ms": attempt.duration_ms,
        },
    )


_CANCEL = (
    update(orders)
    .where(
        orders.c.id == bindparam("which"),
        orders.c.state.in_(sorted(state.value for state in CANCELLABLE)),
    )
    .values(
        state=OrderState.CANCELLED.value,
        # What it waited for is no longer so; why nobody knows what became of it, is.
        problem=case((orders.c.state == OrderState.UNCERTAIN.value, orders.c.problem), else_=None),
        due_at=None,
        lease_owner=None,
        lease_until=None,
        epoch=orders.c.epoch + 1,
        updated_at=bindparam("now"),
    )
)


def cancel_order(transaction: Transaction, order_id: str, now_ms: int) -> bool:
    """Take an order back; False when its state does not allow it."""
    return bool(transaction.execute(_CANCEL, {"which": order_id, "now": now_ms}).rowcount)


_OPEN_OF = select(orders).where(
    orders.c.certificate_id == bindparam("which"),
    orders.c.state.in_(sorted(state.value for state in OPEN_STATES)),
)


def open_order_of(connection: Connection, certificate_id: str) -> OrderRecord | None:
    """The certificate's open order, or None; there is one at most."""
    row = connection.execute(_OPEN_OF, {"which": certificate_id}).first()
    return None if row is None else load_order(row)


_NEWEST_CSR = (
    select(orders.c.csr)
    .where(orders.c.version_id == bindparam("which"), orders.c.certificate_id == bindparam("of"))
    .limit(1)
)


def csr_of_version(connection: Connection, certificate_id: str, version_id: str) -> bytes | None:
    """DER of the request that a version was made from; None where certctl has none."""
    found: bytes | None = connection.execute(
        _NEWEST_CSR, {"which": version_id, "of": certificate_id}
    ).scalar()
    return found


def insert_order(transaction: Transaction, order: OrderRecord) -> None:
    """Store a new order. A second open one for a certificate is a Duplicate."""
    insert_row(transaction, order_row(order))


def insert_row(transaction: Transaction, row: tuple[Table, Row]) -> None:
    """Store one row of those that this module makes."""
    table, values = row
    transaction.execute(insert(table), values)


_SUPPLY_CSR = (
    update(orders)
    .where(orders.c.id == bindparam("which"), orders.c.state == OrderState.AWAITING_CSR.value)
    .values(
        csr=bindparam("new_csr"),
        request=bindparam("new_request"),
        state=bindparam("new_state"),
        version_id=bindparam("new_version"),
        problem=None,
        due_at=bindparam("new_due_at"),
        epoch=orders.c.epoch + 1,
        updated_at=bindparam("now"),
    )
)


def supply_csr(transaction: Transaction, order: OrderRecord) -> bool:
    """Write an order that has its CSR now; False when it no longer awaits one."""
    values = {
        "which": order.id,
        "new_csr": order.csr,
        "new_request": json.dumps(order.request),
        "new_state": order.state.value,
        "new_version": order.version_id,
        "new_due_at": order.due_at,
        "now": order.updated_at,
    }
    return bool(transaction.execute(_SUPPLY_CSR, values).rowcount)


_CANCEL_UNSENT = (
    update(orders)
    .where(
        orders.c.certificate_id.in_(bindparam("ids", expanding=True)),
        orders.c.state.in_([OrderState.AWAITING_CSR.value, OrderState.READY.value]),
    )
    .values(
        state=OrderState.CANCELLED.value,
        problem="the certificate was revoked",
        due_at=None,
        epoch=orders.c.epoch + 1,
        updated_at=bindparam("now"),
        **RELEASED,
    )
    .returning(orders.c.id, orders.c.certificate_id, orders.c.issuer_id)
)


@dataclass(frozen=True, slots=True)
class CancelledOrder:
    """What is said of an order that was taken back."""

    id: str
    certificate_id: str
    issuer_id: str


def cancel_unsent_orders(
    transaction: Transaction, certificate_ids: Sequence[str], now_ms: int
) -> list[CancelledOrder]:
    """Take back the orders of revoked certificates that no CA has been asked about."""
    rows = transaction.execute(_CANCEL_UNSENT, {"ids": list(certificate_ids), "now": now_ms})
    return [CancelledOrder(row.id, row.certificate_id, row.issuer_id) for row in rows]


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
