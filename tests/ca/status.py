"""CRLs, OCSP questions and answers for the tests of a CA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequestBuilder

from certctl.ca.crl import CrlEntry, sign_crl
from certctl.domain.revocations import RevocationReason
from certctl.pki.ocsp import OcspQuery, parse_query
from tests.support.pki import NOW_MS, make_leaf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certctl.ca.authority import CertificateAuthority

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

HASHES: list[hashes.HashAlgorithm] = [
    hashes.SHA1(),  # noqa: S303 - what most clients send
    hashes.SHA256(),
    hashes.SHA384(),
    hashes.SHA512(),
]


def make_query(
    authority: CertificateAuthority,
    leaf: x509.Certificate | None = None,
    *,
    algorithm: hashes.HashAlgorithm = HASHES[0],
    nonce: bytes | None = None,
) -> OcspQuery:
    """What a client asks about a leaf of this CA, a new one if none is given."""
    builder = OCSPRequestBuilder().add_certificate(
        leaf or make_leaf(authority), authority.certificate, algorithm
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return parse_query(builder.build().public_bytes(Encoding.DER))


def make_crl(
    authority: CertificateAuthority,
    entries: Iterable[CrlEntry] = (),
    *,
    number: int = 1,
    this_update_ms: int = NOW_MS,
    lasts_ms: int = DAY_MS,
) -> bytes:
    """DER of a CRL."""
    return sign_crl(
        authority,
        entries,
        number=number,
        this_update_ms=this_update_ms,
        next_update_ms=this_update_ms + lasts_ms,
    )


def revoked(
    certificate: x509.Certificate,
    revoked_at_ms: int = NOW_MS - HOUR_MS,
    reason: RevocationReason = RevocationReason.KEY_COMPROMISE,
) -> CrlEntry:
    """The entry of a certificate that was revoked."""
    return CrlEntry(certificate.serial_number, revoked_at_ms, reason)
