"""Keys, requests and small hierarchies for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.ca.authority import CertificateAuthority, create_root, signing_hash, subject
from certctl.ca.extensions import extension, key_usage
from certctl.domain.clock import to_ms
from certctl.domain.keys import KeyType
from certctl.domain.names import parse_name
from certctl.domain.serials import new_serial
from certctl.pki.general_names import general_name
from certctl.pki.keys import PrivateKey, generate_key, spki_of, subject_key_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.x509 import Certificate

NOW_MS = 1_780_000_000_000
NOW = datetime.fromtimestamp(NOW_MS // 1000, UTC)


@cache
def _key(key_type: KeyType, which: int) -> PrivateKey:
    del which
    return generate_key(key_type, rsa_bits=2048)


def make_key(key_type: KeyType = KeyType.P256, which: int = 0) -> PrivateKey:
    """A key, made once a session for each type and number (RSA ones have 2048 bits)."""
    return _key(key_type, which)


def make_csr(
    key: PrivateKey,
    names: Sequence[str] = (),
    common_name: str | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> str:
    """PEM of a request for names as `parse_name` reads them, with further extensions."""
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name([]) if common_name is None else subject(common_name)
    )
    if names:
        wanted = [general_name(parse_name(name, "names")) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(wanted), critical=False)
    for value in extensions:
        builder = builder.add_extension(value, critical=False)
    return builder.sign(key, signing_hash(key)).public_bytes(Encoding.PEM).decode("ascii")


def make_ca(
    key: PrivateKey,
    issuer: tuple[PrivateKey, Certificate] | None = None,
    *,
    common_name: str = "Sub CA",
    ca: bool = True,
    cert_sign: bool = True,
    key_identifier: bool = True,
    not_before: datetime = NOW - timedelta(days=1),
    not_after: datetime = NOW + timedelta(days=365),
    usages: Sequence[x509.ObjectIdentifier] = (),
) -> Certificate:
    """A CA certificate, self-signed or by `issuer`, with one thing wrong if so asked."""
    signer, name = (key, subject(common_name)) if issuer is None else (issuer[0], issuer[1].subject)
    identifier = subject_key_identifier(spki_of(key.public_key()))
    extensions = [
        extension(
            x509.BasicConstraints(ca=ca, path_length=0 if ca and issuer else None), critical=True
        ),
        extension(key_usage(key_cert_sign=cert_sign, crl_sign=True), critical=True),
    ]
    if key_identifier:
        extensions.append(extension(x509.SubjectKeyIdentifier(identifier)))
    if issuer is not None:
        above = issuer[1].extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        extensions.append(
            extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above))
        )
    if usages:
        extensions.append(extension(x509.ExtendedKeyUsage(list(usages))))
    return x509.CertificateBuilder(
        issuer_name=name,
        subject_name=subject(common_name),
        public_key=key.public_key(),
        serial_number=new_serial(),
        not_valid_before=not_before,
        not_valid_after=not_after,
        extensions=extensions,
    ).sign(signer, signing_hash(signer))


def make_root(key_type: KeyType = KeyType.P256) -> tuple[PrivateKey, Certificate]:
    """A root of ours, one a session for each type of key."""
    return _root(key_type)


@cache
def _root(key_type: KeyType) -> tuple[PrivateKey, Certificate]:
    if key_type is KeyType.RSA:  # from the cache: a new RSA key takes long
        key = make_key(KeyType.RSA, which=1000)
        return key, make_ca(key, common_name="Test Root", not_after=NOW + timedelta(days=3650))
    return create_root(common_name="Test Root", key_type=key_type, now_ms=NOW_MS)


def make_authority(key_type: KeyType = KeyType.P256, *, sub: bool = False) -> CertificateAuthority:
    """A CA with a root's key, or with a key below it."""
    root = make_root(key_type)
    if not sub:
        return CertificateAuthority(*root)
    key = make_key(key_type, which=1)
    return CertificateAuthority(key, make_ca(key, root), (root[1],))


def make_live_authority(key_type: KeyType = KeyType.P256) -> CertificateAuthority:
    """A sub-CA below a root of its own, valid by the machine's clock: for servers that are run."""
    now = datetime.now(UTC)
    root = create_root(common_name="Live Root", key_type=KeyType.P256, now_ms=to_ms(now))
    key = make_key(key_type, which=1)
    certificate = make_ca(
        key, root, not_before=now - timedelta(days=1), not_after=now + timedelta(days=365)
    )
    return CertificateAuthority(key, certificate, (root[1],))
