"""`/api/v1/revocations` and `/api/v1/bulk-revocations`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.services import ObjectId, actor, services, use_cases
from certctl.api.views import bulk_view, certificate_summary, revocation_line
from certctl.domain.clock import to_ms
from certctl.domain.names import parse_name
from certctl.domain.revocations import RevocationReason, RevocationState
from certctl.schemas.certificates import CertificateSummary
from certctl.schemas.common import CountedPage, Page
from certctl.schemas.revocations import (
    BulkRevocationCreate,
    BulkRevocationPreviewRequest,
    BulkRevocationView,
    RevocationFilter,
    RevocationLine,
)
from certctl.storage.bulk_revocations import RevocationFilter as StoredFilter
from certctl.storage.revocations import list_revocations

router = APIRouter(tags=["revocations"])


@router.get("/revocations", response_model=Page[RevocationLine], summary="List revocations")
async def list_all(
    request: Request,
    state: Annotated[RevocationState | None, Query(description="Only those in this state")] = None,
    bulk_id: Annotated[
        str | None,
        Query(max_length=80, pattern=r"^[a-z0-9-]+$", description="Only those of this bulk"),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[RevocationLine]:
    """Revocations, newest first: what the CA has confirmed, works on, or refused."""
    before = decode_cursor(cursor, str)[0] if cursor is not None else None
    found = await services(request).database.read(
        lambda connection: list_revocations(
            connection,
            limit=limit + 1,
            before=before,
            state=state,
            bulk_id=bulk_id,
            scope=actor(request).scope,
        )
    )
    return Page(
        data=[revocation_line(revocation) for revocation in found[:limit]],
        next=encode_cursor(found[limit - 1].id) if len(found) > limit else None,
    )


@router.post(
    "/bulk-revocations/preview",
    response_model=CountedPage[CertificateSummary],
    summary="List what a bulk revocation would revoke",
)
async def preview(
    request: Request, body: BulkRevocationPreviewRequest, limit: Limit = 50, cursor: Cursor = None
) -> CountedPage[CertificateSummary]:
    """A dry run: what the filter finds now, newest first, and how many in all."""
    its = services(request)
    before = decode_cursor(cursor, str)[0] if cursor is not None else None
    lines, total = await its.use_cases.bulk_revocations.preview(
        actor(request), _filter(body.filter), limit=limit + 1, before=before
    )
    now = its.clock.now_ms()
    return CountedPage(
        data=[certificate_summary(line, now) for line in lines[:limit]],
        next=encode_cursor(lines[limit - 1].id) if len(lines) > limit else None,
        total=total,
    )


@router.post(
    "/bulk-revocations",
    status_code=202,
    response_model=BulkRevocationView,
    summary="Revoke many certificates",
)
async def start(request: Request, body: BulkRevocationCreate) -> BulkRevocationView:
    """Revoke every certificate that the filter finds. It goes on by itself, some at a time."""
    return bulk_view(
        *await use_cases(request).bulk_revocations.start(
            actor(request), _filter(body.filter), RevocationReason(body.reason), body.expected
        )
    )


@router.get(
    "/bulk-revocations", response_model=Page[BulkRevocationView], summary="List bulk revocations"
)
async def list_bulk(
    request: Request, limit: Limit = 50, cursor: Cursor = None
) -> Page[BulkRevocationView]:
    """Bulk revocations, newest first, and how far they are."""
    before = decode_cursor(cursor, str)[0] if cursor is not None else None
    found = await use_cases(request).bulk_revocations.list(
        actor(request), limit=limit + 1, before=before
    )
    return Page(
        data=[bulk_view(*progress) for progress in found[:limit]],
        next=encode_cursor(found[limit - 1][0].id) if len(found) > limit else None,
    )


@router.get(
    "/bulk-revocations/{bulk_id}",
    response_model=BulkRevocationView,
    summary="Show a bulk revocation",
)
async def get_bulk(request: Request, bulk_id: ObjectId) -> BulkRevocationView:
    """How far it is."""
    return bulk_view(*await use_cases(request).bulk_revocations.get(bulk_id))


@router.post(
    "/bulk-revocations/{bulk_id}/cancel",
    response_model=BulkRevocationView,
    summary="Stop a bulk revocation",
)
async def cancel(request: Request, bulk_id: ObjectId) -> BulkRevocationView:
    """Stop it where it is; what it has revoked stays revoked."""
    return bulk_view(*await use_cases(request).bulk_revocations.cancel(actor(request), bulk_id))


def _filter(wanted: RevocationFilter) -> StoredFilter:
    name, below = wanted.name, False
    if name is not None:
        below = name.startswith("*.")
        name = parse_name(name, "filter.name").value
        if below:
            name = name.removeprefix("*")
    return StoredFilter(
        issuer_id=wanted.issuer_id,
        profile_id=wanted.profile_id,
        owner=wanted.owner,
        name=name,
        below=below,
        issued_after=None if wanted.issued_after is None else to_ms(wanted.issued_after),
        issued_before=None if wanted.issued_before is None else to_ms(wanted.issued_before),
    )
