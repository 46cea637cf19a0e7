"""The REST API as typed methods."""

from __future__ import annotations

import random
import time
import uuid
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote

from certctl.client.connection import ANSWER_SECONDS, Connection, parse
from certctl.client.errors import ApiError, ClientError, ConnectionFailed
from certctl.client.retry import RetryPolicy
from certctl.schemas.audit import AuditEventView, AuditVerification
from certctl.schemas.certificates import (
    CertificateSummary,
    CertificateView,
    OrderDetail,
    OrderView,
)
from certctl.schemas.common import Health, Page
from certctl.schemas.issuers import IssuerView, ProfileView

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from certctl.client.config import ServerAccess
    from certctl.schemas.certificates import CertificateCreate, OrderStatus

Format = Literal["pem", "chain", "der"]

#: The longest that the server holds a request open (`Prefer: wait`).
MAX_SERVER_WAIT = 60
#: States that no waiting changes: the end, or a person's turn.
SETTLED: frozenset[OrderStatus] = frozenset(
    {"issued", "rejected", "expired", "cancelled", "uncertain", "awaiting_csr"}
)

_VERIFY_SECONDS = 600.0
_FIRST_POLL = 0.5
_SLOWEST_POLL = 5.0
_RETRIED = frozenset({502, 503, 504})
_NOT_RETRIED = frozenset({"issuer-not-ready"})  # only an operator changes that
_chance = random.SystemRandom()


class Client:
    """One server, one API key. A context manager; not for use by several threads at once.

    `transport`, `sleep` and `clock` are for tests. Every method raises `ClientError`.
    """

    def __init__(
        self,
        access: ServerAccess,
        *,
        retry: RetryPolicy | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = Connection(access, transport=transport)
        self.url = access.url
        self.has_key = access.api_key is not None
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    # Certificates

    def issue(
        self, request: CertificateCreate, *, idempotency_key: str | None = None, wait: float = 0
    ) -> CertificateView:
        """Order a certificate; its `version` is None while the CA works on it.

        The server is asked to wait up to `wait` seconds (60 at most). A lost answer is asked for
        again under the same key (a random one by default), so that it never makes a second
        certificate. An error that is `uncertain` may be repeated with that key for 24 hours.
        """
        seconds = max(0, min(int(wait), MAX_SERVER_WAIT))
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if seconds:
            headers["Prefer"] = f"wait={seconds}"
        failures = 0
        uncertain = False
        while True:
            try:
                return parse(
                    CertificateView,
                    self._connection.send(
                        "POST",
                        "/api/v1/certificates",
                        body=request,
                        headers=headers,
                        answer_within=ANSWER_SECONDS + seconds,
                    ),
                )
            except ClientError as error:
                failures += 1
                # What a lost answer may have done, no later refusal undoes.
                uncertain = error.uncertain = error.uncertain or uncertain
                pause = None
                if _may_pass(error):
                    retry_after = error.retry_after if isinstance(error, ApiError) else None
                    pause = self._retry.delay(failures, _chance.random(), retry_after)
                if pause is None:
                    raise
                self._sleep(pause)

    def certificates(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[CertificateSummary]:
        """One page of the inventory, newest first."""
        answer = self._get("/api/v1/certificates", limit=limit, cursor=cursor)
        return parse(Page[CertificateSummary], answer)

    def certificate(self, certificate_id: str) -> CertificateView:
        """A certificate with its newest version."""
        return parse(CertificateView, self._get(_at("certificates", certificate_id)))

    def download(self, certificate_id: str, file_format: Format = "pem") -> bytes:
        """The newest version: the leaf (`pem`, `der`), or with its issuers (`chain`)."""
        path = f"{_at('certificates', certificate_id)}/download"
        return self._get(path, format=file_format).content

    # Orders

    def orders(
        self,
        *,
        state: OrderStatus | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[OrderView]:
        """One page of orders, newest first."""
        answer = self._get("/api/v1/orders", state=state, limit=limit, cursor=cursor)
        return parse(Page[OrderView], answer)

    def order(self, order_id: str) -> OrderDetail:
        """An order with its history."""
        return parse(OrderDetail, self._get(_at("orders", order_id)))

    def cancel_order(self, order_id: str) -> OrderView:
        """Take an order back."""
        path = f"{_at('orders', order_id)}/cancel"
        return parse(OrderView, self._connection.send("POST", path))

    def wait_for_order(
        self,
        order_id: str,
        timeout: float,
        *,
        on_poll: Callable[[OrderDetail], None] | None = None,
    ) -> OrderDetail:
        """The order once it is settled, or as it stood when `timeout` seconds were over.

        A server that is away for a moment does not end the waiting; one that was never reached
        raises the last error.
        """
        end = self._clock() + timeout
        pause = _FIRST_POLL
        order: OrderDetail | None = None
        while True:
            try:
                order = self.order(order_id)
            except ClientError as error:
                if not _may_pass(error) or (order is None and self._clock() >= end):
                    raise
            else:
                if on_poll is not None:
                    on_poll(order)
                if order.state in SETTLED:
                    return order
            left = end - self._clock()
            if left <= 0 and order is not None:
                return order
            self._sleep(max(0.0, min(pause * (0.8 + 0.4 * _chance.random()), left)))
            pause = min(pause * 2, _SLOWEST_POLL)

    # Issuers and profiles

    def issuers(self) -> Page[IssuerView]:
        """Every issuer."""
        return parse(Page[IssuerView], self._get("/api/v1/issuers"))

    def issuer(self, issuer_id: str) -> IssuerView:
        """One issuer."""
        return parse(IssuerView, self._get(_at("issuers", issuer_id)))

    def issuer_ca(self, issuer_id: str) -> str:
        """PEM of the issuer's own certificates: the signing CA first, the root last."""
        return self._get(f"{_at('issuers', issuer_id)}/ca").text

    def profiles(self) -> Page[ProfileView]:
        """Every profile."""
        return parse(Page[ProfileView], self._get("/api/v1/profiles"))

    def profile(self, profile_id: str) -> ProfileView:
        """One profile."""
        return parse(ProfileView, self._get(_at("profiles", profile_id)))

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

    def _get(self, path: str, **params: str | int | None) -> httpx2.Response:
        return self._connection.send("GET", path, params=params)


def _at(noun: str, object_id: str) -> str:
    return f"/api/v1/{noun}/{quote(object_id, safe='')}"


def _may_pass(error: ClientError) -> bool:
    match error:
        case ApiError():
            return error.status in _RETRIED and error.code not in _NOT_RETRIED
        case ConnectionFailed():
            return error.passing
        case _:
            return False
