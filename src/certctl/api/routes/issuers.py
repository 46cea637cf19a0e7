"""`/api/v1/issuers`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from certctl.api.services import ObjectId, services
from certctl.api.views import issuer_view
from certctl.connectors.contract import ExposesChain
from certctl.domain.errors import NotFound, Unavailable
from certctl.pki.certificates import chain_pem
from certctl.schemas.common import Page
from certctl.schemas.issuers import IssuerView

router = APIRouter(prefix="/issuers", tags=["issuers"])


@router.get("", response_model=Page[IssuerView], summary="List issuers")
async def list_all(request: Request) -> Page[IssuerView]:
    """Every configured account at a certificate authority."""
    return Page(data=[issuer_view(issuer) for issuer in services(request).catalog.issuers()])


@router.get("/{issuer_id}", response_model=IssuerView, summary="Show an issuer")
async def get_one(request: Request, issuer_id: ObjectId) -> IssuerView:
    """One issuer; its secrets are never shown."""
    return issuer_view(services(request).catalog.issuer(issuer_id))


@router.get(
    "/{issuer_id}/ca",
    summary="Download an issuer's own certificates",
    response_class=Response,
    responses={
        200: {
            "description": "PEM: the signing CA first, its issuers after it",
            "content": {"application/x-pem-file": {"schema": {"type": "string"}}},
        }
    },
)
async def get_ca(request: Request, issuer_id: ObjectId) -> Response:
    """The certificates of the CA: for a self-signed one, the root to trust."""
    issuer = services(request).catalog.issuer(issuer_id)
    if issuer.connector is None:
        raise Unavailable("issuer-not-ready", "this issuer is disabled or its settings do not work")
    if not isinstance(issuer.connector, ExposesChain):
        raise NotFound(
            "issuer-has-no-chain",
            "this type of issuer does not publish its certificates here",
            hint="take the chain that came with a certificate",
        )
    return Response(
        chain_pem(issuer.connector.chain()),
        media_type="application/x-pem-file",
        headers={"Content-Disposition": f'attachment; filename="{issuer.record.id}-ca.pem"'},
    )
