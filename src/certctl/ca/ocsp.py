"""OCSP answers (RFC 6960), signed by a responder to which the CA delegates it, or by the CA."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import (
    OCSPCertStatus,
    OCSPRequestBuilder,
    OCSPResponderEncoding,
    OCSPResponseBuilder,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certctl.ca.authority import BACKDATE, subject
from certctl.ca.extensions import reason_flag, responder_extensions
from certctl.domain.errors import Misconfigured
from certctl.domain.names import MAX_COMMON_NAME
from certctl.domain.profiles import SECONDS_PER_DAY
from certctl.domain.serials import new_serial
from certctl.pki.keys import spki_of, subject_key_identifier
from certctl.pki.ocsp import HASHES

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.x509.ocsp import OCSPResponse

    from certctl.ca.authority import CertificateAuthority
    from certctl.domain.revocations import RevocationReason
    from certctl.pki.ocsp import OcspQuery

#: A responder's certificate lasts this many seconds. It cannot be revoked (RFC 6960 §4.2.2.2.1), so
#: it is short; a key that leaked is worthless after it.
RESPONDER_LIFETIME = 7 * SECONDS_PER_DAY


@dataclass(frozen=True, slots=True)
class Good:
    """Issued by this CA, and not revoked."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """Revoked, or on hold, since a time in milliseconds."""

    revoked_at_ms: int
    reason: RevocationReason


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not a certificate that this CA knows of."""


CertificateStatus = Good | Revoked | Unknown


class OcspSigner:
    """Signs the answers about one CA's certificates.

    With a key of its own that lives in memory only, and a certificate by the CA that says so
    (RFC 6960 §4.2.2.2): the CA's key is used once in days, not for whatever anybody asks. Where the
    CA's own certificate is limited to other usages, a certificate for OCSP below it would not be
    accepted everywhere; then the CA's key signs, if it may sign data.

    `certificate` is the signer's, `delegated` says whether that is another than the CA's. It is
    good until `not_after_ms`; from `renew_at_ms` on another signer should take over, which is the
    same moment where a new one would not last longer. Both in milliseconds.

    Raises Misconfigured (`ca-expired`) when the CA's certificate is over at `now_ms`.
    """

    def __init__(self, authority: CertificateAuthority, now_ms: int) -> None:
        if now_ms > authority.not_after_ms:
            raise Misconfigured(
                "ca-expired",
                "the CA's own certificate has expired",
                hint="renew the CA's certificate, or configure another CA",
            )
        self.delegated = _allows_ocsp(authority.certificate) or not authority.signs_data
        self.certificate = authority.certificate
        self.not_after_ms = self.renew_at_ms = authority.not_after_ms
        self._sign: Callable[[OCSPResponseBuilder], OCSPResponse] = authority.sign
        if self.delegated:
            key = ec.generate_private_key(ec.SECP256R1())
            self.certificate, not_after = _certify(authority, key.public_key(), now_ms // 1000)
            self._sign = lambda builder: builder.sign(key, hashes.SHA256())
            if not_after * 1000 < authority.not_after_ms:
                self.not_after_ms = not_after * 1000
                self.renew_at_ms = now_ms + (self.not_after_ms - now_ms) // 2
        self._hashes = {
            name: _hashes(authority.certificate, algorithm) for name, algorithm in HASHES.items()
        }
        self._builder = OCSPResponseBuilder(
            responder_id=(self.certificate, OCSPResponderEncoding.HASH),
            certs=[self.certificate] if self.delegated else None,
        )

    def answers_for(self, query: OcspQuery) -> bool:
        """Whether the question is about a certificate of this CA."""
        asked = (query.issuer_name_hash, query.issuer_key_hash)
        return self._hashes.get(query.hash_algorithm.name) == asked

    def sign(
        self,
        query: OcspQuery,
        status: CertificateStatus,
        *,
        this_update_ms: int,
        next_update_ms: int | None,
    ) -> bytes:
        """DER of the answer to a query that `answers_for` accepted.

        Times are in milliseconds and stand in the answer in whole seconds, rounded down; producedAt
        is the machine's time. The answer is not said to be good for longer than the signer is.
        """
        if next_update_ms is not None:
            next_update_ms = min(next_update_ms, self.not_after_ms)
        revoked = status if isinstance(status, Revoked) else None
        builder = self._builder.add_response_by_hash(
            issuer_name_hash=query.issuer_name_hash,
            issuer_key_hash=query.issuer_key_hash,
            serial_number=query.serial,
            algorithm=query.hash_algorithm,
            cert_status=_STATUS[type(status)],
            this_update=_moment(this_update_ms),
            next_update=None if next_update_ms is None else _moment(next_update_ms),
            revocation_time=None if revoked is None else _moment(revoked.revoked_at_ms),
            revocation_reason=None if revoked is None else reason_flag(revoked.reason),
        )
        if query.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(query.nonce), critical=False)
        return self._sign(builder).public_bytes(Encoding.DER)


_STATUS: dict[type[CertificateStatus], OCSPCertStatus] = {
    Good: OCSPCertStatus.GOOD,
    Revoked: OCSPCertStatus.REVOKED,
    Unknown: OCSPCertStatus.UNKNOWN,
}


def _certify(
    authority: CertificateAuthority, key: ec.EllipticCurvePublicKey, now: int
) -> tuple[x509.Certificate, int]:
    """A responder's certificate, and the last second of it."""
    above = authority.certificate
    not_before = max(now - BACKDATE, int(above.not_valid_before_utc.timestamp()))
    not_after = min(not_before + RESPONDER_LIFETIME - 1, authority.not_after_ms // 1000)
    certificate = authority.sign(
        x509.CertificateBuilder(
            issuer_name=above.subject,
            subject_name=subject(_common_name(above)),
            public_key=key,
            serial_number=new_serial(),
            not_valid_before=datetime.fromtimestamp(not_before, UTC),
            not_valid_after=datetime.fromtimestamp(not_after, UTC),
            extensions=[
                *responder_extensions(subject_key_identifier(spki_of(key))),
                authority.authority_key,
            ],
        )
    )
    return certificate, not_after


def _common_name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    # Not the CA's own name, even where that has the longest allowed: it would look self-issued.
    suffix = " OCSP"
    name = str(found[0].value) if found else "CA"
    return name[: MAX_COMMON_NAME - len(suffix)] + suffix


def _allows_ocsp(certificate: x509.Certificate) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return (
        ExtendedKeyUsageOID.OCSP_SIGNING in usages
        or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages
    )


def _hashes(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    """What identifies an issuer in a query: the hashes of its name and of its key."""
    name = hashes.Hash(algorithm)
    name.update(certificate.subject.public_bytes())
    # The library hashes the right bits of the key, and here the name of the CA's own issuer.
    request = OCSPRequestBuilder().add_certificate(certificate, certificate, algorithm).build()
    return name.finalize(), request.issuer_key_hash


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1000, UTC)
