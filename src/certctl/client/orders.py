"""Calls about orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.client.calls import Calls, at
from certctl.client.connection import parse
from certctl.schemas.common import Page
from certctl.schemas.orders import OrderDetail, OrderView

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.schemas.orders import OrderResolve, OrderStatus

#: States that no waiting changes: the end, or a person's turn.
SETTLED: frozenset[OrderStatus] = frozenset(
    {"issued", "rejected", "expired", "cancelled", "uncertain", "awaiting_csr"}
)


class OrderCalls(Calls):
    """`/api/v1/orders`."""

    def orders(
        self,
        *,
        state: OrderStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[OrderView]:
        """One page of orders, newest first."""
        answer = self._get("/api/v1/orders", state=state, limit=limit, cursor=cursor)
        return parse(Page[OrderView], answer)

    def order(self, order_id: str) -> OrderDetail:
        """An order with its history."""
        return parse(OrderDetail, self._get(at("orders", order_id)))

    def cancel_order(self, order_id: str) -> OrderView:
        """Take an order back."""
        return parse(OrderView, self._connection.send("POST", at("orders", order_id, "cancel")))

    def resolve_order(self, order_id: str, found: OrderResolve) -> OrderView:
        """Say what was found out at the CA about an order in `uncertain`.

        An ApiError with status 409 where the order is no longer in that state.
        """
        answer = self._connection.send("POST", at("orders", order_id, "resolve"), body=found)
        return parse(OrderView, answer)

    def wait_for_order(
        self,
        order_id: str,
        timeout: float,
        *,
        on_poll: Callable[[OrderDetail], None] | None = None,
    ) -> OrderDetail:
        """The order once it is settled, or as it stood when `timeout` seconds were over.

        A server that is away for a moment does not end the waiting; one that was never reached
        raises the last error.
        """

        def is_settled(order: OrderDetail) -> bool:
            return order.state in SETTLED

        return self._watch(lambda: self.order(order_id), is_settled, timeout, on_poll=on_poll)
