"""What the stand-in understands, without the network: one request in, one answer out.

JSON over HTTPS. Every request carries `X-API-Key` and `X-API-Secret`; where client certificates are
asked for, the key's own.

- `GET /v1/account`: `{"account", "orders"}`
- `POST /v1/orders` with `{"reference", "csr", "names", "validity_seconds", "usages"}`: 200 with
  `{"id", "status": "issued", "certificate", "chain"}`, 202 with `{"id", "status": "pending"}`
  (always with `Prefer: respond-async`, RFC 7240 §4.1), 422 with `{"error": {"code", "message"}}`.
  The same reference twice makes two orders, the same `Idempotency-Key` twice makes one.
- `GET /v1/orders/{id}`: the same bodies, `{"status": "rejected", "error"}`, 404.
- `GET /v1/orders?reference=…`: `{"orders": […]}`
- `POST /v1/certificates/{serial}/revoke` with `{"reason"}`: 200 `{"status": "revoked"}`, 202
  `{"status": "revocation_pending"}`, 409 for what is revoked; `…/release` ends a hold.
- `GET /v1/certificates/{serial}`: `{"serial", "status"}`
- `GET /v1/chain`: `{"chain"}`
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from certctl.domain.errors import CertctlError
from certctl.domain.names import parse_names
from certctl.domain.revocations import RevocationReason
from certctl.domain.serials import serial_hex
from certctl.domain.usages import Usage
from certctl.pki.certificates import chain_pem, to_pem
from certctl.pki.requests import parse_request
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in.desk import Call, Caller, Desk, Note
from tests.conformance.stand_in.hierarchy import strangers_request
from tests.conformance.stand_in.messages import No, json_answer
from tests.conformance.stand_in.spoiling import REFUSAL, after, before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography import x509

    from certctl.domain.names import Name
    from certctl.pki.requests import CertificateRequest
    from tests.conformance.stand_in.desk import Parts
    from tests.conformance.stand_in.hierarchy import Shop
    from tests.conformance.stand_in.messages import Answer, Request
    from tests.conformance.stand_in.script import Misbehaviour

_HOLD = RevocationReason.CERTIFICATE_HOLD.value
_LONGEST_SECONDS = 366 * 86_400


@dataclass(slots=True)
class _Order:
    id: str
    reference: str
    csr: CertificateRequest
    names: tuple[Name, ...]
    usages: tuple[Usage, ...]
    validity: int
    status: str = "pending"
    certificate: x509.Certificate | None = None


class Service(Desk):
    """The stand-in's mind."""

    def __init__(self, shop: Shop, parts: Parts, *, certificates: bool) -> None:
        super().__init__(parts)
        self._shop = shop
        self._certificates = certificates
        self._orders: dict[str, _Order] = {}
        self._by_key: dict[str, _Order] = {}
        self._by_reference: dict[str, list[_Order]] = {}
        #: Every certificate by serial: issued, revocation_pending, on_hold, revoked.
        self._statuses: dict[str, str] = {}

    def mark_revoked(self, serial: str) -> None:
        """Have a certificate revoked by nobody's request."""
        self._statuses[serial] = "revoked"

    def _reference(self, operation: Operation | None, subject: str, request: Request) -> str | None:
        """The customer's own name for the order that a request is about."""
        match operation:
            case Operation.SUBMIT:
                with suppress(No):
                    return str(_object(request.body).get("reference"))
            case Operation.LOOKUP:
                return subject
            case Operation.POLL if subject in self._orders:
                return self._orders[subject].reference
        return None

    def _read(self, request: Request) -> Call:
        operation, subject = _route(request)
        key, secret = (request.headers.get(name) for name in ("x-api-key", "x-api-secret"))
        caller = Caller(self._doorkeeper.look_at(key, secret), key)
        note = Note(reference=self._reference(operation, subject, request))
        return Call(request, operation, subject, caller, note)

    def _let_in(self, call: Call) -> None:
        if not call.caller.presented.accepted:
            raise No(401, "bad_credentials", "the API key and the secret do not go together")
        serial = call.request.client_serial
        if self._certificates and not self._doorkeeper.knows_certificate(serial):
            raise No(403, "bad_certificate", "the client certificate is not one of this account")
        if call.operation is None:
            raise No(404, "no_such_page", "there is no such page")

    def _spoil(self, misbehaviour: Misbehaviour, call: Call, answer: Answer) -> Answer:
        del call
        return after(misbehaviour, answer)

    def _do(self, call: Call) -> Answer:
        request, subject, mischief, note = call.request, call.subject, call.mischief, call.note
        assert call.operation is not None
        before(mischief, call.operation, request)
        match call.operation:
            case Operation.ACCOUNT:
                answer = json_answer(200, {"account": "stand-in", "orders": len(self._orders)})
            case Operation.CHAIN:
                answer = json_answer(200, {"chain": chain_pem(self._shop.chain)})
            case Operation.SUBMIT:
                answer = self._submit(request, mischief, note)
            case Operation.POLL:
                answer = self._poll(subject, mischief, note)
            case Operation.LOOKUP:
                found = self._by_reference.get(subject, [])
                answer = json_answer(200, {"orders": [self._body(order) for order in found]})
            case Operation.REVOKE:
                answer = self._revoke(subject, request, mischief, note)
            case Operation.RELEASE:
                answer = self._release(subject)
            case Operation.REVOCATION_POLL:
                answer = self._revocation_poll(subject, mischief, note)
        return answer

    def _submit(self, request: Request, mischief: Mischief | None, note: Note) -> Answer:
        body = _object(request.body)
        key = request.headers.get("idempotency-key")
        note.idempotency_key = key
        order = None if key is None else self._by_key.get(key)
        if order is None:
            order = self._book(body)
            note.booked = order.id
            if key is not None:
                self._by_key[key] = order
        later = mischief is Mischief.PENDING or "respond-async" in request.headers.get("prefer", "")
        if order.status == "pending" and not later:
            self._issue(order, mischief, note)
        return json_answer(202 if order.status == "pending" else 200, self._body(order))

    def _book(self, body: Mapping[str, Any]) -> _Order:
        try:
            csr = parse_request(str(body["csr"]))
            names = parse_names(body["names"])
            usages = tuple(Usage(usage) for usage in body["usages"])
            validity = int(body["validity_seconds"])
            reference = str(body["reference"])
        except (CertctlError, KeyError, TypeError, ValueError):
            raise No(422, "bad_order", "the order cannot be read") from None
        if not 0 < validity <= _LONGEST_SECONDS or not reference or not names:
            raise No(422, "bad_order", "the order asks for what is not sold")
        number = f"order-{len(self._orders) + 1}"
        order = _Order(number, reference, csr, names, usages, validity)
        self._orders[number] = order
        self._by_reference.setdefault(reference, []).append(order)
        return order

    def _issue(self, order: _Order, mischief: Mischief | None, note: Note) -> None:
        csr, names = order.csr, order.names
        if mischief is Mischief.WRONG_KEY:
            csr = strangers_request()
        if mischief is Mischief.WRONG_NAMES:
            names = names[1:] or parse_names(["elsewhere.example.org"])
        order.certificate = self._shop.sell(
            csr, names, order.usages, order.validity, expired=mischief is Mischief.EXPIRED
        )
        order.status = "issued"
        note.issued = serial_hex(order.certificate.serial_number)
        self._statuses[note.issued] = "issued"

    def _poll(self, number: str, mischief: Mischief | None, note: Note) -> Answer:
        order = self._orders.get(number)
        if order is None:
            raise No(404, "unknown_order", "there is no such order")
        if order.status == "pending":
            if mischief is Mischief.REFUSED:
                order.status = "rejected"
            elif mischief is not Mischief.PENDING:
                self._issue(order, mischief, note)
        return json_answer(202 if order.status == "pending" else 200, self._body(order))

    def _revoke(
        self, serial: str, request: Request, mischief: Mischief | None, note: Note
    ) -> Answer:
        reason = str(_object(request.body).get("reason"))
        if reason not in {known.value for known in RevocationReason}:
            raise No(422, "bad_reason", "that is no reason to revoke a certificate")
        status = self._status(serial)
        note.reason = reason
        if status == "revoked" or (status == "on_hold" and reason == _HOLD):
            raise No(409, "already_revoked", "the certificate is revoked already")
        if mischief is Mischief.PENDING:
            self._statuses[serial] = "revocation_pending"
            return json_answer(202, {"serial": serial, "status": "revocation_pending"})
        self._statuses[serial] = "on_hold" if reason == _HOLD else "revoked"
        note.revoked = serial
        return json_answer(200, {"serial": serial, "status": "revoked"})

    def _release(self, serial: str) -> Answer:
        if self._status(serial) == "revoked":
            raise No(409, "not_on_hold", "the certificate is revoked for good")
        self._statuses[serial] = "issued"
        return json_answer(200, {"serial": serial, "status": "issued"})

    def _revocation_poll(self, serial: str, mischief: Mischief | None, note: Note) -> Answer:
        status = self._status(serial)
        if status == "revocation_pending" and mischief is Mischief.REFUSED:
            status = self._statuses[serial] = "revocation_refused"
        elif status == "revocation_pending" and mischief is not Mischief.PENDING:
            status = self._statuses[serial] = "revoked"
            note.revoked = serial
        return json_answer(200, {"serial": serial, "status": status})

    def _status(self, serial: str) -> str:
        try:
            return self._statuses[serial]
        except KeyError:
            raise No(404, "unknown_certificate", "there is no such certificate") from None

    def _body(self, order: _Order) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": order.id,
            "reference": order.reference,
            "status": order.status,
        }
        if order.certificate is not None:
            body |= {
                "certificate": to_pem(order.certificate),
                "chain": chain_pem(self._shop.chain),
            }
        if order.status == "rejected":
            body["error"] = {"code": "policy", "message": REFUSAL}
        return body


def _route(request: Request) -> tuple[Operation | None, str]:
    """What is asked, and about what."""
    parts = urlsplit(request.target)
    query = parse_qs(parts.query)
    found: Operation | None = None
    subject = ""
    match (request.method, parts.path.strip("/").split("/")):
        case ("GET", ["v1", "account"]):
            found = Operation.ACCOUNT
        case ("GET", ["v1", "chain"]):
            found = Operation.CHAIN
        case ("POST", ["v1", "orders"]):
            found = Operation.SUBMIT
        case ("GET", ["v1", "orders"]) if "reference" in query:
            found, subject = Operation.LOOKUP, query["reference"][0]
        case ("GET", ["v1", "orders", number]):
            found, subject = Operation.POLL, unquote(number)
        case ("POST", ["v1", "certificates", serial, "revoke"]):
            found, subject = Operation.REVOKE, serial
        case ("POST", ["v1", "certificates", serial, "release"]):
            found, subject = Operation.RELEASE, serial
        case ("GET", ["v1", "certificates", serial]):
            found, subject = Operation.REVOCATION_POLL, serial
    return found, subject


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise No(400, "not_json", "the body is not a JSON object")
    return found
