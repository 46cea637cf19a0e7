"""`/api/v1/audit`."""

from __future__ import annotations

from fastapi import APIRouter, Request

from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.services import services
from certctl.api.views import audit_event_view
from certctl.schemas.audit import AuditEventView, AuditVerification
from certctl.schemas.common import Page
from certctl.storage.audit import list_events, verify

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("", response_model=Page[AuditEventView], summary="List audit events")
async def list_all(
    request: Request, limit: Limit = 50, cursor: Cursor = None
) -> Page[AuditEventView]:
    """What changed and who did it, newest first."""
    before = decode_cursor(cursor, int, str, int) if cursor is not None else None
    events = await services(request).database.read(
        lambda connection: list_events(connection, limit=limit + 1, before=before)
    )
    last = events[limit - 1] if len(events) > limit else None
    return Page(
        data=[audit_event_view(event) for event in events[:limit]],
        next=encode_cursor(last.at, last.chain_id, last.seq) if last else None,
    )


@router.post("/verify", response_model=AuditVerification, summary="Verify the audit log")
async def verify_all(request: Request) -> AuditVerification:
    """Check every chain from its first event to its last."""
    database = services(request).database
    report = await database.read(lambda connection: verify(connection, database.keyring.audit_key))
    return AuditVerification(
        chains=report.chains, events=report.events, problems=list(report.problems)
    )
