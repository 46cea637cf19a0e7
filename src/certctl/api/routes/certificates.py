"""`/api/v1/certificates`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from certctl.api.cursors import Cursor, Limit
from certctl.api.direct_route import DirectRoute
from certctl.api.inventory_cursors import decode_place, encode_place
from certctl.api.ordering import (
    IdempotencyHeader,
    PreferHeader,
    answer,
    check_idempotency_key,
)
from certctl.api.services import ObjectId, actor, services
from certctl.api.views import certificate_summary, certificate_view
from certctl.domain.clock import to_ms
from certctl.domain.inventory import (
    InventoryFilter,
    InventorySort,
    InventoryStatus,
    parse_name_filter,
)
from certctl.lifecycle.enrolment import EnrolmentRequest
from certctl.lifecycle.lookups import load_certificate
from certctl.schemas.certificates import CertificateCreate, CertificateSummary, CertificateView
from certctl.schemas.common import Label, Moment, Page
from certctl.storage.inventory import ListQuery, list_certificates

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


_ID = r"^[a-z0-9-]+$"


@router.get("", response_model=Page[CertificateSummary], summary="List certificates")
async def list_all(
    request: Request,
    *,
    status: Annotated[
        InventoryStatus | None,
        Query(description="Only those that stand so; archived ones are listed only by `archived`"),
    ] = None,
    issuer_id: Annotated[
        str | None, Query(max_length=80, pattern=_ID, description="Only those of this issuer")
    ] = None,
    profile_id: Annotated[
        str | None, Query(max_length=80, pattern=_ID, description="Only those of this profile")
    ] = None,
    owner: Annotated[
        Label | None, Query(description="Only those that this owner looks after: the whole text")
    ] = None,
    name: Annotated[
        str | None,
        Query(
            max_length=2_048,
            description="Only those with such a name: `www.example.org`; `shop*`, what names begin "
            "with; `*.example.org`, every name below example.org. A kind may stand in front "
            "(`dns:`, `ip:`, `email:`, `uri:`)",
        ),
    ] = None,
    expires_after: Annotated[
        Moment | None, Query(description="Only those whose newest version ends then or later")
    ] = None,
    expires_before: Annotated[
        Moment | None, Query(description="Only those whose newest version ends before this moment")
    ] = None,
    sort: Annotated[
        InventorySort,
        Query(description="The order; with a minus backwards. What has no `not_after` comes last"),
    ] = InventorySort.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[CertificateSummary]:
    """The inventory. A certificate has to fit every part of the filter.

    **A page may have fewer rows than `limit`, even none, although `next` is not null**: the server
    looks through a bounded part of the inventory for each page. The list ends where `next` is null.
    A cursor belongs to the filter and the order that it came from.
    """
    wanted = InventoryFilter(
        status=status,
        issuer_id=issuer_id,
        profile_id=profile_id,
        owner=owner,
        name=None if name is None else parse_name_filter(name, "name"),
        expires_after=None if expires_after is None else to_ms(expires_after),
        expires_before=None if expires_before is None else to_ms(expires_before),
    )
    query = ListQuery(
        wanted,
        sort,
        actor(request).scope,
        limit,
        after=None if cursor is None else decode_place(cursor, wanted, sort),
    )
    its = services(request)
    now = its.clock.now_ms()
    page = await its.database.read(lambda connection: list_certificates(connection, query, now))
    return Page(
        data=[certificate_summary(line, now) for line in page.lines],
        next=None if page.next is None else encode_place(page.next, wanted, sort),
    )


@router.get("/{certificate_id}", response_model=CertificateView, summary="Show a certificate")
async def get_one(request: Request, certificate_id: ObjectId) -> CertificateView:
    """A certificate with its newest version."""
    its = services(request)
    certificate = await its.database.read(partial(load_certificate, certificate_id=certificate_id))
    return certificate_view(certificate, its.clock.now_ms())
