"""Revoking: what is recorded, and what the CA has to be told because of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from certctl.connectors.contract import SignsStatus
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict, InvalidInput, NotFound
from certctl.domain.ids import new_id
from certctl.domain.imports import IMPORTED_PROFILE_ID
from certctl.domain.orders import Recovery
from certctl.domain.revocations import (
    CRL_DELAY_MS,
    OPEN_STATES,
    RevocationAction,
    RevocationReason,
    RevocationState,
)
from certctl.storage.certificates import get_certificate, lock_certificate, mark_revoked
from certctl.storage.crls import mark_crl_due
from certctl.storage.database import Duplicate
from certctl.storage.orders import cancel_unsent_orders
from certctl.storage.revocations import (
    RevocationRecord,
    insert_revocations,
    lock_revocations_of,
    restart_revocation,
    revocations_of,
)
from certctl.storage.versions import ValidVersion, get_version, valid_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from certctl.connectors.contract import Connector
    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.scheduler import Scheduler
    from certctl.storage.certificates import CertificateRecord, CertificateState
    from certctl.storage.database import Connection, Database, Transaction
    from certctl.storage.versions import VersionRecord


@dataclass(frozen=True, slots=True)
class Recorded:
    """A certificate after a request about its revocation, and whether a CA is yet to answer."""

    certificate: CertificateRecord
    is_open: bool


class Revocations:
    """Records revocations; what is returned is durable, and the CA will be told.

    `forget_answers` drops the OCSP answers that this process keeps.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        scheduler: Scheduler,
        forget_answers: Callable[[], None],
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._scheduler = scheduler
        self._forget_answers = forget_answers

    async def revoke(
        self,
        actor: Actor,
        certificate_id: str,
        reason: RevocationReason,
        version_id: str | None = None,
    ) -> Recorded:
        """Revoke one version, or every version of a certificate that has not expired.

        Twice is the same answer; a refused one is tried again; a hold becomes final. Raises
        NotFound, InvalidInput where the CA has no holds, Conflict where there is nothing to revoke
        or another reason is recorded.
        """
        now = self._clock.now_ms()

        def write(transaction: Transaction) -> Recorded:
            certificate = _lock(transaction, certificate_id)
            connector = self._catalog.issuer(certificate.issuer_id).connector
            _check_hold(connector, reason)
            recorder = Recorder(actor.id, reason, now, connector)
            recorder.revoke(transaction, certificate_id, certificate.version_id, version_id)
            return _present(transaction.connection, certificate_id)

        try:
            recorded = await self._database.write(write)
        except Duplicate:  # another process was faster: now there is a row to look at
            recorded = await self._database.write(write)
        self._forget_answers()
        if recorded.is_open:
            self._scheduler.wake()
        return recorded

    async def release(
        self, actor: Actor, certificate_id: str, version_id: str | None = None
    ) -> Recorded:
        """Take back the hold of one version, or of every version of a certificate.

        Raises NotFound, and Conflict where no hold is in effect.
        """
        now = self._clock.now_ms()

        def write(transaction: Transaction) -> Recorded:
            certificate = _lock(transaction, certificate_id)
            connector = self._catalog.issuer(certificate.issuer_id).connector
            recorder = Recorder(actor.id, RevocationReason.CERTIFICATE_HOLD, now, connector)
            recorder.release(transaction, certificate_id, version_id)
            return _present(transaction.connection, certificate_id)

        recorded = await self._database.write(write)
        self._scheduler.wake()
        return recorded

    async def version(self, certificate_id: str, version_id: str) -> VersionRecord:
        """One version of a certificate; NotFound if there is none."""

        def load(connection: Connection) -> VersionRecord:
            found = get_version(connection, certificate_id, version_id)
            if found is None:
                raise version_not_found()
            return found

        return await self._database.read(load)


def _lock(transaction: Transaction, certificate_id: str) -> CertificateState:
    certificate = lock_certificate(transaction, certificate_id)
    if certificate is None:
        raise certificate_not_found()
    if certificate.profile_id == IMPORTED_PROFILE_ID:
        raise Conflict(
            "certificate-imported",
            "this certificate was imported: only the CA that issued it can revoke it",
            hint="ask whoever runs that CA (the certificate's issuer names it); archive the "
            "certificate here once it is replaced",
        )
    if certificate.version_id is None:
        raise Conflict(
            "certificate-not-issued",
            "the CA has not issued this certificate yet: there is nothing to revoke",
            hint="cancel its order: POST /api/v1/orders/{id}/cancel",
        )
    return certificate


def _present(connection: Connection, certificate_id: str) -> Recorded:
    found = get_certificate(connection, certificate_id)
    if found is None:
        raise certificate_not_found()
    revocations = revocations_of(connection, certificate_id).values()
    return Recorded(found, any(revocation.state in OPEN_STATES for revocation in revocations))


def _check_hold(connector: Connector | None, reason: RevocationReason) -> None:
    on_hold = reason is RevocationReason.CERTIFICATE_HOLD
    if on_hold and connector is not None and not connector.abilities.hold:
        raise InvalidInput(
            "hold-not-supported",
            "this issuer cannot put a certificate on hold",
            field="reason",
            hint="revoke it for good, with another reason",
        )


class _Again(Enum):
    """What revoking a version means that was revoked before."""

    SAME = auto()
    CHANGED = auto()
    OTHER_REASON = auto()


class Recorder:
    """Writes revocations for one reason at one moment, within a transaction.

    `connector` is None where the issuer's settings do not work: its CA is told once they do.
    """

    def __init__(
        self,
        actor: str,
        reason: RevocationReason,
        now_ms: int,
        connector: Connector | None,
        bulk_id: str | None = None,
    ) -> None:
        self._actor = actor
        self._reason = reason
        self._now = now_ms
        self._bulk_id = bulk_id
        # Our own CA has nobody to tell: what is recorded is what it says.
        self._has_to_tell = connector is None or connector.recovery is not Recovery.INTERNAL
        self._signs = isinstance(connector, SignsStatus)

    def revoke(
        self,
        transaction: Transaction,
        certificate_id: str,
        newest_version_id: str | None,
        version_id: str | None,
    ) -> None:
        """Revoke one version of a locked certificate, or all that have not expired."""
        existing = lock_revocations_of(transaction, certificate_id)
        valid = valid_versions(transaction.connection, [certificate_id], self._now)
        if version_id is not None:
            valid = [version for version in valid if version.id == version_id]
            if version_id in existing and not valid:
                return  # it was revoked, and has expired since
        elif not valid and existing:
            return
        if not valid:
            self._refuse_missing(transaction, certificate_id, version_id)
        again = [
            self._again(transaction, existing[version.id])
            for version in valid
            if version.id in existing
        ]
        new = [version for version in valid if version.id not in existing]
        if not new and set(again) == {_Again.OTHER_REASON}:
            raise Conflict(
                "already-revoked",
                "it is revoked already, with another reason",
                field="reason",
                hint="a recorded reason is not changed; only a hold can be made final",
            )
        self.revoke_versions(transaction, new)
        if newest_version_id in {version.id for version in new}:
            self.end_renewal(transaction, [certificate_id])
        if _Again.CHANGED in again:
            self._publish(transaction, {version.issuer_id for version in valid})

    def revoke_versions(self, transaction: Transaction, versions: Sequence[ValidVersion]) -> None:
        """Record versions that have no revocation yet; the certificates' rows are the caller's."""
        insert_revocations(transaction, [self._record(version) for version in versions])
        for version in versions:
            self._audit(transaction, "certificate.revoked", version)
        if versions:
            self._publish(transaction, {version.issuer_id for version in versions})

    def end_renewal(self, transaction: Transaction, certificate_ids: Sequence[str]) -> None:
        """Mark certificates whose newest version is revoked, and take their orders back."""
        mark_revoked(transaction, certificate_ids, self._now)
        for order in cancel_unsent_orders(transaction, certificate_ids, self._now):
            transaction.audit(
                AuditEvent(
                    at_ms=self._now,
                    actor=self._actor,
                    action="order.cancelled",
                    object_type="certificate",
                    object_id=order.certificate_id,
                    detail={"order_id": order.id, "issuer_id": order.issuer_id},
                )
            )

    def release(
        self, transaction: Transaction, certificate_id: str, version_id: str | None
    ) -> None:
        """Begin the end of a hold; the step that the scheduler takes ends it."""
        found = lock_revocations_of(transaction, certificate_id)
        chosen = [record for key, record in found.items() if version_id in {None, key}]
        held = [record for record in chosen if record.reason is self._reason]
        if not held:
            raise Conflict(
                "not-on-hold",
                "no hold is in effect, so there is none to take back",
                hint="only a revocation with the reason certificateHold can be taken back",
            )
        for record in held:
            if record.action is RevocationAction.RELEASE:
                continue  # under way
            restart_revocation(transaction, self._restarted(record, RevocationAction.RELEASE))
            self._audit(transaction, "certificate.hold_released", record)

    def _again(self, transaction: Transaction, record: RevocationRecord) -> _Again:
        """Revoke what has a revocation."""
        refused = record.state is RevocationState.REFUSED
        same = record.reason is self._reason and record.action is RevocationAction.REVOKE
        if same and not refused:
            return _Again.SAME
        if not refused and record.reason is not RevocationReason.CERTIFICATE_HOLD:
            return _Again.OTHER_REASON
        wanted = replace(record, reason=self._reason)
        restart_revocation(transaction, self._restarted(wanted, RevocationAction.REVOKE))
        self._audit(transaction, "certificate.revoked", record)
        return _Again.CHANGED

    def _restarted(self, record: RevocationRecord, action: RevocationAction) -> RevocationRecord:
        done = not self._has_to_tell and action is RevocationAction.REVOKE
        return replace(
            record,
            action=action,
            state=RevocationState.CONFIRMED if done else RevocationState.REQUESTED,
            problem=None,
            reference=None,
            attempts=0,
            requested_at=self._now,
            due_at=None if done else self._now,
            updated_at=self._now,
        )

    def _record(self, version: ValidVersion) -> RevocationRecord:
        state = RevocationState.REQUESTED if self._has_to_tell else RevocationState.CONFIRMED
        return RevocationRecord(
            id=new_id("rev", self._now),
            version_id=version.id,
            certificate_id=version.certificate_id,
            issuer_id=version.issuer_id,
            serial=version.serial,
            not_after=version.not_after,
            reason=self._reason,
            action=RevocationAction.REVOKE,
            state=state,
            problem=None,
            reference=None,
            attempts=0,
            bulk_id=self._bulk_id,
            revoked_at=self._now,
            requested_at=self._now,
            due_at=self._now if self._has_to_tell else None,
            epoch=0,
            created_at=self._now,
            updated_at=self._now,
        )

    def _publish(self, transaction: Transaction, issuer_ids: set[str]) -> None:
        """Have CRLs made and kept OCSP answers dropped, where both are ours."""
        if not self._signs:
            return
        for issuer_id in sorted(issuer_ids):
            mark_crl_due(transaction, issuer_id, self._now + CRL_DELAY_MS)
        transaction.changed()

    def _refuse_missing(
        self, transaction: Transaction, certificate_id: str, version_id: str | None
    ) -> None:
        connection = transaction.connection
        if version_id is not None and get_version(connection, certificate_id, version_id) is None:
            raise version_not_found()
        raise Conflict(
            "certificate-expired",
            "it has expired: there is nothing left to revoke",
            hint="an expired certificate is not accepted by anybody",
        )

    def _audit(
        self, transaction: Transaction, action: str, about: ValidVersion | RevocationRecord
    ) -> None:
        detail = {
            "version_id": about.id if isinstance(about, ValidVersion) else about.version_id,
            "issuer_id": about.issuer_id,
            "serial": about.serial,
            "reason": self._reason.value,
        }
        if self._bulk_id is not None:
            detail["bulk_id"] = self._bulk_id
        transaction.audit(
            AuditEvent(
                at_ms=self._now,
                actor=self._actor,
                action=action,
                object_type="certificate",
                object_id=about.certificate_id,
                detail=detail,
            )
        )


def certificate_not_found() -> NotFound:
    """There is no certificate of that id."""
    return NotFound(
        "certificate-not-found",
        "there is no certificate of that id",
        hint="list the certificates: GET /api/v1/certificates, or `certctl certs`",
    )


def version_not_found() -> NotFound:
    """The certificate has no version of that id."""
    return NotFound(
        "version-not-found",
        "this certificate has no version of that id",
        hint="list its versions: GET /api/v1/certificates/{id}/versions",
    )
