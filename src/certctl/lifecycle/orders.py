"""Orders as their owners see them: look, wait, take back."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict, NotFound
from certctl.domain.orders import OPEN_STATES, OrderState
from certctl.lifecycle.idempotency import load_enrolled
from certctl.storage.certificates import mark_failed
from certctl.storage.orders import (
    AttemptRecord,
    OrderRecord,
    cancel_order,
    get_order,
    list_attempts,
)

if TYPE_CHECKING:
    import asyncio

    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.idempotency import Enrolled
    from certctl.lifecycle.scheduler import Scheduler
    from certctl.storage.database import Connection, Database, Transaction

_LOOK_AGAIN_SECONDS = 1.0


class Orders:
    """What can be done with orders from outside."""

    def __init__(self, database: Database, clock: Clock, scheduler: Scheduler) -> None:
        self._database = database
        self._clock = clock
        self._scheduler = scheduler

    async def wait(self, enrolled: Enrolled, seconds: float, stopping: asyncio.Event) -> Enrolled:
        """Wait up to `seconds` until the order is closed; its state then, closed or not.

        Ends early when the server stops: the order goes on without anybody waiting.
        """
        deadline = time.monotonic() + seconds
        while enrolled.order_state in OPEN_STATES and not stopping.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            # Another process may be the one that closes it, hence a look now and then.
            await self._scheduler.wait_closed(
                enrolled.order_id, min(left, _LOOK_AGAIN_SECONDS), stopping
            )
            enrolled = await self._database.read(partial(load_enrolled, order_id=enrolled.order_id))
        return enrolled

    async def get(self, order_id: str) -> tuple[OrderRecord, list[AttemptRecord]]:
        """An order with its history; NotFound if there is none."""

        def load(connection: Connection) -> tuple[OrderRecord, list[AttemptRecord]]:
            order = get_order(connection, order_id)
            if order is None:
                raise _not_found()
            return order, list_attempts(connection, order_id)

        return await self._database.read(load)

    async def cancel(self, actor: Actor, order_id: str) -> OrderRecord:
        """Take back an order that the CA has not been asked about; Conflict otherwise."""
        now = self._clock.now_ms()

        def write(transaction: Transaction) -> OrderRecord:
            order = get_order(transaction.connection, order_id)
            if order is None:
                raise _not_found()
            if order.state is OrderState.CANCELLED:
                return order
            if not cancel_order(transaction, order_id, now):
                raise Conflict(
                    "order-not-cancellable",
                    f"the order is {order.state}: it can no longer be taken back",
                    hint="wait for its end",
                )
            mark_failed(transaction, order.certificate_id, now)
            transaction.audit(
                AuditEvent(
                    at_ms=now,
                    actor=actor.id,
                    action="order.cancelled",
                    object_type="certificate",
                    object_id=order.certificate_id,
                    detail={"order_id": order.id, "issuer_id": order.issuer_id},
                )
            )
            cancelled = get_order(transaction.connection, order_id)
            if cancelled is None:
                raise _not_found()
            return cancelled

        return await self._database.write(write)


def _not_found() -> NotFound:
    return NotFound(
        "order-not-found",
        "there is no order of that id",
        hint="list the orders: GET /api/v1/orders, or `certctl orders`",
    )
