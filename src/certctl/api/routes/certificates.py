"""`/api/v1/certificates`."""

from __future__ import annotations

from typing import Annotated, Literal

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
from certctl.api.services import ObjectId, actor, services, use_cases
from certctl.api.views import certificate_summary, certificate_view
from certctl.domain.clock import to_ms
from certctl.domain.errors import NotFound
from certctl.domain.inventory import (
    InventoryFilter,
    InventorySort,
    InventoryStatus,
    parse_name_filter,
)
from certctl.lifecycle.enrolment import EnrolmentRequest
from certctl.lifecycle.revocations import certificate_not_found
from certctl.pki.certificates import to_pem
from certctl.schemas.certificates import CertificateCreate, CertificateSummary, CertificateView
from certctl.schemas.common import Label, Moment, Page
from certctl.storage.certificates import CertificateRecord, get_certificate
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
    return certificate_view(await _load(request, certificate_id), services(request).clock.now_ms())


@router.get(
    "/{certificate_id}/download",
    summary="Download a certificate",
    response_class=Response,
    responses={
        200: {
            "description": "The newest version, or the one that was asked for",
            "content": {
                "application/x-pem-file": {"schema": {"type": "string"}},
                "application/pkix-cert": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def download(
    request: Request,
    certificate_id: ObjectId,
    format: Annotated[  # noqa: A002 - the name of the query parameter
        Literal["pem", "chain", "der"],
        Query(description="`pem`: the certificate; `chain`: with its issuers; `der`: binary"),
    ] = "pem",
    version_id: Annotated[
        str | None,
        Query(
            alias="version",
            max_length=80,
            pattern=r"^[a-z0-9-]+$",
            description="One of its versions; default: the newest",
        ),
    ] = None,
) -> Response:
    """A version as a file."""
    certificate = await _load(request, certificate_id)
    version = certificate.version
    if version_id is not None:
        version = await use_cases(request).revocations.version(certificate_id, version_id)
    if version is None:
        raise NotFound(
            "version-not-found",
            "the CA has not issued this certificate yet",
            hint=f"look at its order: GET /api/v1/orders/{certificate.order_id}",
        )
    if format == "der":
        return _file(version.der, "application/pkix-cert", f"{certificate.id}.cer")
    pem = to_pem(version.der)
    if format == "chain":
        pem += version.chain
    return _file(pem.encode(), "application/x-pem-file", f"{certificate.id}.pem")


def _file(content: bytes, media_type: str, name: str) -> Response:
    disposition = f'attachment; filename="{name}"'
    return Response(content, media_type=media_type, headers={"Content-Disposition": disposition})


async def _load(request: Request, certificate_id: str) -> CertificateRecord:
    found = await services(request).database.read(
        lambda connection: get_certificate(connection, certificate_id)
    )
    if found is None:
        raise certificate_not_found()
    return found
