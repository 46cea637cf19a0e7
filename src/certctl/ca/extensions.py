"""What our certificates say: extensions of leaves, a root and an OCSP responder (RFC 5280 §4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from certctl.domain.revocations import RevocationReason
from certctl.domain.usages import Usage
from certctl.pki.usages import OID_OF_USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

Extension = x509.Extension[x509.ExtensionType]

#: A leaf that lasts fewer seconds than this says that its status is not told (noRevAvail): it is
#: over before a client that keeps answers, or a CRL, would look again.
NO_STATUS_BELOW = 3600

#: Leaves name one of this many CRL addresses, by their serial's last hex digit. All serve the same
#: CRL today; the addresses in certificates cannot be changed later, what they serve can.
CRL_SHARDS = 16

# What a signature of these usages stands for is not denied later.
_COMMITTING = frozenset({Usage.EMAIL_PROTECTION, Usage.TIME_STAMPING})
# RSA key transport: TLS 1.2 without forward secrecy, and S/MIME.
_ENCIPHERING = frozenset({Usage.SERVER_AUTH, Usage.EMAIL_PROTECTION})

_NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")  # the library has no class for it

_REASON_FLAGS: dict[RevocationReason, x509.ReasonFlags] = {
    reason: x509.ReasonFlags(reason.value)
    for reason in RevocationReason
    if reason is not RevocationReason.UNSPECIFIED
}


@dataclass(frozen=True, slots=True)
class StatusAddresses:
    """Where relying parties fetch the status of what a CA signed: http URLs, no trailing slash.

    Plain http, because a client that checked the status of the status server's own certificate
    would have to ask that server first (RFC 5280 §8).
    """

    crl: str
    ocsp: str
    ca: str


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


def no_status() -> Extension:
    """The statement that no status is told (RFC 9608 §2, noRevAvail): its value is NULL."""
    return extension(x509.UnrecognizedExtension(_NO_REV_AVAIL, b"\x05\x00"))


def authority_information(status: StatusAddresses) -> Extension:
    """Where OCSP is answered and where the CA's own certificate is (RFC 5280 §4.2.2.1)."""
    return extension(
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
                for method, url in (
                    (AuthorityInformationAccessOID.OCSP, status.ocsp),
                    (AuthorityInformationAccessOID.CA_ISSUERS, status.ca),
                )
            ]
        )
    )


def crl_distribution_points(status: StatusAddresses) -> tuple[Extension, ...]:
    """Where the CRL is (RFC 5280 §4.2.1.13), for each shard at its own index."""
    return tuple(
        extension(
            x509.CRLDistributionPoints(
                [
                    x509.DistributionPoint(
                        [x509.UniformResourceIdentifier(f"{status.crl}/{shard:x}")],
                        None,
                        None,
                        None,
                    )
                ]
            )
        )
        for shard in range(CRL_SHARDS)
    )


def responder_extensions(key_identifier: bytes) -> list[Extension]:
    """What a delegated OCSP responder's certificate says (RFC 6960 §4.2.2.2), but for its issuer.

    With id-pkix-ocsp-nocheck (§4.2.2.2.1): nobody asks the responder whether it is revoked itself.
    """
    return [
        extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
        extension(key_usage(digital_signature=True), critical=True),
        extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])),
        extension(x509.OCSPNoCheck()),
        extension(x509.SubjectKeyIdentifier(key_identifier)),
    ]


def reason_flag(reason: RevocationReason) -> x509.ReasonFlags | None:
    """The library's word for a reason; None for `unspecified`, left out by RFC 5280 §5.3.1."""
    return _REASON_FLAGS.get(reason)


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
