"""`/api/v1/certificates/{id}`: its versions, their renewal and revocation."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.ordering import (
    IdempotencyHeader,
    PreferHeader,
    answer,
    check_idempotency_key,
)
from certctl.api.services import ObjectId, actor, services, use_cases
from certctl.api.views import certificate_view, version_view
from certctl.domain.revocations import OPEN_STATES, RevocationReason
from certctl.lifecycle.renewal import RenewalRequest
from certctl.lifecycle.revocations import certificate_not_found
from certctl.schemas.certificates import CertificateView, RenewRequest, VersionView
from certctl.schemas.common import Page
from certctl.schemas.revocations import RevokeRequest
from certctl.storage.certificates import get_certificate
from certctl.storage.database import Connection
from certctl.storage.versions import VersionRecord, list_versions

router = APIRouter(prefix="/certificates/{certificate_id}", tags=["certificates"])

_RECORDED: dict[int | str, dict[str, Any]] = {
    202: {"description": "Recorded; the CA is being told: `revocation.state` says how far it is"}
}


@router.post(
    "/renew",
    status_code=201,
    response_model=CertificateView,
    summary="Renew a certificate",
    responses={
        202: {
            "model": CertificateView,
            "description": "The CA works on it, or the order waits for a CSR with a new key: "
            "`Location` is the order to look at",
        }
    },
)
async def renew(
    request: Request,
    certificate_id: ObjectId,
    body: RenewRequest | None = None,
    idempotency_key: IdempotencyHeader = None,
    prefer: PreferHeader = None,
) -> Response:
    """Order the next version, for the same names, with the key there is or with a new one."""
    check_idempotency_key(idempotency_key)
    wanted = body or RenewRequest()
    enrolled = await use_cases(request).renewal.renew(
        actor(request),
        RenewalRequest(certificate_id, wanted.csr, wanted.validity_days, wanted.key_signature),
        idempotency_key=idempotency_key,
    )
    return await answer(request, enrolled, prefer)


@router.get("/versions", response_model=Page[VersionView], summary="List versions")
async def list_all(
    request: Request, certificate_id: ObjectId, limit: Limit = 50, cursor: Cursor = None
) -> Page[VersionView]:
    """Every version that the CA issued, newest first, with its revocation."""
    before = decode_cursor(cursor, str)[0] if cursor is not None else None

    def load(connection: Connection) -> list[VersionRecord]:
        if get_certificate(connection, certificate_id) is None:
            raise certificate_not_found()
        return list_versions(connection, certificate_id, limit=limit + 1, before=before)

    versions = await services(request).database.read(load)
    return Page(
        data=[version_view(version) for version in versions[:limit]],
        next=encode_cursor(versions[limit - 1].id) if len(versions) > limit else None,
    )


@router.get("/versions/{version_id}", response_model=VersionView, summary="Show a version")
async def get_one(request: Request, certificate_id: ObjectId, version_id: ObjectId) -> VersionView:
    """One version, with its revocation."""
    return version_view(await use_cases(request).revocations.version(certificate_id, version_id))


@router.post(
    "/revoke", response_model=CertificateView, summary="Revoke a certificate", responses=_RECORDED
)
async def revoke(
    request: Request,
    response: Response,
    certificate_id: ObjectId,
    body: RevokeRequest | None = None,
) -> CertificateView:
    """Revoke every version that has not expired, and end the renewal. Repeating is harmless."""
    its = services(request)
    recorded = await its.use_cases.revocations.revoke(
        actor(request), certificate_id, RevocationReason((body or RevokeRequest()).reason)
    )
    response.status_code = 202 if recorded.is_open else 200
    return certificate_view(recorded.certificate, its.clock.now_ms())


@router.post(
    "/release",
    response_model=CertificateView,
    summary="Take back the hold of a certificate",
    responses=_RECORDED,
)
async def release(
    request: Request, response: Response, certificate_id: ObjectId
) -> CertificateView:
    """End every revocation with `certificateHold`, so that its versions are valid again."""
    its = services(request)
    recorded = await its.use_cases.revocations.release(actor(request), certificate_id)
    response.status_code = 202 if recorded.is_open else 200
    return certificate_view(recorded.certificate, its.clock.now_ms())


@router.post(
    "/versions/{version_id}/revoke",
    response_model=VersionView,
    summary="Revoke a version",
    responses=_RECORDED,
)
async def revoke_version(
    request: Request,
    response: Response,
    certificate_id: ObjectId,
    version_id: ObjectId,
    body: RevokeRequest | None = None,
) -> VersionView:
    """Revoke one version; the others stay as they are. Repeating is harmless."""
    revocations = use_cases(request).revocations
    reason = RevocationReason((body or RevokeRequest()).reason)
    await revocations.revoke(actor(request), certificate_id, reason, version_id)
    version = await revocations.version(certificate_id, version_id)
    response.status_code = _status(version)
    return version_view(version)


@router.post(
    "/versions/{version_id}/release",
    response_model=VersionView,
    summary="Take back the hold of a version",
    responses=_RECORDED,
)
async def release_version(
    request: Request, response: Response, certificate_id: ObjectId, version_id: ObjectId
) -> VersionView:
    """End the `certificateHold` of one version."""
    revocations = use_cases(request).revocations
    await revocations.release(actor(request), certificate_id, version_id)
    version = await revocations.version(certificate_id, version_id)
    response.status_code = _status(version)
    return version_view(version)


def _status(version: VersionRecord | None) -> int:
    revocation = None if version is None else version.revocation
    return 202 if revocation is not None and revocation.state in OPEN_STATES else 200
