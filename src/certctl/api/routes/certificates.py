"""`/api/v1/certificates`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.direct_route import DirectRoute
from certctl.api.services import ObjectId, actor, services
from certctl.api.views import certificate_summary, certificate_view
from certctl.domain.errors import InvalidInput, NotFound
from certctl.domain.orders import OPEN_STATES
from certctl.lifecycle.enrolment import EnrolmentRequest
from certctl.pki.certificates import to_pem
from certctl.schemas.certificates import CertificateCreate, CertificateSummary, CertificateView
from certctl.schemas.common import Page
from certctl.storage.certificates import CertificateRecord, get_certificate, list_certificates

router = APIRouter(prefix="/certificates", tags=["certificates"])
create_router = APIRouter(prefix="/certificates", tags=["certificates"], route_class=DirectRoute)

_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,3})(?:$|[,;\s])")
MAX_WAIT_SECONDS = 60
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


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
    idempotency_key: Annotated[
        str | None,
        Header(description="Repeating a request with the same key never orders twice (24 hours)"),
    ] = None,
    prefer: Annotated[
        str | None, Header(description="`wait=N`: wait up to N seconds (60 at most)")
    ] = None,
) -> Response:
    """Send a CSR; our own CA answers with the certificate, a slow one with 202 and an order."""
    if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise InvalidInput(
            "idempotency-key-invalid",
            "an Idempotency-Key is 1 to 255 visible ASCII characters",
            field="Idempotency-Key",
            hint="use a random UUID",
        )
    its = services(request)
    enrolled = await its.enrolment.enrol(
        actor(request),
        EnrolmentRequest(
            issuer_id=body.issuer_id,
            profile_id=body.profile_id,
            csr=body.csr,
            names=None if body.names is None else tuple(body.names),
            validity_days=body.validity_days,
            owner=body.owner,
        ),
        idempotency_key=idempotency_key,
    )
    if (
        enrolled.order_state in OPEN_STATES
        and prefer is not None
        and (wait := _WAIT.search(prefer))
    ):
        seconds = min(int(wait[1]), MAX_WAIT_SECONDS)
        enrolled = await its.orders.wait(enrolled, seconds, its.stopping)
    done = enrolled.certificate.version is not None
    location = (
        f"/api/v1/certificates/{enrolled.certificate.id}"
        if done
        else f"/api/v1/orders/{enrolled.order_id}"
    )
    view = certificate_view(enrolled.certificate, its.clock.now_ms())
    return Response(
        view.__pydantic_serializer__.to_json(view),
        201 if done else 202,
        headers={"Location": location},
        media_type="application/json",
    )


@router.get("", response_model=Page[CertificateSummary], summary="List certificates")
async def list_all(
    request: Request, limit: Limit = 50, cursor: Cursor = None
) -> Page[CertificateSummary]:
    """The inventory, newest first."""
    its = services(request)
    before = decode_cursor(cursor, str)[0] if cursor is not None else None
    lines = await its.database.read(
        lambda connection: list_certificates(connection, limit=limit + 1, before=before)
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
            "description": "The newest version",
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
) -> Response:
    """The newest version as a file."""
    certificate = await _load(request, certificate_id)
    version = certificate.version
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
        raise _not_found()
    return found


def _not_found() -> NotFound:
    return NotFound(
        "certificate-not-found",
        "there is no certificate of that id",
        hint="list the certificates: GET /api/v1/certificates, or `certctl certs`",
    )
