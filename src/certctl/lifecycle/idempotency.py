"""A request that a client repeats under the same key is carried out once.

The key is stored with the order that it led to, in the same transaction; no answer is stored: a
repetition is answered with the order's present state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain import errors
from certctl.domain.orders import IDEMPOTENCY_MS, OrderState
from certctl.storage.certificates import CertificateRecord, get_certificate
from certctl.storage.database import Duplicate
from certctl.storage.idempotency import (
    IdempotencyRecord,
    find_idempotency_key,
    forget_idempotency_keys,
    idempotency_row,
)
from certctl.storage.orders import get_order

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from certctl.domain.clock import Clock
    from certctl.storage.database import Connection, Database, Row, Table, Transaction


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The certificate that a request led to, and how far its order is."""

    certificate: CertificateRecord
    order_id: str
    order_state: OrderState


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key, whose client it is, and a hash that is equal for equal requests."""

    api_key_id: str
    key: str
    fingerprint: str

    def row(self, order_id: str, now_ms: int) -> tuple[Table, Row]:
        """The row that ties the key to its order."""
        record = IdempotencyRecord(self.fingerprint, order_id, now_ms)
        return idempotency_row(self.api_key_id, self.key, record)


async def once(
    database: Database,
    clock: Clock,
    key: IdempotencyKey | None,
    run: Callable[[], Awaitable[Enrolled]],
) -> Enrolled:
    """Carry a request out, or answer with what it led to within the last 24 hours.

    `run` stores `key.row(…)` with whatever else it stores. Raises InvalidInput when the key was
    used for another request, and what `run` raises.
    """
    if key is None:
        return await run()
    # First use is the rule, so the key is not looked up before: the unique constraint tells.
    try:
        return await run()
    except errors.Unavailable:
        raise
    except (Duplicate, errors.CertctlError) as error:
        found = await _replay(database, clock, key)
        if found is not None:
            return found
        if not isinstance(error, Duplicate):
            raise
    # Only a key past its 24 hours is a duplicate that leads to no order.
    oldest = clock.now_ms() - IDEMPOTENCY_MS

    def forget(transaction: Transaction) -> None:
        forget_idempotency_keys(transaction, oldest)

    await database.write(forget)
    return await run()


async def _replay(database: Database, clock: Clock, key: IdempotencyKey) -> Enrolled | None:
    """The present state of the order that this key led to; None if there is none."""
    oldest = clock.now_ms() - IDEMPOTENCY_MS

    def load(connection: Connection) -> tuple[IdempotencyRecord, Enrolled] | None:
        record = find_idempotency_key(connection, key.api_key_id, key.key)
        if record is None or record.created_at <= oldest:
            return None
        return record, load_enrolled(connection, record.order_id)

    found = await database.read(load)
    if found is None:
        return None
    record, enrolled = found
    if record.request_hash != key.fingerprint:
        raise errors.InvalidInput(
            "idempotency-key-reused",
            "this Idempotency-Key was used for another request within the last 24 hours",
            field="Idempotency-Key",
            hint="use a new key for every new request",
        )
    return enrolled


def load_enrolled(connection: Connection, order_id: str) -> Enrolled:
    """The present state of an order and its certificate."""
    order = get_order(connection, order_id)
    certificate = None if order is None else get_certificate(connection, order.certificate_id)
    if order is None or certificate is None:
        raise errors.NotFound("order-not-found", "there is no order of that id")
    return Enrolled(certificate, order.id, order.state)
