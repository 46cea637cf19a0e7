"""The dialect with key and secret in headers: one request in, one answer out.

`X-API-Key` and `X-API-Secret` come with every request, over a connection with a client
certificate. There is no login, no listing and no policy; answers and errors are JSON.

- `POST /v2/certificates` with `{"csr", "subject_dn", "san", "validity"}`: 200 with
  `{"serial_number", "status": "issued", "certificate", "chain"}`, or 202 without the PEM.
- `GET /v2/certificates/{serial}`: 404 at first, 202, then 200; a status that says no ends it.
- `PUT /v2/certificates/{serial}/revoke` with `{"reason"}`: once.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from certctl.pki.certificates import chain_pem, to_pem
from tests.conformance.hvca.messages import Problem, empty, parse_object
from tests.conformance.hvca.office import REASONS, Office
from tests.conformance.hvca.policy import MUST_STAPLE_OID, permissive_policy
from tests.conformance.hvca.proofs import guess_key
from tests.conformance.hvca.reading import read_order
from tests.conformance.hvca.register import State
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in.desk import Call, Caller, Note
from tests.conformance.stand_in.messages import No, json_answer
from tests.conformance.stand_in.spoiling import REFUSAL, after
from tests.conformance.stand_in.spoiling import before as usual_before

if TYPE_CHECKING:
    from tests.conformance.hvca.policy import Rule
    from tests.conformance.hvca.register import Order
    from tests.conformance.stand_in.messages import Answer, Request
    from tests.conformance.stand_in.script import Misbehaviour

_FIELDS = frozenset({"csr", "subject_dn", "san", "validity"})
_SUBJECT = frozenset({"common_name"})


def _rules() -> Rule:
    """What is sold in this dialect: what an order cannot say, the CA decides."""
    rules = permissive_policy()
    rules["extended_key_usages"]["ekus"] = {
        "static": True,
        "list": ["1.3.6.1.5.5.7.3.1"],
        "mincount": 1,
        "maxcount": 1,
    }
    rules["custom_extensions"].pop(MUST_STAPLE_OID)
    return rules


class Headers(Office):
    """The interface without a login."""

    def _read(self, request: Request) -> Call:
        operation, serial = _route(request)
        note = Note()
        if operation is Operation.SUBMIT:
            note.reference = _guess(request)
        elif operation is Operation.POLL:
            order = self._find(serial)
            if order is None:
                # To ask for what is not there is how an account is tried.
                operation = Operation.ACCOUNT
            else:
                note.reference = order.spki
        key, secret = (request.headers.get(name) for name in ("x-api-key", "x-api-secret"))
        return Call(
            request, operation, serial, Caller(self._doorkeeper.look_at(key, secret), key), note
        )

    def _let_in(self, call: Call) -> None:
        if _path(call.request) == "login":
            status = self._conduct.login_status
            raise No(status, "no_such_page", "there is no such page")
        presented = call.caller.presented
        if not self._doorkeeper.is_open(presented.key_generation):
            raise No(401, "unknown_key", "the API key is not known")
        if not presented.accepted:
            raise No(401, "unknown_secret", "the API secret is not known")
        if not self._doorkeeper.knows_certificate(call.request.client_serial):
            raise No(403, "bad_certificate", "the client certificate is not one of this account")
        if call.operation is None:
            raise No(404, "no_such_page", "there is no such page")

    def _do(self, call: Call) -> Answer:
        assert call.operation is not None
        usual_before(call.mischief, call.operation, call.request)
        match call.operation:
            case Operation.SUBMIT:
                return self._submit(call)
            case Operation.REVOKE:
                return self._revoke(call)
            case _:
                return self._show(call)

    def _spoil(self, misbehaviour: Misbehaviour, call: Call, answer: Answer) -> Answer:
        del call
        return after(misbehaviour, answer)

    def _submit(self, call: Call) -> Answer:
        body = _body(call.request)
        subject, unknown = body.get("subject_dn"), body.keys() - _FIELDS
        if unknown or not isinstance(subject, dict) or subject.keys() - _SUBJECT:
            raise No(422, "bad_order", "the order has fields that are not known, or no subject")
        order = {"subject_dn": subject, "extended_key_usages": ["1.3.6.1.5.5.7.3.1"]}
        order |= {name: body[name] for name in ("san", "validity") if name in body}
        try:
            wanted = read_order(_rules(), order | {"public_key": body.get("csr")}, self._now())
        except Problem as problem:
            wrong = ", ".join(parse_object(problem.answer.body)["errors"])
            raise No(422, "bad_order", f"the order cannot be taken: {wrong}") from None
        if self._exhausted():
            raise No(402, "no_credit", "the account has no credit left")
        placed = self._place(call, wanted, body)
        if placed.ready > placed.created or call.mischief is Mischief.PENDING:
            return self._answer(placed, State.IN_PROGRESS)
        self.register.find(placed.serial, self._now())
        return self._answer(placed, self._look(call, placed))

    def _show(self, call: Call) -> Answer:
        order = self._find(call.subject)
        if order is None:
            raise No(404, "unknown_certificate", "there is no such certificate")
        return self._answer(order, self._look(call, order))

    def _answer(self, order: Order, state: State) -> Answer:
        body: dict[str, Any] = {"serial_number": f"{order.serial:032x}"}
        if state is State.IN_PROGRESS:
            return json_answer(202, body | {"status": "processing"})
        if state is State.REFUSED or order.certificate is None:
            refused = {"status": self._conduct.refused_status}
            error = {"code": "policy", "message": order.words or REFUSAL}
            return json_answer(200, body | refused | {"error": error})
        pem = {"certificate": to_pem(order.certificate), "chain": chain_pem(self._press.chain)}
        return json_answer(200, body | {"status": str(state)} | pem)

    def _revoke(self, call: Call) -> Answer:
        reason = _body(call.request).get("reason")
        if reason not in REASONS:
            raise No(422, "bad_reason", "that is no reason to revoke a certificate")
        order = self._find(call.subject)
        if order is None:
            raise No(404, "unknown_certificate", "there is no such certificate")
        status = self._conduct.revoke_status
        if not self._revoked(call, order, str(reason)):
            if (
                order.state is not State.REVOKED
                or self._conduct.revoke_again >= HTTPStatus.BAD_REQUEST
            ):
                raise No(409, "not_issued", "the certificate is revoked already, or not issued")
            status = self._conduct.revoke_again
        if status == HTTPStatus.NO_CONTENT:
            return empty(204)
        return json_answer(status, {"serial_number": call.subject, "status": "revoked"})


def _path(request: Request) -> str:
    path = urlsplit(request.target).path
    return path.removeprefix("/v2/") if path.startswith("/v2/") else ""


def _route(request: Request) -> tuple[Operation | None, str]:
    match (request.method, _path(request).split("/")):
        case ("POST", ["certificates"]):
            return Operation.SUBMIT, ""
        case ("GET", ["certificates", serial]) if serial:
            return Operation.POLL, serial
        case ("PUT", ["certificates", serial, "revoke"]) if serial:
            return Operation.REVOKE, serial
        case _:
            return None, ""


def _body(request: Request) -> dict[str, Any]:
    try:
        return parse_object(request.body)
    except Problem:
        raise No(400, "not_json", "the body is not a JSON object") from None


def _guess(request: Request) -> str | None:
    """The key of an order for the books, which have what is refused too."""
    try:
        return guess_key(parse_object(request.body).get("csr"))
    except Problem:
        return None
