"""Orders as their owners see them: look, wait, take back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict, NotFound
from certctl.domain.orders import OPEN_STATES, OrderState
from certctl.domain.waiting import Standstill, Waiting, due_at, waits_for
from certctl.lifecycle import outcomes
from certctl.lifecycle.advance import hindrance, schedule_for
from certctl.lifecycle.idempotency import load_enrolled
from certctl.lifecycle.lookups import load_certificate
from certctl.storage.certificates import mark_failed
from certctl.storage.conditions import ConditionState
from certctl.storage.orders import (
    AttemptRecord,
    OrderRecord,
    cancel_order,
    get_order,
    list_attempts,
    list_orders,
)

if TYPE_CHECKING:
    import asyncio

    from certctl.domain.clock import Clock
    from certctl.domain.polling import PollSchedule
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.idempotency import Enrolled
    from certctl.lifecycle.scheduler import Scheduler
    from certctl.lifecycle.tally import Tally
    from certctl.storage.database import Connection, Database, Transaction

_LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class OrderNow:
    """An order with its history, as it stands: when its CA is asked next, what it waits for."""

    order: OrderRecord
    history: list[AttemptRecord]
    due_at: int | None
    waits_for: str | None


class Orders:
    """What can be done with orders from outside."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        schedule: PollSchedule,
        scheduler: Scheduler,
        *,
        tally: Tally,
    ) -> None:
        self._tally = tally
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._schedule = schedule
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

    async def get(self, order_id: str) -> OrderNow:
        """An order with its history; NotFound if there is none."""

        def load(connection: Connection) -> tuple[OrderRecord, list[AttemptRecord]]:
            order = get_order(connection, order_id)
            if order is None:
                raise order_not_found()
            return order, list_attempts(connection, order_id)

        order, history = await self._database.read(load)
        waiting = self._waiting(order)
        return OrderNow(order, history, self.due_at(order), waits_for(waiting))

    async def of_certificate(
        self, certificate_id: str, *, limit: int, before: str | None
    ) -> list[OrderRecord]:
        """A certificate's orders with ids below `before`, newest first; NotFound without it."""

        def load(connection: Connection) -> list[OrderRecord]:
            load_certificate(connection, certificate_id)
            return list_orders(
                connection,
                limit=limit,
                before=before,
                state=None,
                scope=None,
                certificate_id=certificate_id,
            )

        return await self._database.read(load)

    async def list(
        self, actor: Actor, *, limit: int, before: str | None, state: OrderState | None
    ) -> list[OrderRecord]:
        """Orders that the caller may see with ids below `before`, newest first.

        Of one state where it is given.
        """
        return await self._database.read(
            lambda connection: list_orders(
                connection, limit=limit, before=before, state=state, scope=actor.scope
            )
        )

    def due_at(self, order: OrderRecord) -> int | None:
        """When the order's CA is asked next, in milliseconds: not while it is left alone."""
        return due_at(order.due_at, order.state, self._standstill(order.issuer_id))

    def _standstill(self, issuer_id: str) -> Standstill | None:
        found = self._catalog.condition(issuer_id)
        if found is None:
            return None
        is_quota = found.state is ConditionState.QUOTA
        if is_quota and (found.due_at is None or found.due_at <= self._clock.now_ms()):
            return None
        return Standstill(is_quota, found.problem, found.since, found.due_at)

    def _waiting(self, order: OrderRecord) -> Waiting:
        connector, words = None, None
        try:
            issuer = self._catalog.issuer(order.issuer_id)
        except NotFound as error:
            words = error.detail
        else:
            connector, words = issuer.connector, hindrance(issuer, order.state)
        now = self._clock.now_ms()
        return Waiting(
            state=order.state,
            now=now,
            due_at=order.due_at,
            problem=order.problem,
            accepted_at=order.accepted_at,
            unknown_since=order.unknown_since,
            is_held=order.lease_until is not None and order.lease_until > now,
            burst=schedule_for(self._schedule, connector).burst,
            unknown_for=outcomes.UNKNOWN_WAIT * self._schedule.scale,
            hindrance=words,
            standstill=self._standstill(order.issuer_id),
        )

    async def cancel(self, actor: Actor, order_id: str) -> OrderRecord:
        """Take back an order that the CA has not been asked about; Conflict otherwise."""
        now = self._clock.now_ms()

        def write(transaction: Transaction) -> tuple[OrderState, OrderRecord]:
            order = get_order(transaction.connection, order_id)
            if order is None:
                raise order_not_found()
            if order.state is OrderState.CANCELLED:
                return order.state, order
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
                raise order_not_found()
            return order.state, cancelled

        before, cancelled = await self._database.write(write)
        self._tally.order(before, cancelled)
        return cancelled


def order_not_found() -> NotFound:
    """There is no order of that id."""
    return NotFound(
        "order-not-found",
        "there is no order of that id",
        hint="list the orders: GET /api/v1/orders, or `certctl orders`",
    )
