"""Renewal by request: the next version of a certificate, with the same names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509

from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict, InvalidInput
from certctl.domain.ids import new_id
from certctl.domain.imports import IMPORTED_PROFILE_ID
from certctl.domain.names import decode_stored
from certctl.domain.orders import OrderState, Recovery
from certctl.domain.profiles import check_issuer, check_names, check_profile_fits
from certctl.domain.renewal import renewal_time
from certctl.domain.requests import settle_names
from certctl.domain.revocations import RevocationReason
from certctl.lifecycle.idempotency import Enrolled, IdempotencyKey, load_enrolled, once
from certctl.lifecycle.issuance import check_csr, issuance_request, issue_now
from certctl.lifecycle.requests import decode_request, encode_request
from certctl.lifecycle.revocations import certificate_not_found
from certctl.lifecycle.versions import version_record
from certctl.pki.key_signatures import parse_key_signature
from certctl.pki.keys import spki_of
from certctl.pki.requests import parse_request
from certctl.storage.certificates import (
    CertificateRecord,
    add_version,
    get_certificate,
    lock_certificate,
)
from certctl.storage.database import Duplicate
from certctl.storage.orders import (
    SECOND_OPEN_ORDER,
    OrderRecord,
    insert_order,
    open_order_of,
    order_of_version,
    supply_csr,
)
from certctl.storage.versions import VersionRecord, list_versions

if TYPE_CHECKING:
    from certctl.connectors.contract import IssuanceRequest
    from certctl.domain.clock import Clock
    from certctl.domain.names import Name
    from certctl.domain.profiles import Abilities, Profile
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.scheduler import Scheduler
    from certctl.lifecycle.tally import Tally
    from certctl.pki.requests import CertificateRequest
    from certctl.storage.database import Connection, Database, Transaction

#: Versions of one certificate whose keys a new one is compared with: more than any has.
_MOST_VERSIONS = 1000


@dataclass(frozen=True, slots=True)
class RenewalRequest:
    """What a client asks for, as it came.

    Without a CSR the newest version's is used again, with the key signature that came with it.
    """

    certificate_id: str
    csr: str | None = None
    validity_days: int | None = None
    key_signature: str | None = None

    def fingerprint(self) -> str:
        """SHA-256 that is equal for equal requests."""
        fields: tuple[object, ...] = (
            "renew",
            self.certificate_id,
            self.csr,
            self.validity_days,
        )
        if self.key_signature is not None:  # else it is the hash that earlier versions stored
            fields += (self.key_signature,)
        return hashlib.sha256(repr(fields).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class _Present:
    """A certificate as it was read before the request was held against it."""

    certificate: CertificateRecord
    newest: VersionRecord
    versions: list[VersionRecord]
    made_by: OrderRecord | None
    open_order: OrderRecord | None


@dataclass(frozen=True, slots=True)
class _Proof:
    """A CSR, and the signature over its bare public key where there is one."""

    csr: CertificateRequest
    key_signature: bytes | None


class Renewal:
    """Takes requests for the next version of a certificate."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Clock,
        scheduler: Scheduler,
        tally: Tally,
    ) -> None:
        self._tally = tally
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._scheduler = scheduler

    async def renew(
        self, actor: Actor, request: RenewalRequest, *, idempotency_key: str | None = None
    ) -> Enrolled:
        """Order the next version; what is returned is durable.

        Without a CSR, where the profile demands a new key, the order waits for one
        (`awaiting_csr`); the next request that brings one continues that order. Idempotency and
        errors as with `Enrolment.enrol`; also NotFound, and Conflict where the certificate is
        revoked, was never issued, or has an open order.
        """
        key = None
        if idempotency_key is not None:
            key = IdempotencyKey(actor.id, idempotency_key, request.fingerprint())
        return await once(
            self._database, self._clock, key, partial(self._renew, actor, request, key)
        )

    async def _renew(
        self, actor: Actor, request: RenewalRequest, key: IdempotencyKey | None
    ) -> Enrolled:
        if request.key_signature is not None and request.csr is None:
            raise _signature_alone()
        present = await self._database.read(partial(_load, certificate_id=request.certificate_id))
        certificate = present.certificate
        waiting = present.open_order
        if waiting is not None and (
            waiting.state is not OrderState.AWAITING_CSR or request.csr is None
        ):
            raise _order_open(waiting)
        _, connector = self._catalog.usable_issuer(certificate.issuer_id)
        profile = self._catalog.usable_profile(certificate.profile_id)
        check_issuer(profile, certificate.issuer_id)
        check_profile_fits(profile, connector.abilities)
        now = self._clock.now_ms()
        order_id = new_id("ord", now) if waiting is None else waiting.id
        proof = self._proof(request, profile, present)
        if proof is None:
            # Names that the profile does not allow any more are not mended by a CSR to wait for.
            names = _names_of(certificate)
            check_names(profile, connector.abilities, names, certificate.common_name)
            order = _order(order_id, certificate, now, request)
            return await self._store(actor, order, None, present, key)
        days = request.validity_days
        if days is None and waiting is not None:
            days = waiting.request["validity_days"]
        issuance = _settle(
            certificate,
            proof,
            profile,
            connector.abilities,
            order_id=order_id,
            validity_days=days,
            now_ms=now,
        )
        order = _order(order_id, certificate, now, request, issuance)
        if waiting is not None:
            order = replace(order, created_at=waiting.created_at)
        version = None
        if connector.recovery is Recovery.INTERNAL:
            version = version_record(
                await issue_now(certificate.issuer_id, connector, issuance, self._tally),
                certificate_id=certificate.id,
                issuer_id=certificate.issuer_id,
                order_id=order_id,
                now_ms=now,
            )
            order = replace(order, state=OrderState.ISSUED, version_id=version.id, due_at=None)
        return await self._store(actor, order, version, present, key)

    def _proof(self, request: RenewalRequest, profile: Profile, present: _Present) -> _Proof | None:
        """What to use, None to wait for it; raises InvalidInput for a key not to be used."""
        if request.csr is not None:
            csr = parse_request(request.csr)
            text = request.key_signature
            proof = _Proof(csr, None if text is None else parse_key_signature(text, csr))
        elif profile.new_key_on_renewal or present.made_by is None or present.made_by.csr is None:
            return None
        else:
            stored = decode_request(present.made_by)
            proof = _Proof(stored.csr, stored.key_signature)
        _check_new_key(proof.csr, profile, present.versions)
        return proof

    async def _store(
        self,
        actor: Actor,
        order: OrderRecord,
        version: VersionRecord | None,
        present: _Present,
        key: IdempotencyKey | None,
    ) -> Enrolled:
        now = order.updated_at

        def write(transaction: Transaction) -> Enrolled:
            state = lock_certificate(transaction, order.certificate_id)
            if state is None or (state.status, state.version_id, state.archived_at) != (
                present.certificate.status,
                present.newest.id,
                None,
            ):
                raise _changed_meanwhile()
            if present.open_order is None:
                insert_order(transaction, order)
            elif not supply_csr(transaction, order):
                raise _changed_meanwhile()
            if version is not None:
                renew_at = renewal_time(
                    version.certificate_id, version.not_before, version.not_after
                )
                add_version(transaction, version, renew_at, now)
            if key is not None:
                transaction.insert([key.row(order.id, now)])
            transaction.audit(_event(actor, order, version))
            return load_enrolled(transaction.connection, order.id)

        try:
            enrolled = await self._database.write(write)
        except Duplicate as error:
            if error.constraint != SECOND_OPEN_ORDER:
                raise
            raise _changed_meanwhile() from None
        self._tally.order(None, order)
        if order.due_at is not None:
            self._scheduler.wake()
        return enrolled


def _load(connection: Connection, certificate_id: str) -> _Present:
    certificate = get_certificate(connection, certificate_id)
    if certificate is None:
        raise certificate_not_found()
    newest = certificate.version
    if newest is None:
        raise Conflict(
            "certificate-not-issued",
            "the CA has not issued this certificate yet: there is nothing to renew",
            hint=f"look at its order: GET /api/v1/orders/{certificate.order_id}",
        )
    if certificate.profile_id == IMPORTED_PROFILE_ID:
        raise Conflict(
            "certificate-imported",
            "this certificate was imported: certctl did not order it, and cannot renew it",
            hint="order a certificate for the same names from an issuer; or have it renewed where "
            "it came from, and import the new one with `replaces`",
        )
    if certificate.archived_at is not None:
        raise Conflict(
            "certificate-archived",
            "this certificate is archived, which ended its renewal",
            hint="put it back first: POST /api/v1/certificates/{id}/unarchive",
        )
    if certificate.status == "revoked":
        raise Conflict(
            "certificate-revoked",
            "this certificate is revoked, which ended its renewal",
            hint="order a new certificate; a hold can be taken back",
        )
    return _Present(
        certificate,
        newest,
        list_versions(connection, certificate_id, limit=_MOST_VERSIONS),
        order_of_version(connection, certificate_id, newest.id),
        open_order_of(connection, certificate_id),
    )


def _check_new_key(
    csr: CertificateRequest, profile: Profile, versions: list[VersionRecord]
) -> None:
    """Raise InvalidInput for a key that is known to others, or old where it has to be new."""
    for version in versions:
        key = x509.load_der_x509_certificate(version.der).public_key()
        if spki_of(key) != csr.spki:
            continue
        revocation = version.revocation
        if revocation is not None and revocation.reason is RevocationReason.KEY_COMPROMISE:
            raise InvalidInput(
                "key-compromised",
                "this key was revoked as compromised",
                field="csr",
                hint="make a new key, and a CSR with it",
            )
        if profile.new_key_on_renewal:
            raise InvalidInput(
                "key-reused",
                "this profile demands a new key with each renewal, and this key has been used",
                field="csr",
                hint="make a new key, and a CSR with it",
            )


def _settle(
    certificate: CertificateRecord,
    proof: _Proof,
    profile: Profile,
    abilities: Abilities,
    *,
    order_id: str,
    validity_days: int | None,
    now_ms: int,
) -> IssuanceRequest:
    """Hold the renewal against profile and connector; its names are the certificate's."""
    csr = proof.csr
    check_csr(profile, abilities, csr)
    names = _names_of(certificate)
    if csr.common_name not in {None, certificate.common_name}:
        raise _names_differ()
    try:
        settle_names(csr.names, None, names)
    except InvalidInput:
        raise _names_differ() from None
    return issuance_request(
        profile,
        abilities,
        csr,
        order_id=order_id,
        names=names,
        common_name=certificate.common_name,
        validity_days=validity_days,
        now_ms=now_ms,
        key_signature=proof.key_signature,
    )


def _names_of(certificate: CertificateRecord) -> tuple[Name, ...]:
    return tuple(decode_stored(text) for text in certificate.names)


def _order(
    order_id: str,
    certificate: CertificateRecord,
    now_ms: int,
    request: RenewalRequest,
    issuance: IssuanceRequest | None = None,
) -> OrderRecord:
    waits = issuance is None
    return OrderRecord(
        id=order_id,
        certificate_id=certificate.id,
        issuer_id=certificate.issuer_id,
        state=OrderState.AWAITING_CSR if waits else OrderState.READY,
        csr=None if issuance is None else issuance.csr.der,
        request={"validity_days": request.validity_days}
        if issuance is None
        else encode_request(issuance),
        reference=None,
        version_id=None,
        problem="waits for a CSR with a new key: renew the certificate again, with one"
        if waits
        else None,
        attempts=0,
        accepted_at=None,
        due_at=None if waits else now_ms,
        epoch=0,
        created_at=now_ms,
        updated_at=now_ms,
    )


def _event(actor: Actor, order: OrderRecord, version: VersionRecord | None) -> AuditEvent:
    detail = {"order_id": order.id, "issuer_id": order.issuer_id, "state": order.state.value}
    if version is not None:
        detail["serial"] = version.serial
    return AuditEvent(
        at_ms=order.updated_at,
        actor=actor.id,
        action="certificate.renewal_ordered" if version is None else "certificate.renewed",
        object_type="certificate",
        object_id=order.certificate_id,
        detail=detail,
    )


def _order_open(order: OrderRecord) -> Conflict:
    if order.state is OrderState.AWAITING_CSR:
        hint = "send a CSR with a new key to continue it"
    else:
        hint = f"wait for its end: GET /api/v1/orders/{order.id}"
    return Conflict(
        "order-open",
        f"an order for this certificate is open already: {order.id} is {order.state}",
        hint=hint,
    )


def _changed_meanwhile() -> Conflict:
    return Conflict(
        "certificate-changed",
        "the certificate was renewed, revoked or archived at the same moment by somebody else",
        hint="look at it, then try again",
    )


def _signature_alone() -> InvalidInput:
    return InvalidInput(
        "key-signature-without-csr",
        "a signature over the public key came without the CSR of that key",
        field="key_signature",
        hint="send both, or neither: then the newest version's are used again",
    )


def _names_differ() -> InvalidInput:
    return InvalidInput(
        "names-differ",
        "the CSR has a name that the certificate does not have",
        field="csr",
        hint="make the CSR for the same names, or without any; for other names order a certificate",
    )
