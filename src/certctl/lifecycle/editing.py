"""What people change about a certificate itself: owner and labels, and whether it is archived."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from certctl.domain.audit import AuditEvent, changes
from certctl.domain.errors import Conflict
from certctl.domain.imports import IMPORTED_PROFILE_ID
from certctl.domain.labels import merge_labels
from certctl.domain.renewal import renewal_time
from certctl.lifecycle.lookups import load_certificate
from certctl.lifecycle.revocations import certificate_not_found
from certctl.storage.details import Details, lock_details, store_details
from certctl.storage.orders import open_order_of
from certctl.storage.revocations import revoked_among
from certctl.storage.versions import get_version, valid_versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.storage.certificates import CertificateRecord
    from certctl.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Edit:
    """A merge patch (RFC 7396) of a certificate; what is not in `named` stays as it is.

    `updated_at` (milliseconds), where it is given, is what the certificate must have.
    """

    named: frozenset[str]
    owner: str | None = None
    labels: Mapping[str, str | None] | None = None
    updated_at: int | None = None


class Editing:
    """Changes certificates that are there. What is returned is durable."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def edit(self, actor: Actor, certificate_id: str, edit: Edit) -> CertificateRecord:
        """Change owner and labels; archived certificates too.

        Raises NotFound, InvalidInput for too many labels, Conflict where somebody has changed the
        certificate since it was read.
        """

        def write(transaction: Transaction) -> CertificateRecord:
            before = _locked(transaction, certificate_id)
            if edit.updated_at is not None and edit.updated_at != before.updated_at:
                raise Conflict(
                    "certificate-changed",
                    "the certificate was changed since it was read",
                    field="updated_at",
                    hint="read it again, and make your change to what it is now",
                )
            after = before
            if "owner" in edit.named:
                after = replace(after, owner=edit.owner)
            if "labels" in edit.named:
                after = replace(after, labels=merge_labels(after.labels, edit.labels))
            self._store(transaction, actor, "certificate.edited", before, after)
            return load_certificate(transaction.connection, certificate_id)

        return await self._database.write(write)

    async def archive(
        self, actor: Actor, certificate_id: str, *, although_valid: bool
    ) -> CertificateRecord:
        """Take a certificate out of the inventory, and renew it no more. Twice is harmless.

        It can still be revoked, and CRL and OCSP tell its status. Raises NotFound; Conflict while
        an order is open, and for one that is still valid unless that is what is wanted.
        """
        now = self._clock.now_ms()

        def write(transaction: Transaction) -> CertificateRecord:
            before = _locked(transaction, certificate_id)
            if before.archived_at is None:
                _check_no_open_order(transaction, certificate_id)
                if not although_valid:
                    _check_not_valid(transaction, certificate_id, now)
                after = replace(before, archived_at=now, renew_at=None)
                self._store(transaction, actor, "certificate.archived", before, after)
            return load_certificate(transaction.connection, certificate_id)

        return await self._database.write(write)

    async def unarchive(self, actor: Actor, certificate_id: str) -> CertificateRecord:
        """Put a certificate back into the inventory, to be renewed as if it had never left."""

        def write(transaction: Transaction) -> CertificateRecord:
            before = _locked(transaction, certificate_id)
            if before.archived_at is not None:
                after = replace(before, archived_at=None, renew_at=_renewal(transaction, before))
                self._store(transaction, actor, "certificate.unarchived", before, after)
            return load_certificate(transaction.connection, certificate_id)

        return await self._database.write(write)

    def _store(
        self,
        transaction: Transaction,
        actor: Actor,
        action: str,
        before: Details,
        after: Details,
    ) -> None:
        """Store and audit what differs; nothing where nothing does."""
        told = changes(_told(before), _told(after))
        if not told:
            return
        # Always another one, so that whoever read the certificate before can tell.
        now = max(self._clock.now_ms(), before.updated_at + 1)
        store_details(transaction, replace(after, updated_at=now))
        transaction.audit(
            AuditEvent(now, actor.id, action, "certificate", before.id, {"changes": told})
        )


def _locked(transaction: Transaction, certificate_id: str) -> Details:
    found = lock_details(transaction, certificate_id)
    if found is None:
        raise certificate_not_found()
    return found


def _told(details: Details) -> dict[str, Any]:
    """What people may change, as the audit log shows it."""
    told: dict[str, Any] = {f"labels.{key}": value for key, value in details.labels.items()}
    if details.owner is not None:
        told["owner"] = details.owner
    if details.archived_at is not None:
        told["archived"] = True
    return told


def _check_no_open_order(transaction: Transaction, certificate_id: str) -> None:
    order = open_order_of(transaction.connection, certificate_id)
    if order is not None:
        raise Conflict(
            "order-open",
            f"an order for this certificate is open: {order.id} is {order.state}",
            hint=f"wait for its end, or take it back: POST /api/v1/orders/{order.id}/cancel",
        )


def _check_not_valid(transaction: Transaction, certificate_id: str, now_ms: int) -> None:
    valid = valid_versions(transaction.connection, [certificate_id], now_ms)
    revoked = revoked_among(transaction.connection, [certificate_id])
    if any(version.id not in revoked for version in valid):
        raise Conflict(
            "certificate-valid",
            "the certificate is still valid, and whoever has its key can go on using it",
            hint="revoke it first; or archive it all the same, with `although_valid`",
        )


def _renewal(transaction: Transaction, details: Details) -> int | None:
    """When it is to be renewed, as after its issuance; None where nothing renews it."""
    if (
        details.version_id is None
        or details.status != "issued"
        or details.profile_id == IMPORTED_PROFILE_ID
    ):
        return None
    newest = get_version(transaction.connection, details.id, details.version_id)
    if newest is None:
        return None
    return renewal_time(details.id, newest.not_before, newest.not_after)
