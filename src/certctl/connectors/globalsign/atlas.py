"""The dialect `atlas`: the API as GlobalSign publishes it."""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certctl.connectors.contract import CheckResult, IssuedCertificate, Pending, Revoked
from certctl.connectors.errors import BadAnswer, IssuerError, NoAnswer, Refused, Unavailable
from certctl.connectors.globalsign import listing, rekeying
from certctl.connectors.globalsign.answers import (
    atlas_words,
    certificates_in,
    checked_serial,
    number_in,
    reference_of,
    serial_in,
    serial_of,
    text_of,
    told_reason,
)
from certctl.connectors.globalsign.orders import san_of, validity_of
from certctl.connectors.globalsign.policy import (
    Presence,
    Proof,
    ValidationPolicy,
    check_key,
    clamp_validity,
    parse_policy,
    shape_names,
    shape_subject,
    shape_usages,
)
from certctl.connectors.globalsign.session import Session
from certctl.connectors.globalsign.subject import subject_of
from certctl.connectors.triage import Step, raise_for_status, retry_after
from certctl.domain.keys import KeyType
from certctl.domain.orders import Recovery
from certctl.domain.profiles import Abilities
from certctl.pki.keys import spki_of
from certctl.pki.usages import OID_OF_USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from certctl.connectors.contract import (
        ConnectorContext,
        IssuanceRequest,
        Reference,
        Replaced,
        RevocationRequest,
    )
    from certctl.connectors.globalsign.config import GlobalSignConfig
    from certctl.connectors.transport import Reply

#: How long a certificate may be worked on before a look-up's "not there" is an answer, in seconds.
LISTING_SECONDS = 600.0
#: Certificates that are looked at, one by one, for one order whose answer was lost.
_MOST_LOOKED_AT = 200
_MOST_KNOWN = 10_000
_NEAR_SECONDS = 2
_KEY_TYPES = frozenset({KeyType.RSA, KeyType.P256, KeyType.P384, KeyType.P521})
_ALGORITHMS = {KeyType.RSA: "RSA"}
#: Refused, or gone: there is no certificate that a lost order could have become.
_NO_CERTIFICATE = frozenset({HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_FOUND})
_FINAL = frozenset({HTTPStatus.UNPROCESSABLE_ENTITY})
_PATCH_IS_UNKNOWN = frozenset({HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
#: This account, or this server, changes no keys.
_NO_REKEYING = frozenset(
    {HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
)
#: The key of this certificate is not changed.
_NOT_REKEYED = _NO_REKEYING | {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
#: An order is refused by a policy that is at most so old.
_POLICY_MS = 60_000


class _StillWorkedOn(Unavailable):
    """A certificate of a listing is not there yet."""


class AtlasConnector:
    """Orders as the account's validation policy wants them, and polls by serial."""

    recovery = Recovery.LOOKUP
    listing_delay = LISTING_SECONDS

    def __init__(self, config: GlobalSignConfig, context: ConnectorContext) -> None:
        self.transport = context.transports.open(config.endpoint({}))
        self._session = Session(config, self.transport)
        self._clock = context.clock
        self._log = context.log
        self.host = self.transport.host
        self.poll_max_wait = float(config.poll_max_wait_seconds)
        self.abilities = Abilities(key_types=_KEY_TYPES, must_staple=False)
        self._policy: ValidationPolicy | None = None
        self._policy_at = 0
        self._may_rekey = True
        #: What everybody waits for is fetched by one.
        self._fetching = asyncio.Lock()
        self._chain: tuple[x509.Certificate, ...] = ()
        #: Whose key certificates are for that were looked at in search of lost orders.
        self._looked_at: OrderedDict[str, bytes] = OrderedDict()

    async def log_in(self) -> None:
        """Have a token that is good. Raises NoLogin where the server speaks another dialect."""
        await self._session.log_in()

    async def issue(self, request: IssuanceRequest) -> Pending:
        """Place an order; the certificate is never in the answer."""
        try:
            body = await self._order(request)
        except BadAnswer as error:
            raise Unavailable(error.detail, code=error.code) from None  # nothing was ordered
        reply = await self._session.send("POST", "/certificates", json=body)
        if reply.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            self._policy = None  # it may be stricter now than it was
        raise_for_status(reply, Step.SUBMIT, words=atlas_words)
        return Pending(reference_of(_serial_of_location(reply)), retry_after(reply))

    async def renew(
        self, request: IssuanceRequest, replaced: Replaced
    ) -> IssuedCertificate | Pending:
        """Have the key changed where that leads to what is asked for; else place an order.

        A change of key keeps the names and the end: only soon after a certificate was issued is
        it as good as a new one. An account that may not do it orders anew from then on.
        """
        if not self._may_rekey or not rekeying.is_enough(request, replaced):
            return await self.issue(request)
        try:
            body = _proof(request, await self._validation_policy())
        except BadAnswer as error:
            raise Unavailable(error.detail, code=error.code) from None  # nothing was ordered
        path = f"/certificates/{serial_of(replaced)}/rekey"
        reply = await self._session.send("POST", path, json=body)
        if reply.status in _NOT_REKEYED:  # so nothing was done
            self._may_rekey = reply.status not in _NO_REKEYING
            return await self.issue(request)
        raise_for_status(reply, Step.SUBMIT, words=atlas_words)
        return Pending(reference_of(_serial_of_location(reply)), retry_after(reply))

    async def poll(
        self, request: IssuanceRequest, reference: Reference
    ) -> IssuedCertificate | Pending:
        """Ask whether the certificate is there."""
        del request
        serial = serial_in(reference)
        reply = await self._session.send("GET", f"/certificates/{serial}")
        if reply.status == HTTPStatus.ACCEPTED:
            return Pending(reference, retry_after(reply))
        raise_for_status(reply, Step.POLL, words=atlas_words, final=_FINAL)
        return await self._issued(reply, reference)

    async def lookup(self, request: IssuanceRequest) -> IssuedCertificate | Pending | None:
        """Look for the order's key among what the account has issued since it was sent."""
        policy = await self._validation_policy()
        expected = self._begin(request, policy)
        submitted_at, now_ms = _submitted_at(request), self._clock.now_ms()
        rows = []
        for begin, end in listing.windows(submitted_at, now_ms):
            rows += await self._rows(begin, end)
        unread: IssuerError | None = None
        for row in listing.by_likeness(rows, expected)[:_MOST_LOOKED_AT]:
            serial = checked_serial(row.serial)
            if self._looked_at.get(serial, request.csr.spki) != request.csr.spki:
                continue
            try:
                found = await self._read_certificate(serial, request)
            except _StillWorkedOn as error:
                # Of a busy account something is always worked on: only its own second matters.
                if abs(row.not_before - expected) <= _NEAR_SECONDS:
                    unread = error
            except (NoAnswer, BadAnswer, Unavailable) as error:
                unread = error  # the others may tell all the same
            else:
                if found is not None:
                    return await self._issued(found, reference_of(serial))
        if unread is not None:
            raise unread
        return None

    async def revoke(self, request: RevocationRequest) -> Revoked:
        """Revoke a certificate; one that is revoked already is what was wanted."""
        serial = serial_of(request)
        path = f"/certificates/{serial}"
        body = {"revocation_reason": told_reason(request.reason)}
        reply = await self._session.send("PATCH", path, json=body)
        if reply.status in _PATCH_IS_UNKNOWN:
            self._log.warning("revoked without a reason: this server has no PATCH", serial=serial)
            reply = await self._session.send("DELETE", path)
        if reply.status == HTTPStatus.CONFLICT and await self._is_revoked(path):
            return Revoked()
        raise_for_status(reply, Step.REVOKE, words=atlas_words)
        return Revoked()

    async def check(self) -> CheckResult:
        """Log in, read the policy and the quota. What the account may not read is left out."""
        policy = await self._validation_policy(anew=True)
        parts = ["dialect atlas", f"key wanted as {_PROOF_WORDS[policy.key.proof]}"]
        for words, path in _FIGURES:
            try:
                reply = await self._session.read(path)
                parts.append(f"{words} {number_in(reply, 'value')}")
            except IssuerError as error:
                parts.append(f"{words} not shown ({error.detail})")
        return CheckResult(self.host, "; ".join(parts))

    async def _read_certificate(self, serial: str, request: IssuanceRequest) -> Reply | None:
        """The answer with the request's own certificate; None where it is another's, or none."""
        reply = await self._session.send("GET", f"/certificates/{serial}")
        if reply.status in _NO_CERTIFICATE:
            return None
        if reply.status == HTTPStatus.ACCEPTED:
            raise _StillWorkedOn("the CA still works on an order that may be this one")
        raise_for_status(reply, Step.READ)
        leaf, *_ = certificates_in(text_of(reply.json(), "certificate"))
        is_its_key = self._remember(serial, leaf) == request.csr.spki
        return reply if is_its_key and _begins_after(leaf, request) else None

    async def _order(self, request: IssuanceRequest) -> dict[str, Any]:
        """The body of an order; what a policy refuses that may be looser by now is tried again."""
        policy = await self._validation_policy()
        try:
            return _order(request, policy, self._begin(request, policy))
        except Refused:
            if self._clock.now_ms() - self._policy_at < _POLICY_MS:
                raise
        policy = await self._validation_policy(anew=True)
        return _order(request, policy, self._begin(request, policy))

    def _begin(self, request: IssuanceRequest, policy: ValidationPolicy) -> int:
        return listing.begins_at(request.order_id, _submitted_at(request), policy.early_skew)

    async def _validation_policy(self, *, anew: bool = False) -> ValidationPolicy:
        asked_at = self._clock.now_ms()
        if self._policy is not None and not anew:
            return self._policy
        async with self._fetching:
            # Somebody may have fetched it meanwhile.
            if self._policy is None or (anew and self._policy_at <= asked_at):
                reply = await self._session.read("/validationpolicy", preparatory=True)
                self._policy = parse_policy(reply.json())
                self._policy_at = self._clock.now_ms()
                self.abilities = replace(self.abilities, max_validity=self._policy.longest)
            return self._policy

    async def _rows(self, begin: int, end: int) -> list[listing.Row]:
        rows: list[listing.Row] = []
        for page in range(1, listing.MOST_PAGES + 1):
            params = {
                "from": str(begin),
                "to": str(end),
                "page": str(page),
                "per_page": str(listing.PER_PAGE),
            }
            reply = await self._session.read("/stats/issued", params=params)
            found = listing.rows_in(reply)
            rows += found
            if listing.is_last(reply, len(rows), len(found)):
                return rows
        raise BadAnswer("the CA's list of certificates does not come to an end")

    def _remember(self, serial: str, leaf: x509.Certificate) -> bytes:
        spki = self._looked_at[serial] = spki_of(leaf.public_key())
        if len(self._looked_at) > _MOST_KNOWN:
            self._looked_at.popitem(last=False)
        return spki

    async def _issued(self, reply: Reply, reference: Reference) -> IssuedCertificate:
        body = reply.json()
        leaf, *_ = certificates_in(text_of(body, "certificate"))
        if text_of(body, "status").upper() == "REVOKED":
            raise Refused("the CA has revoked the certificate before it was fetched")
        return IssuedCertificate(leaf, await self._chain_of(leaf), reference)

    async def _chain_of(self, leaf: x509.Certificate) -> Sequence[x509.Certificate]:
        """The account's chain; fetched again where the leaf was not issued by what is known."""
        if self._has_chain_of(leaf):
            return self._chain
        async with self._fetching:
            if not self._has_chain_of(leaf):
                reply = await self._session.read("/trustchain")
                body = reply.json()
                if not isinstance(body, list) or not all(isinstance(item, str) for item in body):
                    raise BadAnswer("the CA's trust chain cannot be read")
                self._chain = tuple(certificates_in("\n".join(body)))
            return self._chain

    def _has_chain_of(self, leaf: x509.Certificate) -> bool:
        return bool(self._chain) and _issued_by(leaf, self._chain[0])

    async def _is_revoked(self, path: str) -> bool:
        reply = await self._session.read(path)
        return reply.status == HTTPStatus.OK and text_of(reply.json(), "status") == "REVOKED"


_FIGURES = (
    ("left to issue:", "/quotas/issuance"),
    ("issued:", "/counters/certificates/issued"),
    ("revoked:", "/counters/certificates/revoked"),
)
_PROOF_WORDS = {
    Proof.KEY: "a public key",
    Proof.SIGNATURE: "a public key and a signature over it",
    Proof.REQUEST: "a certificate request",
}


def _submitted_at(request: IssuanceRequest) -> int:
    if request.submitted_at is None:
        raise AssertionError("a submission, and a look-up for it, has its time")
    return request.submitted_at


def _order(request: IssuanceRequest, policy: ValidationPolicy, begin: int) -> dict[str, Any]:
    """The body of an order; raises Refused for what the policy does not allow."""
    csr = request.csr
    check_key(policy, _ALGORITHMS.get(csr.key_type, "ECDSA"), csr.key_bits)
    rule = policy.subject.get("common_name")
    needs_name = rule is None or rule.presence is Presence.REQUIRED
    subject = subject_of(request, needs_common_name=needs_name)
    body: dict[str, Any] = {
        "validity": validity_of(begin, clamp_validity(policy, request.validity)),
        "subject_dn": shape_subject(policy, subject),
        **_proof(request, policy),
    }
    san = shape_names(policy, san_of(request.names))
    if san:
        body["san"] = san
    oids = [OID_OF_USAGE[usage].dotted_string for usage in request.usages]
    usages = shape_usages(policy, oids)
    if usages:
        body["extended_key_usages"] = usages
    return body


def _proof(request: IssuanceRequest, policy: ValidationPolicy) -> dict[str, Any]:
    """The key, and what shows that its owner has it; raises Refused."""
    proof: dict[str, Any] = {"public_key": _public_key(request, policy)}
    if policy.key.proof is Proof.SIGNATURE and request.key_signature is not None:
        proof["public_key_signature"] = base64.b64encode(request.key_signature).decode("ascii")
    if policy.signature:
        proof["signature"] = dict(policy.signature)
    return proof


def _public_key(request: IssuanceRequest, policy: ValidationPolicy) -> str:
    match policy.key.proof:
        case Proof.REQUEST:
            return request.csr.pem.strip()
        case Proof.SIGNATURE if request.key_signature is None:
            raise Refused(
                "the account's validation policy wants a signature over the bare public key, which "
                "no CSR holds: order with key_signature (certctl issue --key-signature), or have "
                "GlobalSign set the account to PKCS10",
                code="validation-policy",
            )
        case Proof.KEY | Proof.SIGNATURE:
            key = request.csr.public_key
            pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            return pem.decode("ascii").strip()


def _serial_of_location(reply: Reply) -> str:
    location = reply.headers.get("location", "")
    path = location.partition("?")[0].partition("#")[0].rstrip("/")
    if not path:
        raise BadAnswer("the CA's answer does not say where the order is")
    return checked_serial(path.rpartition("/")[2])


def _begins_after(leaf: x509.Certificate, request: IssuanceRequest) -> bool:
    """Whether it can be what was ordered, and is not an earlier certificate of the same key."""
    begins = leaf.not_valid_before_utc.timestamp()
    return begins >= _submitted_at(request) / 1000 - listing.EARLIEST - 1


def _issued_by(leaf: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(above)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True
