"""Keys, requests and small hierarchies for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.ca.authority import CertificateAuthority, create_root, signing_hash, subject
from certctl.ca.extensions import StatusAddresses, extension, key_usage
from certctl.domain.clock import to_ms
from certctl.domain.keys import KeyType
from certctl.domain.names import parse_name, parse_names
from certctl.domain.serials import new_serial
from certctl.domain.usages import Usage
from certctl.pki.general_names import general_name
from certctl.pki.keys import (
    PrivateKey,
    classify,
    generate_key,
    spki_of,
    subject_key_identifier,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.x509 import Certificate

NOW_MS = 1_780_000_000_000
NOW = datetime.fromtimestamp(NOW_MS // 1000, UTC)

STATUS = StatusAddresses(
    crl="http://status.example.org/crl/iss-local",
    ocsp="http://status.example.org/ocsp/iss-local",
    ca="http://status.example.org/ca/iss-local",
)


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
    crl_sign: bool = True,
    digital_signature: bool = False,
    key_usages: bool = True,
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
    ]
    if key_usages:
        allowed = key_usage(
            digital_signature=digital_signature, key_cert_sign=cert_sign, crl_sign=crl_sign
        )
        extensions.append(extension(allowed, critical=True))
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


def make_authority(
    key_type: KeyType = KeyType.P256,
    *,
    sub: bool = False,
    status: StatusAddresses | None = None,
    **wrong: Any,
) -> CertificateAuthority:
    """A CA with a root's key, or with a key below it; `wrong` goes to `make_ca` for the latter."""
    root = make_root(key_type)
    if not sub:
        return CertificateAuthority(*root, status=status)
    key = make_key(key_type, which=1)
    return CertificateAuthority(key, make_ca(key, root, **wrong), (root[1],), status)


def make_leaf(
    authority: CertificateAuthority, key_type: KeyType = KeyType.P256, **changes: Any
) -> Certificate:
    """A server's certificate for 90 days; `changes` are other arguments of `issue`."""
    public_key, _, _ = classify(make_key(key_type).public_key())
    arguments: dict[str, Any] = {
        "public_key": public_key,
        "spki": spki_of(public_key),
        "key_type": key_type,
        "common_name": None,
        "names": parse_names(["www.example.org"]),
        "usages": (Usage.SERVER_AUTH,),
        "validity_seconds": 90 * 86_400,
        "must_staple": False,
        "now_ms": NOW_MS + 567,
    }
    return authority.issue(**{**arguments, **changes})


def make_live_authority(
    key_type: KeyType = KeyType.P256, *, sub: bool = True, **wrong: Any
) -> CertificateAuthority:
    """A sub-CA below a root of its own, or a root, valid by the machine's clock."""
    now = datetime.now(UTC)
    if not sub:
        key = make_key(key_type, which=1)
        own = make_ca(
            key,
            common_name="Live Root",
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=365),
        )
        return CertificateAuthority(key, own)
    root = create_root(common_name="Live Root", key_type=KeyType.P256, now_ms=to_ms(now))
    key = make_key(key_type, which=1)
    certificate = make_ca(
        key, root, not_before=now - timedelta(days=1), not_after=now + timedelta(days=365), **wrong
    )
    return CertificateAuthority(key, certificate, (root[1],))
