"""The REST API as typed methods."""

from __future__ import annotations

from certctl.client.calls import at
from certctl.client.certificates import CertificateCalls
from certctl.client.connection import parse
from certctl.client.orders import OrderCalls
from certctl.client.revocations import RevocationCalls
from certctl.schemas.audit import AuditEventView, AuditVerification
from certctl.schemas.common import Health, Page
from certctl.schemas.issuers import IssuerView, ProfileView

_VERIFY_SECONDS = 600.0


class Client(CertificateCalls, OrderCalls, RevocationCalls):
    """One server, one API key. A context manager; not for use by several threads at once.

    `transport`, `sleep` and `clock` are for tests. Every method raises `ClientError`.
    """

    # Issuers and profiles

    def issuers(self) -> Page[IssuerView]:
        """Every issuer."""
        return parse(Page[IssuerView], self._get("/api/v1/issuers"))

    def issuer(self, issuer_id: str) -> IssuerView:
        """One issuer."""
        return parse(IssuerView, self._get(at("issuers", issuer_id)))

    def issuer_ca(self, issuer_id: str) -> str:
        """PEM of the issuer's own certificates: the signing CA first, the root last."""
        return self._get(at("issuers", issuer_id, "ca")).text

    def profiles(self) -> Page[ProfileView]:
        """Every profile."""
        return parse(Page[ProfileView], self._get("/api/v1/profiles"))

    def profile(self, profile_id: str) -> ProfileView:
        """One profile."""
        return parse(ProfileView, self._get(at("profiles", profile_id)))

    # Audit log

    def audit_events(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[AuditEventView]:
        """One page of the audit log, newest first."""
        return parse(Page[AuditEventView], self._get("/api/v1/audit", limit=limit, cursor=cursor))

    def verify_audit(self) -> AuditVerification:
        """Have the server check every chain of its audit log."""
        answer = self._connection.send(
            "POST", "/api/v1/audit/verify", answer_within=_VERIFY_SECONDS
        )
        return parse(AuditVerification, answer)

    # The server itself

    def health(self) -> Health:
        """Whether the server answers."""
        return parse(Health, self._get("/healthz"))

    def ready(self) -> Health:
        """Whether the server can work; an ApiError with status 503 if it cannot."""
        return parse(Health, self._get("/readyz"))
