"""The dialect `headers`: key and secret with every request, and a CSR in every order."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from certctl.connectors.contract import CheckResult, IssuedCertificate, Pending, Revoked
from certctl.connectors.errors import BadAnswer, Refused, Unauthorized
from certctl.connectors.globalsign.answers import (
    certificates_in,
    checked_serial,
    reference_of,
    serial_in,
    serial_of,
    text_of,
    told_reason,
)
from certctl.connectors.globalsign.orders import common_name_of, san_of, validity_of
from certctl.connectors.triage import Step, raise_for_status, retry_after
from certctl.connectors.words import usual_words
from certctl.domain.orders import Recovery
from certctl.domain.profiles import Abilities

if TYPE_CHECKING:
    from certctl.connectors.contract import (
        ConnectorContext,
        IssuanceRequest,
        Reference,
        RevocationRequest,
    )
    from certctl.connectors.globalsign.config import GlobalSignConfig
    from certctl.connectors.transport import Reply

_REFUSED = frozenset({"rejected", "denied", "failed"})
#: What no certificate has (RFC 5280 §4.1.2.2): asking for it proves the credentials.
_NO_SERIAL = "00"
_UNKNOWN = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
)


class HeadersConnector:
    """Orders by CSR, polls by serial. A lost one is a person's affair: nothing is listed."""

    recovery = Recovery.ASK
    abilities = Abilities(must_staple=False)

    def __init__(self, config: GlobalSignConfig, context: ConnectorContext) -> None:
        self.transport = context.transports.open(
            config.endpoint(
                {
                    "X-API-Key": config.api_key.get_secret_value(),
                    "X-API-Secret": config.api_secret.get_secret_value(),
                }
            )
        )
        self._clock = context.clock
        self.poll_max_wait = float(config.poll_max_wait_seconds)

    @property
    def host(self) -> str:
        """The host that is called."""
        return self.transport.host

    async def issue(self, request: IssuanceRequest) -> IssuedCertificate | Pending:
        """Place an order."""
        now_ms = request.submitted_at or self._clock.now_ms()
        not_before = now_ms // 1000
        common_name = common_name_of(request)
        body: dict[str, Any] = {
            "csr": request.csr.pem,
            "subject_dn": {} if common_name is None else {"common_name": common_name},
            "san": san_of(request.names),
            "validity": validity_of(not_before, request.validity),
        }
        reply = await self.transport.send("POST", "/certificates", json=body)
        _raise_for_status(reply, Step.SUBMIT)
        serial = checked_serial(text_of(reply.json(), "serial_number"))
        return _order(reply, serial)

    async def poll(
        self, request: IssuanceRequest, reference: Reference
    ) -> IssuedCertificate | Pending:
        """Ask whether the certificate is there."""
        del request
        serial = serial_in(reference)
        reply = await self.transport.send("GET", f"/certificates/{serial}")
        if reply.status == HTTPStatus.ACCEPTED:
            return Pending(reference, retry_after(reply))
        _raise_for_status(reply, Step.POLL)
        return _order(reply, serial)

    async def revoke(self, request: RevocationRequest) -> Revoked:
        """Revoke a certificate; one that is revoked already is what was wanted."""
        serial = serial_of(request)
        reply = await self.transport.send(
            "PUT", f"/certificates/{serial}/revoke", json={"reason": told_reason(request.reason)}
        )
        if reply.status != HTTPStatus.CONFLICT:
            _raise_for_status(reply, Step.REVOKE)
        return Revoked()

    async def check(self) -> CheckResult:
        """Ask for a certificate that cannot be there: the API answers so to good credentials only.

        An address where something else answers has other words for it, and is not taken for it.
        """
        reply = await self.transport.send("GET", f"/certificates/{_NO_SERIAL}")
        if reply.status not in _UNKNOWN:
            _raise_for_status(reply, Step.READ)
        if not _is_of_the_api(reply):
            raise BadAnswer(
                f"something answers at this address (HTTP {reply.status}) that is not the API: "
                "check api_url"
            )
        return CheckResult(
            self.host, "dialect headers; client certificate, key and secret accepted"
        )


def _is_of_the_api(reply: Reply) -> bool:
    """Whether an answer has words as an API has them; a web server's page has none."""
    if reply.status in _UNKNOWN:
        return usual_words(reply) is not None
    try:
        return isinstance(reply.json(), dict)
    except BadAnswer:
        return False


def _raise_for_status(reply: Reply, step: Step) -> None:
    """As for every CA, and say which half of the credentials was not accepted."""
    try:
        raise_for_status(reply, step)
    except Unauthorized as error:
        half = "the API key and secret were" if reply.status == HTTPStatus.UNAUTHORIZED else ""
        half = half or "the account, its key or its client certificate was"
        raise Unauthorized(
            f"{half} not accepted: {error.detail}", code=error.code, retry_after=error.retry_after
        ) from None


def _order(reply: Reply, serial: str) -> IssuedCertificate | Pending:
    body = reply.json()
    if not isinstance(body, dict):
        raise BadAnswer("the CA's answer is not an object")
    status = body.get("status")
    word = status.lower() if isinstance(status, str) else ""
    if word in _REFUSED:
        said = usual_words(reply)
        words = said.detail if said is not None and said.detail else f"the CA says: {word}"
        code = said.code if said is not None and said.code else word
        raise Refused(reply.shown(words), code=reply.shown(code))
    pem = body.get("certificate")
    if not isinstance(pem, str) or not pem.strip():
        return Pending(reference_of(serial), retry_after(reply))
    leaf, *rest = certificates_in(pem)
    chain = body.get("chain")
    text = "\n".join(str(part) for part in chain) if isinstance(chain, list) else chain
    if isinstance(text, str) and text.strip():
        rest = certificates_in(text)
    return IssuedCertificate(leaf, rest, reference_of(serial))
