"""Orders as rows that are their own queue: claimed by lease, changed under an epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Integer,
    String,
    Text,
    bindparam,
    case,
    select,
    text,
    update,
)

from certctl.domain.orders import CANCELLABLE, OPEN_STATES, OrderState
from certctl.storage.leases import RELEASED, Leases
from certctl.storage.scopes import within_certificate
from certctl.storage.tables import order_attempts, orders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table
    from sqlalchemy import Row as SqlRow

    from certctl.domain.access import Scope
    from certctl.storage.database import Row, Transaction

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
    #: Attempts in a row that told nothing.
    failures: int = 0
    #: Since when it is open whether the CA has the order: it was sent and no answer came, or the CA
    #: does not know it. None while it is clear.
    unknown_since: int | None = None
    #: Until when the process that claimed it may work on it.
    lease_until: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One time the CA was asked; `action` is submit, poll, lookup or resolve (a person answered).

    Storage gives the number.
    """

    action: str
    outcome: str
    detail: str | None
    started_at: int
    duration_ms: int
    number: int = 0
    #: The CA's own error code.
    code: str | None = None


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
        failures=row.failures or 0,
        unknown_since=row.unknown_since,
        lease_until=row.lease_until,
    )


_GET = select(orders).where(orders.c.id == bindparam("which"))
_LOCK = _GET.with_for_update()


def get_order(connection: Connection, order_id: str) -> OrderRecord | None:
    """One order, or None."""
    row = connection.execute(_GET, {"which": order_id}).first()
    return None if row is None else load_order(row)


def lock_order(transaction: Transaction, order_id: str) -> OrderRecord | None:
    """One order, held until the transaction ends; None if there is none."""
    row = transaction.execute(_LOCK, {"which": order_id}).first()
    return None if row is None else load_order(row)


def list_orders(
    connection: Connection,
    *,
    limit: int,
    before: str | None,
    state: OrderState | None,
    scope: Scope | None,
    certificate_id: str | None = None,
) -> list[OrderRecord]:
    """Orders within a scope with ids below `before`, newest first.

    Of one state, or of one certificate, where given.
    """
    statement = select(orders).order_by(orders.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(orders.c.id < before)
    if state is not None:
        statement = statement.where(orders.c.state == state.value)
    if certificate_id is not None:
        statement = statement.where(orders.c.certificate_id == certificate_id)
    statement = statement.where(
        *within_certificate(orders.c.certificate_id, scope, connection.dialect)
    )
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
            code=row.code,
        )
        for row in connection.execute(_ATTEMPTS, {"which": order_id})
    ]


LEASES = Leases(orders, group=orders.c.issuer_id)

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
        failures=bindparam("failures"),
        unknown_since=bindparam("unknown_since"),
        updated_at=bindparam("updated_at"),
    )
)
_STORE_AND_RELEASE = _STORE.values(**RELEASED)
_STORE_AND_FENCE = _STORE_AND_RELEASE.values(epoch=orders.c.epoch + 1)


def store_order(transaction: Transaction, order: OrderRecord, *, release: bool) -> bool:
    """Write an order back if its epoch still is the one it was claimed under.

    False means that somebody else has taken it over, and that nothing was changed.
    """
    statement = _STORE_AND_RELEASE if release else _STORE
    return bool(transaction.execute(statement, _changes(order)).rowcount)


def take_order(transaction: Transaction, order: OrderRecord) -> None:
    """Write an order that this transaction holds; whoever works on it changes nothing any more."""
    transaction.execute(_STORE_AND_FENCE, _changes(order))


def _changes(order: OrderRecord) -> dict[str, Any]:
    return {
        "which": order.id,
        "fence": order.epoch,
        "state": order.state.value,
        "reference": None if order.reference is None else json.dumps(order.reference),
        "version_id": order.version_id,
        "problem": order.problem,
        "attempts": order.attempts,
        "accepted_at": order.accepted_at,
        "due_at": order.due_at,
        "failures": order.failures or None,
        "unknown_since": order.unknown_since,
        "updated_at": order.updated_at,
    }


_POSTPONED = (
    select(orders.c.id)
    .where(
        orders.c.issuer_id == bindparam("issuer"),
        orders.c.due_at > bindparam("now"),
        orders.c.due_at <= bindparam("until"),
    )
    .with_for_update(skip_locked=True)
)
_POSTPONED_READY = _POSTPONED.where(orders.c.state == OrderState.READY.value)


def wake_orders(
    transaction: Transaction, issuer_id: str, now_ms: int, until_ms: int, *, only_ready: bool
) -> None:
    """Make an issuer's orders due now that were until then. Rows in use stay as they are."""
    postponed = _POSTPONED_READY if only_ready else _POSTPONED
    transaction.execute(
        update(orders).where(orders.c.id.in_(postponed)).values(due_at=bindparam("now")),
        {"issuer": issuer_id, "now": now_ms, "until": until_ms},
    )


#: So many attempts of an order are kept; beyond them, a new one takes the last one's place.
MOST_ATTEMPTS = 1000

# One statement, so that a poll is two. Both databases spell it so; the WHERE keeps SQLite from
# reading ON as the beginning of a join.
_ADD_ATTEMPT = text(
    "INSERT INTO order_attempts"
    " (order_id, number, action, outcome, code, detail, started_at, duration_ms)"
    " SELECT :order_id, CASE WHEN COALESCE(MAX(number), 0) < :most"
    " THEN COALESCE(MAX(number), 0) + 1 ELSE :most END,"
    " :action, :outcome, :code, :detail, :started_at, :duration_ms"
    " FROM order_attempts WHERE order_id = :order_id"
    " ON CONFLICT (order_id, number) DO UPDATE SET action = excluded.action,"
    " outcome = excluded.outcome, code = excluded.code, detail = excluded.detail,"
    " started_at = excluded.started_at, duration_ms = excluded.duration_ms"
).bindparams(
    bindparam("order_id", type_=String()),
    bindparam("most", MOST_ATTEMPTS, type_=Integer()),
    bindparam("action", type_=String()),
    bindparam("outcome", type_=String()),
    bindparam("code", type_=String()),
    bindparam("detail", type_=Text()),
    bindparam("started_at", type_=BigInteger()),
    bindparam("duration_ms", type_=BigInteger()),
)
_LONGEST_CODE = 120


def add_attempt(transaction: Transaction, order_id: str, attempt: AttemptRecord) -> None:
    """Add to an order's history. The order's row is held, so that two are not added at once."""
    transaction.execute(
        _ADD_ATTEMPT,
        {
            "order_id": order_id,
            "action": attempt.action,
            "outcome": attempt.outcome,
            "code": None if attempt.code is None else attempt.code[:_LONGEST_CODE],
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


_OF_VERSION = (
    select(orders)
    .where(orders.c.version_id == bindparam("which"), orders.c.certificate_id == bindparam("of"))
    .limit(1)
)


def order_of_version(
    connection: Connection, certificate_id: str, version_id: str
) -> OrderRecord | None:
    """The order that a version came from; None where certctl has none."""
    row = connection.execute(_OF_VERSION, {"which": version_id, "of": certificate_id}).first()
    return None if row is None else load_order(row)


def insert_order(transaction: Transaction, order: OrderRecord) -> None:
    """Store a new order. A second open one for a certificate is a Duplicate."""
    transaction.insert([order_row(order)])


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
