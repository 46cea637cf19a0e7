"""Calls about one certificate: its history, what people change about it, and imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.client.calls import Calls, at
from certctl.client.connection import parse
from certctl.schemas.audit import AuditEventView
from certctl.schemas.certificates import CertificateView
from certctl.schemas.common import Page
from certctl.schemas.orders import OrderView
from certctl.schemas.records import ArchiveRequest, ImportResult

if TYPE_CHECKING:
    from certctl.schemas.records import CertificateEdit, CertificateImport


class RecordCalls(Calls):
    """`/api/v1/certificates/{id}`, and `/api/v1/certificates/import`."""

    def certificate_orders(
        self, certificate_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[OrderView]:
        """One page of a certificate's orders, newest first."""
        address = at("certificates", certificate_id, "orders")
        return parse(Page[OrderView], self._get(address, limit=limit, cursor=cursor))

    def certificate_events(
        self, certificate_id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[AuditEventView]:
        """One page of the audit events about a certificate, newest first."""
        address = at("certificates", certificate_id, "audit")
        return parse(Page[AuditEventView], self._get(address, limit=limit, cursor=cursor))

    def edit_certificate(self, certificate_id: str, edit: CertificateEdit) -> CertificateView:
        """Change owner and labels; what was not set in `edit` stays, None takes away.

        An ApiError with status 409 where `updated_at` is not the one that the certificate has now.
        """
        address = at("certificates", certificate_id)
        answer = self._connection.send("PATCH", address, body=edit, is_patch=True)
        return parse(CertificateView, answer)

    def archive_certificate(
        self, certificate_id: str, *, although_valid: bool = False
    ) -> CertificateView:
        """Take it out of the inventory, and renew it no more. Repeating is harmless.

        An ApiError with status 409 while an order is open, or where it is valid still.
        """
        address = at("certificates", certificate_id, "archive")
        body = ArchiveRequest(although_valid=although_valid)
        return parse(CertificateView, self._post(address, body))

    def unarchive_certificate(self, certificate_id: str) -> CertificateView:
        """Put it back into the inventory. Repeating is harmless."""
        return parse(CertificateView, self._post(at("certificates", certificate_id, "unarchive")))

    def import_certificate(self, certificate: CertificateImport) -> ImportResult:
        """Have a certificate kept and watched that certctl did not issue. Repeating is harmless.

        Only certificates belong into it: a private key is refused, and was sent all the same.
        """
        return parse(ImportResult, self._post("/api/v1/certificates/import", certificate))
