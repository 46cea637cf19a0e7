"""`/api/v1/issuers`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from certctl.api.issuer_views import check_view, issuer_type_view, issuer_view
from certctl.api.services import ObjectId, actor, services, use_cases
from certctl.connectors.contract import ExposesChain
from certctl.domain.errors import NotFound, Unavailable
from certctl.lifecycle.issuer_requests import IssuerChange, Limits, NewIssuer
from certctl.pki.certificates import chain_pem
from certctl.schemas.common import Page
from certctl.schemas.issuers import (
    IssuerCheck,
    IssuerCreate,
    IssuerLimits,
    IssuerTypeView,
    IssuerUpdate,
    IssuerView,
)

router = APIRouter(prefix="/issuers", tags=["issuers"])


@router.get("", response_model=Page[IssuerView], summary="List issuers")
async def list_all(
    request: Request,
    archived: Annotated[bool, Query(description="The archived ones as well")] = False,
) -> Page[IssuerView]:
    """Every configured account at a certificate authority."""
    found = await use_cases(request).issuers.list(actor(request), archived=archived)
    return Page(data=[issuer_view(state) for state in found])


@router.post("", response_model=IssuerView, status_code=201, summary="Make an issuer")
async def create(request: Request, response: Response, body: IssuerCreate) -> IssuerView:
    """Configure an account at a certificate authority.

    Its settings are tried before they are stored: the files they name are read, and a connector
    may call its CA.
    """
    made = await use_cases(request).issuers.create(
        actor(request),
        NewIssuer(
            id=body.id,
            name=body.name,
            type=body.type,
            config=body.config,
            enabled=body.enabled,
            limits=_limits(body.limits),
        ),
    )
    response.headers["Location"] = f"/api/v1/issuers/{made.issuer.record.id}"
    return issuer_view(made)


# Before the routes with an id: "types" would pass for one.
@router.get("/types", response_model=Page[IssuerTypeView], summary="List types of issuers")
async def list_types(request: Request) -> Page[IssuerTypeView]:
    """Every type of certificate authority, with the JSON schema of its settings."""
    return Page(data=[issuer_type_view(kind) for kind in use_cases(request).issuers.types()])


@router.get("/{issuer_id}", response_model=IssuerView, summary="Show an issuer")
async def get_one(request: Request, issuer_id: ObjectId) -> IssuerView:
    """One issuer, archived or not; its secrets are never shown."""
    return issuer_view(await use_cases(request).issuers.get(issuer_id))


@router.put("/{issuer_id}", response_model=IssuerView, summary="Change an issuer")
async def update(request: Request, issuer_id: ObjectId, body: IssuerUpdate) -> IssuerView:
    """Replace all of an issuer but its type, without a restart.

    Secrets that are left out or masked stay as they are, null takes one away. Settings that do not
    work are refused, and those before them stay in effect.
    """
    change = IssuerChange(
        name=body.name,
        type=body.type,
        config=body.config,
        enabled=body.enabled,
        limits=_limits(body.limits),
        source=body.source,
        revision=body.revision,
    )
    return issuer_view(await use_cases(request).issuers.update(actor(request), issuer_id, change))


@router.delete("/{issuer_id}", status_code=204, summary="Delete or archive an issuer")
async def delete(
    request: Request,
    issuer_id: ObjectId,
    archive: Annotated[
        bool, Query(description="Put it away instead, with all that depends on it")
    ] = False,
) -> Response:
    """Delete an issuer on which nothing depends, or archive one on which something does.

    An archived issuer takes no orders and its name is free. Its certificates can still be revoked,
    and their status is told.
    """
    if archive:
        await use_cases(request).issuers.archive(actor(request), issuer_id)
    else:
        await use_cases(request).issuers.delete(actor(request), issuer_id)
    return Response(status_code=204)


@router.post("/{issuer_id}/enable", response_model=IssuerView, summary="Enable an issuer")
async def enable(request: Request, issuer_id: ObjectId) -> IssuerView:
    """Take orders for it again."""
    return issuer_view(await use_cases(request).issuers.enable(actor(request), issuer_id))


@router.post("/{issuer_id}/disable", response_model=IssuerView, summary="Disable an issuer")
async def disable(request: Request, issuer_id: ObjectId) -> IssuerView:
    """Take no more orders for it. Its certificates can still be revoked."""
    return issuer_view(await use_cases(request).issuers.disable(actor(request), issuer_id))


@router.post("/{issuer_id}/test", response_model=IssuerCheck, summary="Test an issuer")
async def test(request: Request, issuer_id: ObjectId) -> IssuerCheck:
    """Call the CA, which changes nothing there. The answer is 200 whether that worked or not."""
    return check_view(await use_cases(request).issuers.test(actor(request), issuer_id))


def _limits(body: IssuerLimits) -> Limits:
    return Limits(body.max_concurrency, body.max_calls_per_minute)


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
