"""Certificates of CAs that certctl has nothing to do with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.ca.authority import CertificateAuthority, create_root, signing_hash
from certctl.domain.keys import KeyType
from certctl.domain.names import parse_names
from certctl.pki.certificates import chain_pem, to_pem
from tests.support.pki import make_ca, make_key, make_leaf

DAY = 86_400


@cache
def foreign_ca(which: int = 0) -> CertificateAuthority:
    """A sub-CA below a root, another one for each number; both have been there for a year."""
    now = datetime.now(UTC)
    begun = now - timedelta(days=365)
    root = create_root(
        common_name="Foreign Root", key_type=KeyType.P256, now_ms=int(begun.timestamp() * 1000)
    )
    key = make_key(which=1)
    certificate = make_ca(
        key,
        root,
        common_name=f"Sub CA {which}",
        not_before=begun,
        not_after=now + timedelta(days=365),
    )
    return CertificateAuthority(key, certificate, (root[1],))


@dataclass(frozen=True, slots=True)
class Foreign:
    """A certificate, and those that issued it, as somebody has them in files."""

    certificate: x509.Certificate
    ca: CertificateAuthority

    @property
    def pem(self) -> str:
        """The certificate."""
        return to_pem(self.certificate)

    @property
    def chain(self) -> str:
        """Its issuers."""
        return chain_pem(self.ca.chain)

    @property
    def serial(self) -> str:
        """As the API writes it."""
        return f"{self.certificate.serial_number:x}"


def foreign(*names: str, ca: int = 0, age_days: float = 0, days: int = 90, **more: Any) -> Foreign:
    """A certificate for these names that began so many days ago."""
    authority = foreign_ca(ca)
    began = time.time_ns() // 1_000_000 - int(age_days * DAY * 1000)
    leaf = make_leaf(
        authority,
        names=parse_names(names or ("www.example.org",)),
        now_ms=began,
        validity_seconds=days * DAY,
        **more,
    )
    return Foreign(leaf, authority)


def self_signed(
    *extensions: x509.ExtensionType, common_name: str = "box", serial: int = 1, which: int = 0
) -> x509.Certificate:
    """What an appliance makes for itself, with these extensions and no others."""
    key = make_key(which=which)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=serial,
        not_valid_before=now,
        not_valid_after=now + timedelta(days=30),
        extensions=[x509.Extension(value.oid, False, value) for value in extensions],
    ).sign(key, signing_hash(key))


def swapped(certificate: x509.Certificate, before: bytes, after: bytes) -> str:
    """PEM of a certificate with some of its bytes changed, its signature now wrong."""
    der = certificate.public_bytes(Encoding.DER)
    assert before in der
    assert len(before) == len(after)
    return to_pem(der.replace(before, after))
