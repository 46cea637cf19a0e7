"""`/api/v1/certificates`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.direct_route import DirectRoute
from certctl.api.ordering import (
    IdempotencyHeader,
    PreferHeader,
    answer,
    check_idempotency_key,
)
from certctl.api.services import ObjectId, actor, services, use_cases
from certctl.api.views import certificate_summary, certificate_view
from certctl.domain.errors import NotFound
from certctl.lifecycle.enrolment import EnrolmentRequest
from certctl.lifecycle.revocations import certificate_not_found
from certctl.pki.certificates import to_pem
from certctl.schemas.certificates import CertificateCreate, CertificateSummary, CertificateView
from certctl.schemas.common import Page
from certctl.storage.certificates import CertificateRecord, get_certificate, list_certificates

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
