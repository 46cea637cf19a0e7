"""`/api/v1/orders`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.services import ObjectId, actor, use_cases
from certctl.api.views import order_detail, order_view
from certctl.domain.orders import OrderState
from certctl.lifecycle.resolution import Finding
from certctl.schemas.common import Page
from certctl.schemas.orders import OrderDetail, OrderResolve, OrderView

router = APIRouter(prefix="/orders", tags=["orders"])


@router.get("", response_model=Page[OrderView], summary="List orders")
async def list_all(
    request: Request,
    state: Annotated[OrderState | None, Query(description="Only orders in this state")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[OrderView]:
    """Orders, newest first."""
    before = decode_cursor(cursor, str)[0] if cursor is not None else None
    its = use_cases(request).orders
    orders = await its.list(actor(request), limit=limit + 1, before=before, state=state)
    return Page(
        data=[order_view(order, its.due_at(order)) for order in orders[:limit]],
        next=encode_cursor(orders[limit - 1].id) if len(orders) > limit else None,
    )


@router.get("/{order_id}", response_model=OrderDetail, summary="Show an order")
async def get_one(request: Request, order_id: ObjectId) -> OrderDetail:
    """An order with its history: what it waits for, and when the CA is asked next."""
    return order_detail(await use_cases(request).orders.get(order_id))


@router.post("/{order_id}/cancel", response_model=OrderView, summary="Cancel an order")
async def cancel(request: Request, order_id: ObjectId) -> OrderView:
    """Take an order back while the CA has not been asked (or nobody knows whether it was)."""
    its = use_cases(request).orders
    order = await its.cancel(actor(request), order_id)
    return order_view(order, its.due_at(order))


@router.post("/{order_id}/resolve", response_model=OrderView, summary="Resolve an order")
async def resolve(request: Request, order_id: ObjectId, body: OrderResolve) -> OrderView:
    """Say what became of an order in `uncertain`, after a look at the CA. It goes on from there."""
    its = use_cases(request)
    finding = Finding(OrderState(body.state), body.reference, body.certificate, body.reason)
    order = await its.resolution.resolve(actor(request), order_id, finding)
    return order_view(order, its.orders.due_at(order))
