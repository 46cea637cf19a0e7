"""What our certificates say: the extensions of leaves and of a root (RFC 5280 §4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from certctl.domain.usages import Usage
from certctl.pki.usages import OID_OF_USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

Extension = x509.Extension[x509.ExtensionType]

# What a signature of these usages stands for is not denied later.
_COMMITTING = frozenset({Usage.EMAIL_PROTECTION, Usage.TIME_STAMPING})
# RSA key transport: TLS 1.2 without forward secrecy, and S/MIME.
_ENCIPHERING = frozenset({Usage.SERVER_AUTH, Usage.EMAIL_PROTECTION})


def extension(value: x509.ExtensionType, *, critical: bool = False) -> Extension:
    """Wrap an extension's value for the builder."""
    return x509.Extension(value.oid, critical, value)


def leaf_extensions(usages: Sequence[Usage], *, rsa: bool, must_staple: bool) -> list[Extension]:
    """What is the same in every leaf with these usages and this kind of key.

    keyUsage follows what each usage does with the key (RFC 5280 §4.2.1.12). extendedKeyUsage is
    critical for time-stamping, which must stand alone (RFC 3161 §2.3). Must-staple is RFC 7633.
    """
    wanted = frozenset(usages)
    extensions = [
        extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
        extension(
            key_usage(
                digital_signature=True,
                content_commitment=bool(wanted & _COMMITTING),
                key_encipherment=rsa and bool(wanted & _ENCIPHERING),
            ),
            critical=True,
        ),
    ]
    if usages:
        extensions.append(
            extension(
                x509.ExtendedKeyUsage([OID_OF_USAGE[usage] for usage in usages]),
                critical=wanted == {Usage.TIME_STAMPING},
            )
        )
    if must_staple:
        extensions.append(extension(x509.TLSFeature([x509.TLSFeatureType.status_request])))
    return extensions


def root_extensions(key_identifier: bytes) -> list[Extension]:
    """What a self-signed root says. No authorityKeyIdentifier: its key is the subject's own."""
    return [
        extension(x509.BasicConstraints(ca=True, path_length=None), critical=True),
        # digitalSignature, because this key signs OCSP answers as well (RFC 5280 §4.2.1.3).
        extension(
            key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True), critical=True
        ),
        extension(x509.SubjectKeyIdentifier(key_identifier)),
    ]


def key_usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    """The library's KeyUsage, whose other four bits are never used here."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
