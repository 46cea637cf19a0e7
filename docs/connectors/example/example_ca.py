"""A connector to Example CA, which takes an order now and issues the certificate later."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from pydantic import Field, SecretStr

from certctl.connectors.config import RemoteConfig
from certctl.connectors.contract import (
    CheckResult,
    ConnectorContext,
    ConnectorType,
    IssuanceRequest,
    IssuedCertificate,
    Pending,
    Reference,
    RevocationRequest,
    Revoked,
)
from certctl.connectors.errors import BadAnswer, Refused
from certctl.connectors.transport import Endpoint, Transport
from certctl.connectors.triage import Step, raise_for_status
from certctl.domain.orders import Recovery
from certctl.domain.profiles import Abilities
from certctl.domain.serials import serial_hex
from certctl.pki.certificates import split_pem_certificates


# settings
class ExampleConfig(RemoteConfig):
    """Settings of an account at Example CA."""

    env_prefix: ClassVar[str] = "CERTCTL_EXAMPLE_"

    api_url: str = Field(description="Address of the API, https")
    api_key: SecretStr = Field(description="The account's key")
    api_secret: SecretStr = Field(description="Its secret")
    client_cert_path: str = Field(description="PEM file with the client certificate")
    client_key_path: str = Field(description="PEM file with its private key")
    server_ca_path: str | None = Field(
        default=None, description="PEM bundle to trust instead of the system's"
    )


class ExampleConnector:
    """Speaks to Example CA for one issuer."""

    # what it is
    recovery = Recovery.LOOKUP
    abilities = Abilities(must_staple=False, max_validity=366 * 86_400)

    def __init__(self, config: ExampleConfig, transport: Transport) -> None:
        self._transport = transport
        self.poll_max_wait = float(config.poll_max_wait_seconds)
        self.host = transport.host

    # orders
    async def issue(self, request: IssuanceRequest) -> IssuedCertificate | Pending:
        """Place an order, under our own order's id."""
        body = {
            "reference": request.order_id,
            "csr": request.csr.pem,
            "names": [str(name) for name in request.names],
            "usages": [usage.value for usage in request.usages],
            "validity_seconds": request.validity,
        }
        later = {"Prefer": "respond-async"}
        reply = await self._transport.send("POST", "/v1/orders", json=body, headers=later)
        raise_for_status(reply, Step.SUBMIT)
        return _order(reply.json())

    async def poll(
        self, request: IssuanceRequest, reference: Reference
    ) -> IssuedCertificate | Pending:
        """Ask what became of an order that Example CA took."""
        reply = await self._transport.send("GET", f"/v1/orders/{reference['id']}")
        raise_for_status(reply, Step.POLL)
        return _order(reply.json())

    # look-up
    async def lookup(self, request: IssuanceRequest) -> IssuedCertificate | Pending | None:
        """Find an order whose answer was lost, by the id that it was placed under."""
        reply = await self._transport.send(
            "GET", "/v1/orders", params={"reference": request.order_id}
        )
        raise_for_status(reply, Step.READ)
        orders = _field(reply.json(), "orders", list)
        return _order(orders[0]) if orders else None

    # revocations
    async def revoke(self, request: RevocationRequest) -> Revoked:
        """Revoke a certificate; one that is revoked already is what was wanted."""
        serial = serial_hex(request.certificate.serial_number)
        reply = await self._transport.send(
            "POST", f"/v1/certificates/{serial}/revoke", json={"reason": request.reason.value}
        )
        if reply.status != HTTPStatus.CONFLICT:  # its word for "revoked already"
            raise_for_status(reply, Step.REVOKE)
        return Revoked()

    # check
    async def check(self) -> CheckResult:
        """Look at the account."""
        reply = await self._transport.send("GET", "/v1/account")
        raise_for_status(reply, Step.READ)
        account = _field(reply.json(), "account", str)
        return CheckResult(self.host, f"account {account}")


# answers
def _order(body: Any) -> IssuedCertificate | Pending:
    reference = {"id": _field(body, "id", str)}
    match _field(body, "status", str):
        case "pending":
            return Pending(reference)
        case "rejected":
            error = _field(body, "error", dict)
            raise Refused(_field(error, "message", str), code=_field(error, "code", str))
        case "issued":
            try:
                (leaf,) = split_pem_certificates(_field(body, "certificate", str))
                chain = split_pem_certificates(_field(body, "chain", str))
            except ValueError:
                raise BadAnswer("the answer has a certificate that cannot be read") from None
            return IssuedCertificate(leaf, chain, reference)
        case _:
            raise BadAnswer("the answer has an order in a state that is not documented")


def _field(body: Any, name: str, kind: type) -> Any:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, kind):
        raise BadAnswer(f"the answer has no {name}")
    return value


# registration
async def build(config: ExampleConfig, context: ConnectorContext) -> ExampleConnector:
    """Make the connector of one issuer: its files are read, and nobody is called yet."""
    key, secret = config.api_key.get_secret_value(), config.api_secret.get_secret_value()
    endpoint = Endpoint(
        base_url=config.api_url,
        certificate_path=config.client_cert_path,
        key_path=config.client_key_path,
        trust_path=config.server_ca_path,
        headers={"X-API-Key": key, "X-API-Secret": secret},
        secrets=(key, secret),
    )
    transport = context.transports.open(endpoint)
    await transport.prepare()
    return ExampleConnector(config, transport)


CONNECTOR = ConnectorType(
    name="ExampleCA",
    aliases=("example",),
    title="Example CA",
    issuer_id="iss-example",
    config=ExampleConfig,
    factory=build,
)
