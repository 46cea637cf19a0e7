"""The REST API as typed methods."""

from __future__ import annotations

from certctl.client.audit import AuditCalls
from certctl.client.certificates import CertificateCalls
from certctl.client.connection import parse
from certctl.client.issuers import IssuerCalls
from certctl.client.keys import KeyCalls
from certctl.client.orders import OrderCalls
from certctl.client.profiles import ProfileCalls
from certctl.client.records import RecordCalls
from certctl.client.revocations import RevocationCalls
from certctl.client.secrets import SecretCalls
from certctl.schemas.common import Health


class Client(
    CertificateCalls,
    RecordCalls,
    OrderCalls,
    RevocationCalls,
    IssuerCalls,
    ProfileCalls,
    KeyCalls,
    SecretCalls,
    AuditCalls,
):
    """One server, one API key. A context manager; not for use by several threads at once.

    `transport`, `sleep` and `clock` are for tests. Every method raises `ClientError`.
    """

    # The server itself

    def health(self) -> Health:
        """Whether the server answers."""
        return parse(Health, self._get("/healthz"))

    def ready(self) -> Health:
        """Whether the server can work; an ApiError with status 503 if it cannot."""
        return parse(Health, self._get("/readyz"))
