"""`/api/v1/certificates/{id}`: its history, owner and labels, and whether it is archived."""

from __future__ import annotations

from fastapi import APIRouter, Request

from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.services import ObjectId, actor, services, use_cases
from certctl.api.views import audit_event_view, certificate_view, order_view
from certctl.domain.clock import to_ms
from certctl.lifecycle.editing import Edit
from certctl.lifecycle.lookups import load_certificate
from certctl.schemas.audit import AuditEventView
from certctl.schemas.certificates import CertificateView
from certctl.schemas.common import Page
from certctl.schemas.orders import OrderView
from certctl.schemas.records import ArchiveRequest, CertificateEdit
from certctl.storage.audit import EventFilter, StoredEvent, list_events
from certctl.storage.database import Connection

router = APIRouter(prefix="/certificates/{certificate_id}", tags=["certificates"])


@router.patch("", response_model=CertificateView, summary="Edit a certificate")
async def edit(
    request: Request, certificate_id: ObjectId, body: CertificateEdit
) -> CertificateView:
    """Change who looks after it, and its labels, by a JSON merge patch."""
    its = services(request)
    wanted = Edit(
        named=frozenset(body.model_fields_set),
        owner=body.owner,
        labels=body.labels,
        updated_at=None if body.updated_at is None else to_ms(body.updated_at),
    )
    edited = await its.use_cases.editing.edit(actor(request), certificate_id, wanted)
    return certificate_view(edited, its.clock.now_ms())


@router.post("/archive", response_model=CertificateView, summary="Archive a certificate")
async def archive(
    request: Request, certificate_id: ObjectId, body: ArchiveRequest | None = None
) -> CertificateView:
    """Take it out of the inventory, and renew it no more. Repeating is harmless.

    It can still be looked at and revoked, and CRL and OCSP tell its status.
    """
    its = services(request)
    although_valid = (body or ArchiveRequest()).although_valid
    archived = await its.use_cases.editing.archive(
        actor(request), certificate_id, although_valid=although_valid
    )
    return certificate_view(archived, its.clock.now_ms())


@router.post("/unarchive", response_model=CertificateView, summary="Put a certificate back")
async def unarchive(request: Request, certificate_id: ObjectId) -> CertificateView:
    """Put an archived certificate back into the inventory, to be renewed as before."""
    its = services(request)
    back = await its.use_cases.editing.unarchive(actor(request), certificate_id)
    return certificate_view(back, its.clock.now_ms())


@router.get("/orders", response_model=Page[OrderView], summary="List a certificate's orders")
async def list_orders(
    request: Request, certificate_id: ObjectId, limit: Limit = 50, cursor: Cursor = None
) -> Page[OrderView]:
    """Every order for it, newest first. An imported certificate has none."""
    before = decode_cursor(cursor, str)[0] if cursor is not None else None
    its = use_cases(request).orders
    orders = await its.of_certificate(certificate_id, limit=limit + 1, before=before)
    return Page(
        data=[order_view(order, its.due_at(order)) for order in orders[:limit]],
        next=encode_cursor(orders[limit - 1].id) if len(orders) > limit else None,
    )


@router.get("/audit", response_model=Page[AuditEventView], summary="List a certificate's events")
async def list_audit(
    request: Request, certificate_id: ObjectId, limit: Limit = 50, cursor: Cursor = None
) -> Page[AuditEventView]:
    """What happened to it and who did it, newest first."""
    before = decode_cursor(cursor, int, str, int) if cursor is not None else None
    wanted = EventFilter(object_type="certificate", object_id=certificate_id)

    def load(connection: Connection) -> list[StoredEvent]:
        load_certificate(connection, certificate_id)
        return list_events(connection, limit=limit + 1, before=before, wanted=wanted)

    events = await services(request).database.read(load)
    last = events[limit - 1] if len(events) > limit else None
    return Page(
        data=[audit_event_view(event) for event in events[:limit]],
        next=encode_cursor(last.at, last.chain_id, last.seq) if last else None,
    )
