"""Certificates: to and from PEM, and the look at one that a CA sent before it is kept."""

from __future__ import annotations

import binascii
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.domain.clock import to_ms
from certctl.domain.errors import InvalidInput
from certctl.domain.names import parse_typed
from certctl.pki.general_names import KIND_OF
from certctl.pki.keys import spki_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from certctl.domain.names import Name

_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"


class WrongCertificate(Exception):
    """What a CA sent is not what was asked for. The words say why, for the operator."""


def to_pem(certificate: x509.Certificate | bytes) -> str:
    """PEM (RFC 7468 §5.1) of a certificate or of its DER, with a newline at its end."""
    if not isinstance(certificate, bytes):
        return certificate.public_bytes(Encoding.PEM).decode("ascii")
    text = binascii.b2a_base64(certificate, newline=False).decode("ascii")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def chain_pem(certificates: Iterable[x509.Certificate | bytes]) -> str:
    """PEM of several certificates, one after the other, in their order."""
    return "".join([to_pem(certificate) for certificate in certificates])


def split_pem_certificates(text: str) -> list[x509.Certificate]:
    """Every certificate in a PEM text, in its order; other text and blocks are passed over.

    Raises ValueError if a certificate block cannot be read, or has no end.
    """
    found = []
    for block in text.split(_BEGIN)[1:]:
        body, end, _ = block.partition(_END)
        if not end:
            raise ValueError("a PEM certificate has no END line")
        der = binascii.a2b_base64("".join(body.split()), strict_mode=True)
        try:
            found.append(x509.load_der_x509_certificate(der))
        except x509.InvalidVersion as error:  # which is no ValueError
            raise ValueError("a certificate of an unknown version") from error
    return found


def names_of(certificate: x509.Certificate) -> frozenset[Name]:
    """The names in a certificate's subjectAltName, canonical; those we cannot read are left out.

    Raises ValueError or the library's own errors when the extensions cannot be read.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    found = set()
    for general_name in extension.value:
        kind = KIND_OF.get(type(general_name))
        if kind is None:
            continue
        try:
            found.add(parse_typed(kind, str(general_name.value), "certificate"))
        except InvalidInput:
            continue
    return frozenset(found)


def check_issued(
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    *,
    spki: bytes,
    names: Sequence[Name],
    now_ms: int,
) -> None:
    """Hold what a CA sent against what was asked for.

    `spki` is DER of the request's SubjectPublicKeyInfo as `pki.keys.spki_of` encodes it, `names`
    are those requested (the CA may add others), `now_ms` is the present in milliseconds. `chain`
    goes upwards from the leaf's issuer; it may be empty, and may leave out the root.

    Raises WrongCertificate when the key is another, a name is missing, it is a CA certificate, it
    has expired or is never valid, or the chain does not link (RFC 5280 §6.1: names and signatures).
    """
    try:
        _check_leaf(certificate, spki, names, now_ms)
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise WrongCertificate("the certificate that came back cannot be read") from error
    except x509.UnsupportedGeneralNameType as error:
        raise WrongCertificate("the certificate has a kind of name that is not known") from error
    check_chain((certificate, *chain))


def check_chain(certificates: Sequence[x509.Certificate]) -> None:
    """Raise WrongCertificate unless each certificate was issued by the one after it."""
    for position, (subject, issuer) in enumerate(pairwise(certificates)):
        try:
            subject.verify_directly_issued_by(issuer)
        except InvalidSignature as error:
            problem = "its signature was not made by the next certificate's key"
            cause: Exception = error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            problem = "the next certificate has another subject than its issuer, or another key"
            cause = error
        else:
            continue
        which = "the certificate itself" if position == 0 else f"certificate {position} of it"
        raise WrongCertificate(f"the chain does not link at {which}: {problem}") from cause


def _check_leaf(
    certificate: x509.Certificate, spki: bytes, names: Sequence[Name], now_ms: int
) -> None:
    if spki_of(certificate.public_key()) != spki:
        raise WrongCertificate("the certificate is for another public key than the CSR's")
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise WrongCertificate("the certificate is a CA certificate")
    certified = names_of(certificate)
    if missing := [name for name in names if name not in certified]:
        listed = ", ".join(str(name) for name in missing)
        raise WrongCertificate(f"the certificate lacks names that were asked for: {listed}")
    not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not_after <= not_before:
        raise WrongCertificate("the certificate is never valid: notAfter is not after notBefore")
    if to_ms(not_after) < now_ms:
        raise WrongCertificate("the certificate has already expired")
