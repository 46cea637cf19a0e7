"""Atlas HVCA v2: one request in, one answer out.

A token from `POST /v2/login` comes with every other request, over a connection with a client
certificate. Bodies are `application/json;charset=utf-8` and have a length.

- `POST /v2/certificates`: 201 and a Location; with `mode: domain-validation` 204 and no order.
  `GET /v2/certificates/{serial}`: 404 at first, 202, then 200 with the leaf and its status, or 422.
  `PATCH` revokes with a reason and `DELETE` without, both once; `POST …/rekey` orders the same for
  another key.
- `GET /v2/trustchain`, `/v2/validationpolicy`, `/v2/quotas/issuance`,
  `/v2/counters/certificates/issued` and `…/revoked`.
- `GET /v2/stats/issued`, `…/revoked`, `…/expiring`: see `listing`.

Claims of domains are left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from certctl.pki.certificates import to_pem
from tests.conformance.hvca import listing
from tests.conformance.hvca.messages import (
    JSON,
    Problem,
    empty,
    parse_object,
    read_body,
    success,
)
from tests.conformance.hvca.office import REASONS, Office, padded, read_serial
from tests.conformance.hvca.policy import Findings
from tests.conformance.hvca.proofs import guess_key, is_request_by, read_key
from tests.conformance.hvca.reading import read_order, read_signature, refuse
from tests.conformance.hvca.register import State
from tests.conformance.hvca.sessions import Session, Sessions
from tests.conformance.hvca.spoiling import before, locked, spoil
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in.desk import Call, Caller, Note

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.hvca.conduct import Conduct
    from tests.conformance.hvca.press import Press
    from tests.conformance.hvca.register import Order
    from tests.conformance.stand_in.desk import Parts
    from tests.conformance.stand_in.messages import Answer, Request
    from tests.conformance.stand_in.script import Misbehaviour

_DRY_RUN = "domain-validation"
_UNLIMITED = 1_000_000
_BEARER = "Bearer "
_LOGIN = ("api_key", "api_secret")
_CANNOT_REVOKE = "Cannot revoke a REJECTED certificate"

#: What is asked for, apart from certificates by their serial, and what can go wrong about it.
_PAGES: dict[tuple[str, str], Operation | None] = {
    ("POST", "login"): Operation.ACCOUNT,
    ("GET", "validationpolicy"): Operation.ACCOUNT,
    ("GET", "trustchain"): Operation.CHAIN,
    ("POST", "certificates"): Operation.SUBMIT,
    ("GET", "stats/issued"): Operation.LOOKUP,
    ("GET", "stats/revoked"): None,
    ("GET", "stats/expiring"): None,
    ("GET", "quotas/issuance"): None,
    ("GET", "counters/certificates/issued"): None,
    ("GET", "counters/certificates/revoked"): None,
}
_ABOUT_ONE: dict[tuple[str, str], Operation] = {
    ("GET", ""): Operation.POLL,
    ("PATCH", ""): Operation.REVOKE,
    ("DELETE", ""): Operation.REVOKE,
    ("POST", "rekey"): Operation.SUBMIT,
}


class Atlas(Office):
    """The published interface."""

    def __init__(self, parts: Parts, press: Press, conduct: Conduct) -> None:
        super().__init__(parts, press, conduct)
        self.sessions = Sessions()
        self._next_login_fails = False

    def behave(self) -> None:
        """Let the next login succeed."""
        self._next_login_fails = False

    def _read(self, request: Request) -> Call:
        path = _path(request)
        operation, serial = _route(request.method, path)
        if operation is Operation.SUBMIT and request.headers.get("mode") == _DRY_RUN:
            operation = None
        note = Note()
        if operation is Operation.SUBMIT:
            note.reference = guess_key(_lenient(request.body).get("public_key"))
        elif operation is Operation.POLL:
            number = read_serial(serial)
            order = None if number is None else self.register.find(number, self._now())
            note.reference = None if order is None else order.spki
        return Call(request, operation, serial or path, self._caller(request, path), note)

    def _caller(self, request: Request, path: str) -> Caller:
        nobody = self._doorkeeper.look_at(None, None)
        if path == "login":
            body = _lenient(request.body)
            key, secret = (body.get(name) for name in _LOGIN)
            if isinstance(key, str) and isinstance(secret, str):
                return Caller(self._doorkeeper.look_at(key, secret), key)
            return Caller(nobody)
        session = self._session(request)
        return Caller(nobody, token_generation=None if session is None else session.generation)

    def _session(self, request: Request) -> Session | None:
        token = request.headers.get("authorization", "")
        return (
            self.sessions.find(token.removeprefix(_BEARER)) if token.startswith(_BEARER) else None
        )

    def _let_in(self, call: Call) -> None:
        path = _path(call.request)
        if path == "login":
            if call.operation is None:
                raise Problem(405, "Method Not Allowed")
            return  # what lets others in is in its body
        session = self._session(call.request)
        if (
            session is None
            or session.ends <= self._now()
            or not self._doorkeeper.is_open(session.generation)
        ):
            raise Problem(401, "The access token is missing, or not valid any more")
        self._check_certificate(call.request)
        if not _exists(path):
            raise Problem(404, "Not Found")
        allowed = call.operation is not None or (call.request.method, path) in _PAGES
        if not allowed or (call.request.method == "PATCH" and not self._conduct.patch_known):
            raise Problem(405, "Method Not Allowed")

    def _check_certificate(self, request: Request) -> None:
        if not self._doorkeeper.knows_certificate(request.client_serial):
            raise Problem(401, "The client certificate is not one of this account")

    def _do(self, call: Call) -> Answer:
        path = _path(call.request)
        if call.mischief is Mischief.UNAUTHORIZED and path != "login":
            # Who logs in again shall see it, instead of a token that works.
            self._next_login_fails = True
        if call.operation is not None:
            before(call.mischief, call.operation, self._known(call))
        if call.operation in {Operation.POLL, Operation.REVOKE} or path.endswith("/rekey"):
            return self._about_one(call)
        pages: dict[str, Callable[[Call], Answer]] = {
            "login": self._login,
            "certificates": self._submit,
            "validationpolicy": lambda _: success(200, self._conduct.policy),
            "trustchain": lambda _: success(200, [to_pem(one) for one in self._press.chain]),
            "quotas/issuance": lambda _: _value(self._conduct.quota, _UNLIMITED),
            "counters/certificates/issued": lambda _: _value(self._issued()),
            "counters/certificates/revoked": lambda _: _value(self._revocations()),
        }
        return pages.get(path, self._stats)(call)

    def _known(self, call: Call) -> list[str]:
        """What the CA knows of the caller that nobody else should."""
        session = self._session(call.request)
        if session is not None:
            return [session.token, session.api_key, session.api_secret]
        body = _lenient(call.request.body)
        return [str(body.get("api_key")), str(body.get("api_secret"))]

    def _spoil(self, misbehaviour: Misbehaviour, call: Call, answer: Answer) -> Answer:
        return spoil(misbehaviour, call.operation, answer)

    def _login(self, call: Call) -> Answer:
        body = read_body(call.request)
        key, secret = body.get("api_key"), body.get("api_secret")
        if not isinstance(key, str) or not isinstance(secret, str) or len(body) > len(_LOGIN):
            raise Problem(422, "A login has an API key and a secret", {"api_key": "is required"})
        if self._next_login_fails:
            self._next_login_fails = False
            raise locked()
        presented = call.caller.presented
        if not presented.accepted or presented.key_generation is None:
            raise Problem(401, "The API key and the secret are not valid")
        self._check_certificate(call.request)
        session = self.sessions.open(
            presented.key_generation, key, secret, self._now(), self._conduct.token_seconds
        )
        return success(200, {"access_token": session.token})

    def _submit(self, call: Call) -> Answer:
        body = read_body(call.request)
        mode = call.request.headers.get("mode")
        if mode not in {None, _DRY_RUN}:
            raise Problem(400, "There is no such mode")
        wanted = read_order(self._conduct.policy, body, self._now())
        if mode is not None:
            return empty(204)
        if self._exhausted():
            raise Problem(402, "Quota Reached")
        return self._created(call, self._place(call, wanted, body))

    def _created(self, call: Call, order: Order) -> Answer:
        host = call.request.headers.get("host", "")
        base = f"https://{host}" if self._conduct.location == "absolute" else ""
        where = f"{base}/v2/certificates/{padded(order.serial)}"
        return empty(201, {"content-type": JSON, "location": where})

    def _about_one(self, call: Call) -> Answer:
        if read_serial(call.subject) is None:
            raise Problem(422, "That is no serial number")
        order = self._find(call.subject)
        body: dict[str, Any] = {}
        if call.request.method in {"PATCH", "POST"}:
            body = read_body(call.request)
        if order is None:
            raise Problem(404, "Not Found")
        match call.request.method:
            case "GET":
                return self._show(call, order)
            case "POST":
                return self._rekey(call, order, body)
            case "PATCH":
                reason = _reason(order, body, self._now())
            case _:
                reason = "unspecified"
        if not self._revoked(call, order, reason):
            raise Problem(409, _CANNOT_REVOKE)
        return empty(204)

    def _show(self, call: Call, order: Order) -> Answer:
        state = self._look(call, order)
        if state is State.IN_PROGRESS:
            return success(202, {"description": "Operation in progress"})
        if state is State.REFUSED or order.certificate is None:
            raise Problem(422, "CA validation error", {"ca": order.words})
        body = {
            "certificate": to_pem(order.certificate),
            "status": state.name,
            "updated_at": int(order.updated),
        }
        return success(200, body)

    def _rekey(self, call: Call, order: Order, body: dict[str, Any]) -> Answer:
        if order.state is not State.ISSUED:
            raise Problem(409, "Only a certificate that is ISSUED has its key changed")
        findings = Findings()
        findings.object("", body, frozenset({"public_key", "public_key_signature", "signature"}))
        policy = self._conduct.policy
        key = read_key(findings, policy, body.get("public_key"), body.get("public_key_signature"))
        algorithm, digest = read_signature(findings, policy, body.get("signature"))
        refuse(findings)
        assert key is not None
        wanted = replace(
            order.wanted,
            public_key=key,
            not_before=int(self._now()),
            algorithm=algorithm,
            digest=digest,
        )
        return self._created(call, self._place(call, wanted, body))

    def _stats(self, call: Call) -> Answer:
        kind = _path(call.request).removeprefix("stats/")
        now = self._now()
        query = listing.read_query(urlsplit(call.request.target).query, now, self._conduct.page_cap)
        found = listing.select(
            self.register.all(now),
            kind,
            query,
            now=now,
            lag=self._conduct.listing_lag,
            listed_by=self._conduct.listed_by,
        )
        first = (query.page - 1) * query.per_page
        rows = [
            {
                "serial_number": padded(order.serial),
                "not_before": order.wanted.not_before,
                "not_after": order.wanted.not_after,
            }
            for order in found[first : first + query.per_page]
        ]
        headers = {
            "Total-Count": str(len(found)),
            "Links": listing.page_links(query, len(found)),
        }
        return success(200, rows, headers)


def _path(request: Request) -> str:
    """What is asked for below the version; empty for anything that is not there."""
    path = urlsplit(request.target).path
    return path.removeprefix("/v2/") if path.startswith("/v2/") else ""


def _route(method: str, path: str) -> tuple[Operation | None, str]:
    """What can go wrong about a request, and the serial that it is about."""
    match path.split("/"):
        case ["certificates", serial, *rest] if serial:
            return _ABOUT_ONE.get((method, "/".join(rest))), serial
        case _:
            return _PAGES.get((method, path)), ""


def _exists(path: str) -> bool:
    match path.split("/"):
        case ["certificates", serial] | ["certificates", serial, "rekey"]:
            return bool(serial)
        case _:
            return path in {page for _, page in _PAGES}


def _lenient(body: bytes) -> dict[str, Any]:
    """A body for the books: what cannot be read is refused elsewhere."""
    try:
        return parse_object(body)
    except Problem:
        return {}


def _value(number: int | None, otherwise: int = 0) -> Answer:
    return success(200, {"value": otherwise if number is None else number})


def _reason(order: Order, body: dict[str, Any], now: float) -> str:
    """Why a certificate is to be revoked; raises Problem (422) for a body that says it badly."""
    findings = Findings()
    known = frozenset({"revocation_reason", "revocation_time", "key_compromise_attestation"})
    findings.object("", body, known)
    reason = body.get("revocation_reason")
    if reason not in REASONS:
        findings.add("revocation_reason", "is not one that is known here")
    when = body.get("revocation_time", 0)
    if type(when) is not int or not 0 <= when <= now + 1:
        findings.add("revocation_time", "is no time of the past in seconds since 1970")
    proof = body.get("key_compromise_attestation")
    if proof is not None and not is_request_by(str(proof), order.wanted.public_key):
        findings.add("key_compromise_attestation", "is no certificate request by that key")
    refuse(findings)
    return str(reason)
