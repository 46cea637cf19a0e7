"""`/api/v1/certificates`."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.direct_route import DirectRoute
from certctl.api.ordering import (
    IdempotencyHeader,
    PreferHeader,
    answer,
    check_idempotency_key,
)
from certctl.api.services import ObjectId, actor, services
from certctl.api.views import certificate_summary, certificate_view
from certctl.lifecycle.enrolment import EnrolmentRequest
from certctl.lifecycle.lookups import load_certificate
from certctl.schemas.certificates import CertificateCreate, CertificateSummary, CertificateView
from certctl.schemas.common import Page
from certctl.storage.certificates import list_certificates

router = APIRouter(prefix="/certificates", tags=["certificates"])
create_router = APIRouter(prefix="/certificates", tags=["certificates"], route_class=DirectRoute)


@create_router.post(
    "",
    status_code=201,
    response_model=CertificateView,
    summary="Order a certificate",
    responses={
        202: {
            "model": CertificateView,
            "description": "The CA works on it: `Location` is the order to look at",
        }
    },
)
async def create_certificate(
    request: Request,
    body: CertificateCreate,
    idempotency_key: IdempotencyHeader = None,
    prefer: PreferHeader = None,
) -> Response:
    """Send a CSR; our own CA answers with the certificate, a slow one with 202 and an order."""
    check_idempotency_key(idempotency_key)
    its = services(request)
    enrolled = await its.use_cases.enrolment.enrol(
        actor(request),
        EnrolmentRequest(
            issuer_id=body.issuer_id,
            profile_id=body.profile_id,
            csr=body.csr,
            key_signature=body.key_signature,
            names=None if body.names is None else tuple(body.names),
            validity_days=body.validity_days,
            owner=body.owner,
            labels=tuple(sorted((body.labels or {}).items())),
        ),
        idempotency_key=idempotency_key,
    )
    return await answer(request, enrolled, prefer)


@router.get("", response_model=Page[CertificateSummary], summary="List certificates")
async def list_all(
    request: Request, limit: Limit = 50, cursor: Cursor = None
) -> Page[CertificateSummary]:
    """The inventory, newest first."""
    its = services(request)
    before = decode_cursor(cursor, str)[0] if cursor is not None else None
    lines = await its.database.read(
        lambda connection: list_certificates(
            connection, limit=limit + 1, before=before, scope=actor(request).scope
        )
    )
    now = its.clock.now_ms()
    return Page(
        data=[certificate_summary(line, now) for line in lines[:limit]],
        next=encode_cursor(lines[limit - 1].id) if len(lines) > limit else None,
    )


@router.get("/{certificate_id}", response_model=CertificateView, summary="Show a certificate")
async def get_one(request: Request, certificate_id: ObjectId) -> CertificateView:
    """A certificate with its newest version."""
    its = services(request)
    certificate = await its.database.read(partial(load_certificate, certificate_id=certificate_id))
    return certificate_view(certificate, its.clock.now_ms())
