"""`/api/v1/certificates/import`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from certctl.api.services import actor, services
from certctl.api.views import certificate_view
from certctl.lifecycle.imports import ImportOutcome, ImportRequest
from certctl.schemas.records import CertificateImport, ImportResult

router = APIRouter(prefix="/certificates", tags=["certificates"])


@router.post(
    "/import",
    status_code=201,
    response_model=ImportResult,
    summary="Import a certificate",
    responses={
        200: {"model": ImportResult, "description": "It was there already, or it is a dry run"}
    },
)
async def import_certificate(
    request: Request, response: Response, body: CertificateImport
) -> ImportResult:
    """Keep and watch a certificate that certctl did not issue. Repeating is harmless.

    It is listed and expires like others. It is never renewed, and only its own CA can revoke it.
    """
    its = services(request)
    imported = await its.use_cases.imports.bring(
        actor(request),
        ImportRequest(
            certificate=body.certificate,
            chain=body.chain,
            owner=body.owner,
            labels=tuple(sorted((body.labels or {}).items())),
            replaces=body.replaces,
            dry_run=body.dry_run,
        ),
    )
    if body.dry_run or imported.outcome is ImportOutcome.KNOWN:
        response.status_code = 200
    found = imported.certificate
    if found is not None:
        response.headers["Location"] = f"/api/v1/certificates/{found.id}"
    return ImportResult(
        outcome=imported.outcome.value,
        dry_run=body.dry_run,
        certificate=None if found is None else certificate_view(found, its.clock.now_ms()),
        warnings=list(imported.warnings),
    )
