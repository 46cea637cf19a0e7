"""The throw-away CA below which the stand-in of HVCA issues: exactly what was ordered, or not."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from certctl.ca.authority import create_root
from certctl.ca.extensions import Extension, extension, key_usage
from certctl.domain.clock import to_ms
from certctl.domain.keys import KeyType
from certctl.pki.keys import spki_of, subject_key_identifier
from tests.conformance.mischief import Mischief
from tests.conformance.stand_in.hierarchy import strangers_request
from tests.support.pki import make_ca, make_key

if TYPE_CHECKING:
    from certctl.pki.keys import SubjectKey

_HASHES: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "SHA-256": hashes.SHA256,
    "SHA-384": hashes.SHA384,
    "SHA-512": hashes.SHA512,
}
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to stand in a certificate. Times in seconds since 1970."""

    public_key: SubjectKey
    not_before: int
    not_after: int
    subject: x509.Name
    names: tuple[x509.GeneralName, ...]
    names_critical: bool = False
    usages: tuple[x509.ObjectIdentifier, ...] = ()
    usages_critical: bool = False
    extensions: tuple[Extension, ...] = ()
    #: How it is signed: `RSA` or `RSA-PSS`, and a hash.
    algorithm: str = "RSA"
    digest: str = "SHA-256"


def new_serial() -> int:
    """A serial of 16 octets, the first of which is 1: written with 32 digits it begins with 0."""
    return (1 << 120) | secrets.randbits(120)


class Press:
    """An issuing CA with an RSA key, as Atlas has, below a root of its own."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        root_key, root = create_root(
            common_name="HVCA Stand-in Root", now_ms=to_ms(now - timedelta(days=2))
        )
        key = make_key(KeyType.RSA, which=1000)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key
        certificate = make_ca(
            key,
            (root_key, root),
            common_name="HVCA Stand-in Issuing CA",
            not_before=now - timedelta(days=1, hours=12),
            not_after=now + timedelta(days=3000),
        )
        self.chain = (certificate, root)

    def print(
        self, wanted: Wanted, serial: int, now: int, mischief: Mischief | None = None
    ) -> x509.Certificate:
        """Sign what is wanted, or what the mischief makes of it; `now` in seconds."""
        wanted = _spoilt(wanted, now, mischief)
        issuing = self.chain[0]
        return x509.CertificateBuilder(
            issuer_name=issuing.subject,
            subject_name=wanted.subject,
            public_key=wanted.public_key,
            serial_number=serial,
            not_valid_before=datetime.fromtimestamp(wanted.not_before, UTC),
            not_valid_after=datetime.fromtimestamp(wanted.not_after, UTC),
            extensions=_extensions(wanted, issuing),
        ).sign(
            self._key,
            _HASHES[wanted.digest](),
            rsa_padding=(
                padding.PSS(padding.MGF1(_HASHES[wanted.digest]()), padding.PSS.DIGEST_LENGTH)
                if wanted.algorithm == "RSA-PSS"
                else None
            ),
        )


def _spoilt(wanted: Wanted, now: int, mischief: Mischief | None) -> Wanted:
    match mischief:
        case Mischief.WRONG_KEY:
            return replace(wanted, public_key=strangers_request().public_key)
        case Mischief.WRONG_NAMES:
            return replace(
                wanted, names=wanted.names[1:] or (x509.DNSName("elsewhere.example.org"),)
            )
        case Mischief.EXPIRED:
            return replace(wanted, not_before=now - _DAY, not_after=now - _DAY + 3600)
        case _:
            return wanted


def _extensions(wanted: Wanted, issuing: x509.Certificate) -> list[Extension]:
    above = issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    found = [
        extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
        extension(
            key_usage(
                digital_signature=True,
                key_encipherment=isinstance(wanted.public_key, rsa.RSAPublicKey),
            ),
            critical=True,
        ),
        extension(x509.SubjectKeyIdentifier(subject_key_identifier(spki_of(wanted.public_key)))),
        extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)),
        *wanted.extensions,
    ]
    if wanted.usages:
        usages = x509.ExtendedKeyUsage(list(wanted.usages))
        found.append(extension(usages, critical=wanted.usages_critical))
    if wanted.names:
        critical = wanted.names_critical or not len(wanted.subject)
        found.append(extension(x509.SubjectAlternativeName(list(wanted.names)), critical=critical))
    return found
