"""A certificate that came in is kept: as its certificate's newest version, or as a spare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.renewal import renewal_time
from certctl.domain.revocations import RevocationReason
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.revocations import Recorder
from certctl.storage.certificates import add_spare_version, add_version, lock_certificate
from certctl.storage.revocations import revocations_of
from certctl.storage.versions import ValidVersion

if TYPE_CHECKING:
    from certctl.connectors.contract import Connector
    from certctl.storage.database import Transaction
    from certctl.storage.versions import VersionRecord


def keep_newest(
    transaction: Transaction, connector: Connector | None, version: VersionRecord, now_ms: int
) -> None:
    """Make it the newest; where the certificate was revoked meanwhile, revoke it as well.

    A certificate on hold keeps the new version on hold, so that one release ends both.
    """
    certificate = lock_certificate(transaction, version.certificate_id)
    renew_at = renewal_time(version.certificate_id, version.not_before, version.not_after)
    add_version(transaction, version, renew_at, now_ms)
    if certificate is None or certificate.status != "revoked":
        return
    before = revocations_of(transaction.connection, version.certificate_id)
    revoked = before.get(certificate.version_id or "")
    reason = RevocationReason.CESSATION_OF_OPERATION
    if revoked is not None and revoked.reason is RevocationReason.CERTIFICATE_HOLD:
        reason = RevocationReason.CERTIFICATE_HOLD
    Recorder(SYSTEM.id, reason, now_ms, connector).revoke(
        transaction, version.certificate_id, version.id, version.id
    )


def keep_spare(
    transaction: Transaction, connector: Connector | None, version: VersionRecord, now_ms: int
) -> None:
    """Keep what nobody asked for a second time, and have the CA told that it is not wanted."""
    lock_certificate(transaction, version.certificate_id)
    add_spare_version(transaction, version)
    spare = ValidVersion(
        version.id, version.certificate_id, version.issuer_id, version.serial, version.not_after
    )
    recorder = Recorder(SYSTEM.id, RevocationReason.SUPERSEDED, now_ms, connector)
    recorder.revoke_versions(transaction, [spare])
