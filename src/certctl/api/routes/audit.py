"""`/api/v1/audit`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from certctl.api.audit_export import Export
from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.services import services
from certctl.api.views import audit_event_view
from certctl.domain.audit_actions import ACTIONS, OBJECT_TYPES, actions_about
from certctl.domain.clock import to_ms
from certctl.domain.errors import InvalidInput
from certctl.pki.audit_keys import ExportSigner
from certctl.schemas.audit import AuditEventView, AuditExportKey, AuditVerification
from certctl.schemas.common import Moment, Page
from certctl.storage.audit import EventFilter, list_events, verify

router = APIRouter(prefix="/audit", tags=["audit"])

_ID = r"^[a-z0-9-]+$"
ExportCursor = Annotated[
    str | None, Query(max_length=400, description="`continues` of the last whole proof")
]


@router.get("", response_model=Page[AuditEventView], summary="List audit events")
async def list_all(
    request: Request,
    *,
    actor: Annotated[
        str | None,
        Query(max_length=80, pattern=_ID, description="Only of this API key, or `system`"),
    ] = None,
    action: Annotated[
        str | None,
        Query(
            max_length=60,
            pattern=r"^[a-z_]+\.[a-z_]*$",
            description="Only this action; or all that begin so, where it ends with a dot: "
            "`certificate.`",
        ),
    ] = None,
    object_type: Annotated[
        str | None,
        Query(max_length=40, pattern=r"^[a-z_]+$", description="Only about objects of this kind"),
    ] = None,
    object_id: Annotated[
        str | None,
        Query(max_length=80, pattern=r"^[a-z0-9._-]+$", description="Only about this object"),
    ] = None,
    since: Annotated[
        Moment | None, Query(alias="from", description="Only from this moment on")
    ] = None,
    until: Annotated[
        Moment | None, Query(alias="to", description="Only before this moment")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AuditEventView]:
    """What changed and who did it, newest first. An event has to fit every part of the filter."""
    before = decode_cursor(cursor, int, str, int) if cursor is not None else None
    wanted = EventFilter(
        actor=actor,
        action=action,
        object_type=object_type,
        object_id=object_id,
        not_before=None if since is None else to_ms(since),
        before=None if until is None else to_ms(until),
    )
    _check_known(wanted)
    events = await services(request).database.read(
        lambda connection: list_events(connection, limit=limit + 1, before=before, wanted=wanted)
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
    report = await database.read(lambda connection: verify(connection, database.audit_key))
    return AuditVerification(
        chains=report.chains, events=report.events, problems=list(report.problems)
    )


@router.get(
    "/export",
    summary="Export the audit log",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "JSON lines: every event of every chain, with signed proofs",
            "content": {"application/jsonl": {"schema": {"type": "string"}}},
        }
    },
)
async def export(request: Request, cursor: ExportCursor = None) -> StreamingResponse:
    """The whole log as a file that proves itself; `certctl audit verify FILE` checks it offline.

    The answer is as long as the log. One that broke is carried on with `continues` of its last
    whole proof as the cursor.
    """
    its = services(request)
    stream = await Export.begin(its.database, its.clock, its.stopping, cursor)
    return StreamingResponse(
        stream.lines(),
        media_type="application/jsonl",
        headers={"Content-Disposition": 'attachment; filename="certctl-audit.jsonl"'},
    )


@router.get("/export/key", response_model=AuditExportKey, summary="Show the key of exports")
async def export_key(request: Request) -> AuditExportKey:
    """The public key that exports are checked with. It proves who signed, and cannot sign."""
    key = ExportSigner(services(request).database.audit_key).public
    return AuditExportKey(key_id=key.key_id, algorithm="Ed25519", public_key=key.pem)


def _check_known(wanted: EventFilter) -> None:
    """Raise InvalidInput for what no event can name: it is a slip, not an empty answer."""
    if wanted.object_type is not None and not actions_about(wanted.object_type):
        raise InvalidInput(
            "audit-object-type-unknown",
            "no event is about that kind of object",
            field="object_type",
            hint=f"leave it out, or name one of these: {', '.join(sorted(OBJECT_TYPES))}",
        )
    if not any(replace(wanted, object_type=None).takes(action) for action in ACTIONS):
        raise InvalidInput(
            "audit-action-unknown",
            "there is no such action",
            field="action",
            hint="write a whole action (certificate.revoked), or its beginning with the dot "
            "(certificate.); the documentation's page on the audit log has them all",
        )
