"""A connector to the stand-in CA of certctl's tests, as a third party would ship one.

It can lose an answer in each of the ways that there are: `recovery` says which of the stand-in's
means it uses to find out what became of an order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from certctl.connectors.config import RemoteConfig
from certctl.connectors.contract import (
    CheckResult,
    ConnectorContext,
    ConnectorType,
    IssuanceRequest,
    IssuedCertificate,
    Pending,
    Reference,
    RevocationPending,
    RevocationRequest,
    Revoked,
)
from certctl.connectors.errors import BadAnswer, Refused
from certctl.connectors.transport import Endpoint, Reply
from certctl.connectors.triage import Step, raise_for_status
from certctl.domain.orders import Recovery
from certctl.domain.profiles import Abilities
from certctl.domain.serials import serial_hex
from certctl.pki.certificates import split_pem_certificates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from certctl.connectors.transport import Transport

_NOT_FOUND = 404
_CONFLICT = 409


class StandInConfig(RemoteConfig):
    """Settings of an account at the stand-in."""

    env_prefix: ClassVar[str] = "CERTCTL_STANDIN_"

    api_url: str = Field(description="Address of its API, https")
    api_key: SecretStr
    api_secret: SecretStr
    client_cert_path: str | None = Field(default=None, description="PEM file, our certificate")
    client_key_path: str | None = Field(default=None, description="PEM file, its private key")
    server_ca_path: str | None = Field(
        default=None, description="PEM bundle that replaces the system's trust"
    )
    recovery: Literal["idempotent", "lookup", "repeatable", "ask"] = "lookup"
    asynchronous: bool = Field(default=False, description="Ask it to take its time")

    @model_validator(mode="after")
    def _pair_goes_together(self) -> Self:
        if (self.client_cert_path is None) != (self.client_key_path is None):
            raise ValueError("client_cert_path and client_key_path go together")
        return self


class StandInConnector:
    """Orders at the stand-in, and asks a person where an answer was lost."""

    recovery = Recovery.ASK

    def __init__(self, config: StandInConfig, transport: Transport) -> None:
        self._transport = transport
        self._asynchronous = config.asynchronous
        self.poll_max_wait = float(config.poll_max_wait_seconds)
        self.abilities = Abilities(must_staple=False, max_validity=366 * 86_400, hold=True)

    @property
    def host(self) -> str:
        """The host that is called."""
        return self._transport.host

    async def issue(self, request: IssuanceRequest) -> IssuedCertificate | Pending:
        """Order a certificate."""
        headers = {"Prefer": "respond-async"} if self._asynchronous else {}
        reply = await self._transport.send(
            "POST",
            "/v1/orders",
            json={
                "reference": request.order_id,
                "csr": request.csr.pem,
                "names": [str(name) for name in request.names],
                "validity_seconds": request.validity,
                "usages": [usage.value for usage in request.usages],
            },
            headers=headers | self._order_headers(request),
        )
        raise_for_status(reply, Step.SUBMIT)
        return _order(reply, reply.json())

    async def poll(
        self, request: IssuanceRequest, reference: Reference
    ) -> IssuedCertificate | Pending:
        """Ask what became of an order."""
        del request
        reply = await self._transport.send("GET", f"/v1/orders/{reference['id']}")
        raise_for_status(reply, Step.POLL)
        return _order(reply, reply.json())

    async def revoke(self, request: RevocationRequest) -> Revoked | RevocationPending:
        """Revoke a certificate; one that is revoked already is what was wanted."""
        reply = await self._transport.send(
            "POST", f"{_path(request)}/revoke", json={"reason": request.reason.value}
        )
        if reply.status == _CONFLICT:
            return Revoked()
        raise_for_status(reply, Step.REVOKE)
        return _revocation(reply)

    async def release(self, request: RevocationRequest) -> Revoked:
        """End a hold."""
        reply = await self._transport.send("POST", f"{_path(request)}/release")
        raise_for_status(reply, Step.REVOKE)
        return Revoked()

    async def poll_revocation(
        self, request: RevocationRequest, reference: Reference
    ) -> Revoked | RevocationPending:
        """Ask whether a certificate is revoked by now."""
        del reference
        reply = await self._transport.send("GET", _path(request))
        raise_for_status(reply, Step.READ)
        return _revocation(reply)

    async def check(self) -> CheckResult:
        """Look at the account."""
        reply = await self._transport.send("GET", "/v1/account")
        raise_for_status(reply, Step.READ)
        return CheckResult(self.host, f"account {_text(reply.json(), 'account')}")

    def _order_headers(self, request: IssuanceRequest) -> dict[str, str]:
        del request
        return {}


class RepeatableStandIn(StandInConnector):
    """Orders again where an answer was lost, and may have two certificates then."""

    recovery = Recovery.REPEATABLE


class IdempotentStandIn(StandInConnector):
    """Orders again under the same key, which the stand-in knows."""

    recovery = Recovery.IDEMPOTENT

    def _order_headers(self, request: IssuanceRequest) -> dict[str, str]:
        return {"Idempotency-Key": request.order_id}


class LookupStandIn(StandInConnector):
    """Looks for the order by the reference that it gave it."""

    recovery = Recovery.LOOKUP

    async def lookup(self, request: IssuanceRequest) -> IssuedCertificate | Pending | None:
        """Find the order, or be certain that there is none."""
        reply = await self._transport.send(
            "GET", "/v1/orders", params={"reference": request.order_id}
        )
        raise_for_status(reply, Step.READ)
        body = reply.json()
        if not isinstance(body, dict) or not isinstance(body.get("orders"), list):
            raise BadAnswer("the CA's answer has no list of orders")
        return _order(reply, body["orders"][0]) if body["orders"] else None


_BY_RECOVERY: dict[str, type[StandInConnector]] = {
    kind.recovery.value: kind
    for kind in (StandInConnector, RepeatableStandIn, IdempotentStandIn, LookupStandIn)
}


def _path(request: RevocationRequest) -> str:
    return f"/v1/certificates/{serial_hex(request.certificate.serial_number)}"


def _order(reply: Reply, body: Any) -> IssuedCertificate | Pending:
    status, reference = _text(body, "status"), {"id": _text(body, "id")}
    if status == "pending":
        return Pending(reference, _retry_after(reply))
    if status == "rejected":
        error = body.get("error")
        raise Refused(_text(error, "message"), code=_text(error, "code"))
    if status != "issued":
        raise BadAnswer("the CA's answer has a status that is not known here")
    try:
        certificate, *_ = split_pem_certificates(_text(body, "certificate"))
        chain = split_pem_certificates(_text(body, "chain"))
    except ValueError:
        raise BadAnswer("the CA's answer has a certificate that cannot be read") from None
    return IssuedCertificate(certificate, chain, reference)


def _revocation(reply: Reply) -> Revoked | RevocationPending:
    status = _text(reply.json(), "status")
    if status == "revocation_pending":
        return RevocationPending({"status": status}, _retry_after(reply))
    if status == "revocation_refused":
        raise Refused("the CA keeps the certificate valid", code=status)
    if status != "revoked":
        raise BadAnswer("the CA's answer does not say that the certificate is revoked")
    return Revoked()


def _retry_after(reply: Reply) -> float | None:
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def _text(body: Any, name: str) -> str:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str):
        raise BadAnswer(f"the CA's answer has no {name}")
    return value


async def build(config: StandInConfig, context: ConnectorContext) -> StandInConnector:
    """Make the connector; nobody is called and no file is read yet."""
    key, secret = config.api_key.get_secret_value(), config.api_secret.get_secret_value()
    headers: Mapping[str, str] = {"X-API-Key": key, "X-API-Secret": secret}
    transport = context.transports.open(
        Endpoint(
            base_url=config.api_url,
            certificate_path=config.client_cert_path,
            key_path=config.client_key_path,
            trust_path=config.server_ca_path,
            headers=headers,
            secrets=(key, secret),
        )
    )
    return _BY_RECOVERY[config.recovery](config, transport)


CONNECTOR = ConnectorType(
    name="StandIn",
    aliases=("stand_in",),
    title="Stand-in",
    issuer_id="iss-standin",
    config=StandInConfig,
    factory=build,
)
