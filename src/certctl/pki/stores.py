"""Certificates as files that other software reads: PKCS#7, and trust stores of Java.

A trust store has no private key in it. Its password guards nothing that is secret: it is there
because the formats want one.
"""

from __future__ import annotations

import hashlib
import re
import struct
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs7,
    pkcs12,
)

from certctl.pki.der import element
from certctl.pki.subjects import COMMON_NAME, ORGANIZATION, attribute_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

_NOT_IN_ALIASES = re.compile(r"[^a-z0-9]+")
_LONGEST_WORDS = 40

_JKS_MAGIC = 0xFEEDFEED
_JKS_VERSION = 2
_JKS_TRUSTED_CERTIFICATE = 2
_JKS_WHITENER = b"Mighty Aphrodite"


def pkcs7_certificates(certificates: Sequence[x509.Certificate]) -> bytes:
    """A certs-only message (RFC 8551 §3.8: SignedData without signers), as DER."""
    return pkcs7.serialize_certificates(list(certificates), Encoding.DER)


def alias_of(certificate: x509.Certificate) -> str:
    """What a trust store calls a certificate: the same wherever it comes from.

    Lower-case, as Java makes it; the digest tells certificates of one name from each other.
    """
    der = certificate.public_bytes(Encoding.DER)
    digest = hashlib.sha256(der).hexdigest()[:12]
    words = _NOT_IN_ALIASES.sub("-", _words(der).lower())[:_LONGEST_WORDS].strip("-")
    return f"{words}-{digest}" if words else digest


def _words(der: bytes) -> str:
    """What the subject of a certificate that was parsed before is called."""
    at, _ = element(der, element(der, 0)[0])
    if der[at] == 0xA0:  # noqa: PLR2004 - the optional version, [0]
        _, at = element(der, at)
    for _ in range(4):  # past serial, algorithm, issuer and validity
        _, at = element(der, at)
    for attribute in (COMMON_NAME, ORGANIZATION):
        for value in attribute_values(der, at, attribute):
            try:
                return value.text()
            except ValueError:
                continue
    return ""


def pkcs12_trust_store(certificates: Sequence[x509.Certificate], password: str) -> bytes:
    """A PKCS#12 file in which Java finds trusted certificates.

    Each carries Oracle's attribute for that (2.16.840.1.113894.746875.1.1), without which Java
    passes it over. The key is derived anew each time, which takes some hundredths of a second.
    """
    entries = [
        pkcs12.PKCS12Certificate(certificate, alias_of(certificate).encode())
        for certificate in certificates
    ]
    return pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(password.encode()))


def jks_trust_store(
    certificates: Sequence[x509.Certificate], password: str, created_ms: int
) -> bytes:
    """A file of Java's own older format (JKS, version 2) with trusted certificates.

    `created_ms` is the time that its entries show. The password goes into its digest.
    """
    entries = [
        struct.pack(">I", _JKS_TRUSTED_CERTIFICATE)
        + _text(alias_of(certificate))
        + struct.pack(">Q", created_ms)
        + _text("X.509")
        + _octets(certificate.public_bytes(Encoding.DER))
        for certificate in certificates
    ]
    content = struct.pack(">III", _JKS_MAGIC, _JKS_VERSION, len(entries)) + b"".join(entries)
    # The format's own check against damage; whoever changes the file can make a new one.
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(password.encode("utf-16-be") + _JKS_WHITENER + content)
    return content + digest.digest()


def _text(text: str) -> bytes:
    """As Java's DataOutput.writeUTF, for ASCII."""
    encoded = text.encode("ascii")
    return struct.pack(">H", len(encoded)) + encoded


def _octets(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content
