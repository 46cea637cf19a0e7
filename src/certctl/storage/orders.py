"""Orders as rows that are their own queue: claimed by lease, changed under an epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update

from certctl.domain.orders import CANCELLABLE, OrderState
from certctl.storage.tables import idempotency_keys, order_attempts, orders

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table
    from sqlalchemy import Row as SqlRow

    from certctl.storage.database import Row, Transaction

DUPLICATE_KEY = "pk_idempotency_keys"


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


def _order(row: SqlRow[Any]) -> OrderRecord:
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
    return None if row is None else _order(row)


def list_orders(
    connection: Connection, *, limit: int, before: str | None, state: OrderState | None
) -> list[OrderRecord]:
    """Orders with ids below `before`, newest first, of one state where it is given."""
    statement = select(orders).order_by(orders.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(orders.c.id < before)
    if state is not None:
        statement = statement.where(orders.c.state == state.value)
    return [_order(row) for row in connection.execute(statement)]


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


_FREE = and_(
    orders.c.due_at <= bindparam("now"),
    or_(orders.c.lease_until.is_(None), orders.c.lease_until <= bindparam("now")),
)
_DUE = (
    select(orders.c.id)
    .where(_FREE)
    .order_by(orders.c.due_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    update(orders)
    .where(orders.c.id.in_(_DUE))
    .values(
        lease_owner=bindparam("owner"),
        lease_until=bindparam("until"),
        epoch=orders.c.epoch + 1,
    )
    .returning(orders)
)


def claim_due(
    transaction: Transaction, *, owner: str, now_ms: int, lease_ms: int, limit: int
) -> list[OrderRecord]:
    """Take up to `limit` due orders that nobody holds; each gets a new epoch."""
    rows = transaction.execute(
        _CLAIM, {"owner": owner, "now": now_ms, "until": now_ms + lease_ms, "limit": limit}
    )
    return [_order(row) for row in rows]


_ANY_DUE = select(orders.c.id).where(_FREE).limit(1)


def any_due(connection: Connection, now_ms: int) -> bool:
    """Whether there is an order to claim: a look at one index, without a write."""
    return connection.execute(_ANY_DUE, {"now": now_ms}).first() is not None


_RELEASE_ALL = (
    update(orders)
    .where(orders.c.lease_until.is_not(None))
    .values(lease_owner=None, lease_until=None)
)


def release_all(transaction: Transaction) -> None:
    """Free every lease: for the one process of an embedded database, at its start."""
    transaction.execute(_RELEASE_ALL)


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
_STORE_AND_RELEASE = _STORE.values(lease_owner=None, lease_until=None)


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


def extend_leases(
    transaction: Transaction, owner: str, order_ids: list[str], until_ms: int
) -> None:
    """Hold on to orders that are still being worked on."""
    transaction.execute(
        update(orders)
        .where(orders.c.id.in_(order_ids), orders.c.lease_owner == owner)
        .values(lease_until=until_ms)
    )
