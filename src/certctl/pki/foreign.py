"""Certificates that somebody else issued: untrusted X.509, read strictly before it is kept.

Every refusal is `domain.errors.InvalidInput` with a code of its own and never repeats what came.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from cryptography import x509

from certctl.domain.clock import to_ms
from certctl.domain.errors import InvalidInput
from certctl.domain.names import name_from_common_name, parse_typed
from certctl.domain.serials import serial_hex
from certctl.pki.certificates import WrongCertificate, check_chain
from certctl.pki.der import element
from certctl.pki.general_names import KIND_OF
from certctl.pki.subjects import (
    COMMON_NAME,
    ORGANIZATION,
    ORGANIZATIONAL_UNIT,
    attribute_values,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.domain.names import Name

#: Bytes of DER: several times what the longest certificates in use have.
MAX_DER = 65_536
#: Certificates above the one that is imported.
MAX_CHAIN = 10
MAX_NAMES = 1_000
_MAX_COMMON_NAME = 255
#: Longer than RFC 5280 §4.1.2.2 has it (20 octets), because some CAs' serials are.
_MAX_SERIAL_BITS = 256
_LONGEST_LABEL = 80

_BEGIN = "-----BEGIN "
_LABEL_END = "-----"
_CERTIFICATE = "CERTIFICATE"
_VERSION_TAG = 0xA0  # the optional [0] at the beginning of a TBSCertificate

_REFUSALS = {
    "import-has-private-key": (
        "a private key came along, which certctl does not want to have",
        "treat the key as exposed: make a new one; send the certificate alone",
    ),
    "import-unreadable": (
        "this is no certificate that can be read",
        "send X.509 (RFC 5280) as PEM, or its DER as one base64 string",
    ),
    "import-not-a-certificate": (
        "this is PEM of something other than a certificate",
        "send blocks that begin with `-----BEGIN CERTIFICATE-----`",
    ),
    "import-more-than-one": (
        "the text has more than one certificate",
        "send one at a time, and those that issued it as `chain`",
    ),
    "import-too-large": (
        f"the certificate is larger than {MAX_DER // 1024} KiB",
        "no certificate in use is that large: look at what you send",
    ),
    "import-serial": (
        "the serial is not a positive number (RFC 5280 §4.1.2.2), or has more than 32 octets",
        "have the certificate issued anew, with a serial",
    ),
    "import-extensions-unreadable": (
        "the certificate's extensions cannot be read",
        "each extension may appear once and must follow RFC 5280",
    ),
    "import-too-many-names": (
        f"the certificate has more than {MAX_NAMES} names",
        "it cannot be kept here",
    ),
    "import-name-unreadable": (
        "a name in the certificate is not text",
        "it cannot be kept here: nobody could find it by that name",
    ),
    "import-name-invisible-character": (
        "a name in the certificate has a NUL, control, bidirectional or invisible character",
        "be careful with that certificate: such names are made to be taken for others",
    ),
    "import-never-valid": (
        "the certificate is never valid: notAfter is not after notBefore",
        "there is nothing to watch",
    ),
    "import-chain-too-long": (
        f"the chain has more than {MAX_CHAIN} certificates",
        "send those that issued the certificate, and no others",
    ),
    "import-chain-wrong": (
        "the chain did not issue the certificate, or is not in order",
        "begin with the certificate's own issuer, then who issued that; the root may be left out",
    ),
    "import-chain-not-ca": (
        "a certificate of the chain is not a CA certificate",
        "send only those that issued the one below them",
    ),
}


@dataclass(frozen=True, slots=True)
class ForeignCertificate:
    """A certificate as it is kept, and what says which CA issued it. Times in milliseconds.

    `names_left_out` counts those that we have no form for; `common_names` are all of the subject's,
    of which the last is the most particular. `issuer_label` is for people, and proves nothing.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    der: bytes
    serial: str
    names: tuple[Name, ...]
    names_left_out: int
    common_names: tuple[str, ...]
    not_before: int
    not_after: int
    issuer_dn: bytes
    issuer_key_identifier: bytes
    issuer_label: str


def read_foreign(certificate: str, chain: str | None) -> ForeignCertificate:
    """Read a certificate (PEM, or base64 of DER), and the PEM of those that issued it.

    The chain's signatures are verified; what stands above it is nobody's to say. Raises
    InvalidInput at `certificate` or `chain`, with a code `import-…`.
    """
    der = _single(certificate, "certificate")
    read = _load(der, "certificate")
    issuers = () if chain is None else _chain(chain)
    _check_chain(read, issuers)
    try:
        dn, key_identifier, label = _issuer(read, der)
        names, left_out, common_names = _names(read, der)
        not_before = to_ms(read.not_valid_before_utc)
        not_after = to_ms(read.not_valid_after_utc)
    except (ValueError, IndexError):  # what the library did not look into until now
        _refuse("import-unreadable", "certificate")
    if not_after <= not_before:
        _refuse("import-never-valid", "certificate")
    return ForeignCertificate(
        certificate=read,
        chain=issuers,
        der=der,
        serial=_serial(read),
        names=names,
        names_left_out=left_out,
        common_names=common_names,
        not_before=not_before,
        not_after=not_after,
        issuer_dn=dn,
        issuer_key_identifier=key_identifier,
        issuer_label=label,
    )


def _refuse(code: str, field: str) -> NoReturn:
    detail, hint = _REFUSALS[code]
    raise InvalidInput(code, detail, field=field, hint=hint)


# From text to DER


def _single(text: str, field: str) -> bytes:
    if _BEGIN not in text:
        return _decode(text, field)
    found = _blocks(text, field)
    if len(found) > 1:
        _refuse("import-more-than-one", field)
    return found[0]


def _chain(text: str) -> tuple[x509.Certificate, ...]:
    if not text.strip():
        return ()
    if _BEGIN not in text:
        _refuse("import-unreadable", "chain")
    found = _blocks(text, "chain")
    if len(found) > MAX_CHAIN:
        _refuse("import-chain-too-long", "chain")
    return tuple(_load(der, "chain") for der in found)


def _blocks(text: str, field: str) -> list[bytes]:
    """DER of every certificate in a PEM text; text between the blocks is passed over."""
    # A key before anything else: whoever sent one, in whatever company, has to hear of it.
    if "PRIVATE KEY-----" in text:
        _refuse("import-has-private-key", field)
    found = []
    for block in text.split(_BEGIN)[1:]:
        label, _, rest = block.partition(_LABEL_END)
        if label != _CERTIFICATE:
            _refuse("import-not-a-certificate", field)
        body, end, _ = rest.partition(f"-----END {_CERTIFICATE}-----")
        if not end:
            _refuse("import-unreadable", field)
        found.append(_decode(body, field))
    return found


def _decode(text: str, field: str) -> bytes:
    try:
        der = binascii.a2b_base64("".join(text.split()), strict_mode=True)
        _, end = element(der, 0)
    except (ValueError, IndexError):
        _refuse("import-unreadable", field)
    if end != len(der):
        _refuse("import-unreadable", field)
    if len(der) > MAX_DER:
        _refuse("import-too-large", field)
    return der


def _load(der: bytes, field: str) -> x509.Certificate:
    if not _has_positive_serial(der):  # which the library takes, with a warning
        _refuse("import-serial", field)
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        _refuse("import-unreadable", field)


# What is in it


def _fields(der: bytes) -> list[int]:
    """Offsets of the TBSCertificate's elements: serial, algorithm, issuer, validity, subject, key.

    Raises ValueError or IndexError.
    """
    outer, _ = element(der, 0)
    at, _ = element(der, outer)
    if der[at] == _VERSION_TAG:
        _, at = element(der, at)
    found = []
    for _ in range(6):
        found.append(at)
        _, at = element(der, at)
    return found


def _has_positive_serial(der: bytes) -> bool:
    try:
        start, end = element(der, _fields(der)[0])
    except (ValueError, IndexError):
        return True  # then something else is wrong with it
    return int.from_bytes(der[start:end], signed=True) > 0


def _serial(certificate: x509.Certificate) -> str:
    serial = certificate.serial_number
    if not 0 < serial < 1 << _MAX_SERIAL_BITS:
        _refuse("import-serial", "certificate")
    return serial_hex(serial)


def _issuer(certificate: x509.Certificate, der: bytes) -> tuple[bytes, bytes, str]:
    """The DER of the issuer's name, what tells its key from others', and words for it."""
    _, _, issuer, validity, subject, key = _fields(der)
    dn = der[issuer:validity]
    identifier = b""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        if der[subject:key] == dn:  # it says that it issued itself, so the key is its own
            identifier = der[slice(*element(der, key))]
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        _refuse("import-extensions-unreadable", "certificate")
    else:
        identifier = found.value.key_identifier or b""
    return dn, identifier, _label(der, issuer)


def _label(der: bytes, name_at: int) -> str:
    for attribute in (COMMON_NAME, ORGANIZATIONAL_UNIT, ORGANIZATION):
        for value in reversed(attribute_values(der, name_at, attribute)):
            try:
                text = value.text()
            except ValueError:
                continue
            text = "".join(c for c in text if c.isprintable()).strip()[:_LONGEST_LABEL]
            if text:
                return text
    return "a CA without a name"


def _names(
    certificate: x509.Certificate, der: bytes
) -> tuple[tuple[Name, ...], int, tuple[str, ...]]:
    common_names = tuple(_common_names(der))
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        # What clients once read host names from, where nothing else names the certificate.
        candidates = [name_from_common_name(text) for text in common_names]
        return tuple({name: None for name in candidates if name is not None}), 0, common_names
    if len(extension.value) > MAX_NAMES:
        _refuse("import-too-many-names", "certificate")
    found: dict[Name, None] = {}
    left_out = 0
    for general_name in extension.value:
        kind = KIND_OF.get(type(general_name))
        name = None if kind is None else str(general_name.value)
        if kind is None or name is None:
            left_out += 1
            continue
        _check_visible(name)
        try:
            found[parse_typed(kind, name, "certificate")] = None
        except InvalidInput:
            left_out += 1
    return tuple(found), left_out, common_names


def _common_names(der: bytes) -> list[str]:
    found = []
    for value in attribute_values(der, _fields(der)[4], COMMON_NAME):
        try:
            text = value.text()
        except ValueError:
            _refuse("import-name-unreadable", "certificate")
        if len(text) > _MAX_COMMON_NAME:
            _refuse("import-name-unreadable", "certificate")
        _check_visible(text)
        if text:
            name = name_from_common_name(text)
            found.append(text if name is None else name.value)
    return found


def _check_visible(text: str) -> None:
    if not text.isprintable():
        _refuse("import-name-invisible-character", "certificate")


# Who issued it


def _check_chain(certificate: x509.Certificate, chain: Sequence[x509.Certificate]) -> None:
    try:
        are_cas = all(_is_ca(issuer) for issuer in chain)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        _refuse("import-extensions-unreadable", "chain")
    if not are_cas:
        _refuse("import-chain-not-ca", "chain")
    try:
        check_chain((certificate, *chain))
    except WrongCertificate:
        _refuse("import-chain-wrong", "chain")


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return found.value.ca
