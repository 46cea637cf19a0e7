"""From stored values to REST bodies.

What goes out with each issuance is built without validating it again (`model_construct`): its parts
were typed values a moment before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certctl.domain.clock import from_ms
from certctl.pki.certificates import to_pem
from certctl.schemas.audit import AuditEventView
from certctl.schemas.certificates import CertificateSummary, CertificateView, VersionView
from certctl.schemas.orders import AttemptView, OrderDetail, OrderView
from certctl.schemas.revocations import (
    BulkRevocationView,
    RevocationFilter,
    RevocationLine,
    RevocationView,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certctl.domain.revocations import RevocationState
    from certctl.lifecycle.orders import OrderNow
    from certctl.schemas.certificates import CertificateStatus
    from certctl.storage.audit import StoredEvent
    from certctl.storage.bulk_revocations import BulkRecord
    from certctl.storage.certificates import CertificateRecord
    from certctl.storage.inventory import CertificateLine
    from certctl.storage.orders import OrderRecord
    from certctl.storage.revocations import RevocationRecord
    from certctl.storage.versions import VersionRecord


def _name(stored: str) -> str:
    """A name as people write it: without its kind, which its form tells."""
    return stored.partition(":")[2]


def _status(
    stored: str, not_after: int | None, archived_at: int | None, now_ms: int
) -> CertificateStatus:
    if archived_at is not None:
        return "archived"
    if stored == "issued" and not_after is not None and not_after < now_ms:
        return "expired"
    status: CertificateStatus = stored  # type: ignore[assignment] # the column holds no other word
    return status


def _fields(revocation: RevocationRecord) -> dict[str, Any]:
    return {
        "id": revocation.id,
        "reason": revocation.reason.value,
        "action": revocation.action.value,
        "state": revocation.state.value,
        "problem": revocation.problem,
        "revoked_at": from_ms(revocation.revoked_at),
        "due_at": None if revocation.due_at is None else from_ms(revocation.due_at),
        "updated_at": from_ms(revocation.updated_at),
    }


def revocation_line(revocation: RevocationRecord) -> RevocationLine:
    """A revocation with what it is about."""
    return RevocationLine(
        **_fields(revocation),
        certificate_id=revocation.certificate_id,
        version_id=revocation.version_id,
        issuer_id=revocation.issuer_id,
        serial=revocation.serial,
        bulk_id=revocation.bulk_id,
    )


def bulk_view(bulk: BulkRecord, counts: Mapping[RevocationState, int]) -> BulkRevocationView:
    """A bulk revocation and how far it is."""
    wanted = bulk.filter
    return BulkRevocationView(
        id=bulk.id,
        filter=RevocationFilter(
            issuer_id=wanted.issuer_id,
            profile_id=wanted.profile_id,
            owner=wanted.owner,
            name=f"*{wanted.name}" if wanted.below else wanted.name,
            issued_after=None if wanted.issued_after is None else from_ms(wanted.issued_after),
            issued_before=None if wanted.issued_before is None else from_ms(wanted.issued_before),
        ),
        reason=bulk.reason.value,
        state=bulk.state.value,
        total=bulk.total,
        done=bulk.done,
        revocations={state.value: count for state, count in counts.items()},
        actor=bulk.actor,
        created_at=from_ms(bulk.created_at),
        updated_at=from_ms(bulk.updated_at),
    )


def version_view(version: VersionRecord) -> VersionView:
    """A version with its PEM."""
    revocation = version.revocation
    return VersionView.model_construct(
        id=version.id,
        serial=version.serial,
        not_before=from_ms(version.not_before),
        not_after=from_ms(version.not_after),
        certificate=to_pem(version.der),
        chain=version.chain,
        revocation=None if revocation is None else RevocationView(**_fields(revocation)),
    )


def certificate_view(certificate: CertificateRecord, now_ms: int) -> CertificateView:
    """A certificate with its newest version."""
    version = certificate.version
    return CertificateView.model_construct(
        id=certificate.id,
        status=_status(certificate.status, certificate.not_after, certificate.archived_at, now_ms),
        issuer_id=certificate.issuer_id,
        profile_id=certificate.profile_id,
        common_name=certificate.common_name,
        names=[_name(name) for name in certificate.names],
        owner=certificate.owner,
        labels=certificate.labels,
        order_id=certificate.order_id,
        version=None if version is None else version_view(version),
        renew_at=None if certificate.renew_at is None else from_ms(certificate.renew_at),
        archived_at=None if certificate.archived_at is None else from_ms(certificate.archived_at),
        created_at=from_ms(certificate.created_at),
        updated_at=from_ms(certificate.updated_at),
    )


def certificate_summary(line: CertificateLine, now_ms: int) -> CertificateSummary:
    """A row of the inventory."""
    return CertificateSummary(
        id=line.id,
        status=_status(line.status, line.not_after, line.archived_at, now_ms),
        issuer_id=line.issuer_id,
        profile_id=line.profile_id,
        common_name=line.common_name,
        names=[_name(name) for name in line.names],
        owner=line.owner,
        serial=line.serial,
        not_after=None if line.not_after is None else from_ms(line.not_after),
        renew_at=None if line.renew_at is None else from_ms(line.renew_at),
        created_at=from_ms(line.created_at),
    )


def order_view(order: OrderRecord, due_at: int | None) -> OrderView:
    """An order without its history; `due_at` is when its CA is asked next, in milliseconds."""
    return OrderView(
        id=order.id,
        state=order.state.value,
        certificate_id=order.certificate_id,
        issuer_id=order.issuer_id,
        version_id=order.version_id,
        problem=order.problem,
        reference=order.reference,
        attempts=order.attempts,
        due_at=None if due_at is None else from_ms(due_at),
        created_at=from_ms(order.created_at),
        updated_at=from_ms(order.updated_at),
    )


def order_detail(now: OrderNow) -> OrderDetail:
    """An order with its history."""
    return OrderDetail(
        **order_view(now.order, now.due_at).model_dump(),
        waits_for=now.waits_for,
        history=[
            AttemptView(
                number=attempt.number,
                action=attempt.action,
                outcome=attempt.outcome,
                code=attempt.code,
                detail=attempt.detail,
                started_at=from_ms(attempt.started_at),
                duration_ms=attempt.duration_ms,
            )
            for attempt in now.history
        ],
    )


def audit_event_view(event: StoredEvent) -> AuditEventView:
    """An audit event."""
    return AuditEventView(
        chain_id=event.chain_id,
        seq=event.seq,
        at=from_ms(event.at),
        actor=event.actor,
        action=event.action,
        object_type=event.object_type,
        object_id=event.object_id,
        detail=event.detail,
        request_id=event.request_id,
    )
