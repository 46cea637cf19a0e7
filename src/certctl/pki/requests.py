"""Certificate requests (PKCS#10, RFC 2986): read once, checked once.

Every refusal is `domain.errors.InvalidInput` with a code of its own and never repeats the request.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from cryptography.x509.oid import SignatureAlgorithmOID

from certctl.domain.errors import InvalidInput
from certctl.domain.names import MAX_COMMON_NAME, MAX_NAMES, name_from_common_name, parse_typed
from certctl.pki.der import SEQUENCE, element
from certctl.pki.general_names import KIND_OF
from certctl.pki.keys import SubjectKey, classify, spki_of
from certctl.pki.subjects import COMMON_NAME, attribute_values
from certctl.pki.usages import USAGE_OF_OID

if TYPE_CHECKING:
    from certctl.domain.keys import KeyType
    from certctl.domain.names import Name
    from certctl.domain.usages import Usage
    from certctl.pki.subjects import AttributeValue

_BEGIN = "-----BEGIN "
_LABELS = frozenset({"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"})  # RFC 7468 §7
_CERTIFICATE_LABELS = frozenset({"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"})

_ECDSA = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: ec.ECDSA(hashes.SHA256()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: ec.ECDSA(hashes.SHA384()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: ec.ECDSA(hashes.SHA512()),
}
_STRONG_HASHES = frozenset({"sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"})
_WITHOUT_HASH = frozenset({SignatureAlgorithmOID.ED25519, SignatureAlgorithmOID.ED448})

_REFUSALS = {
    "csr-is-private-key": (
        "this is a private key, not a certificate request",
        "treat the key as exposed: make a new one, and send only the CSR made with it",
    ),
    "csr-is-certificate": (
        "this is a certificate, not a certificate request",
        "send the CSR; `openssl x509 -x509toreq` can make one from a certificate and its key",
    ),
    "csr-not-a-request": (
        "this is PEM of something other than a certificate request",
        "send a block that begins with `-----BEGIN CERTIFICATE REQUEST-----`",
    ),
    "csr-unreadable": (
        "the certificate request is neither PEM nor base64 of DER",
        "send PKCS#10 as PEM, or its DER as one base64 string",
    ),
    "csr-more-than-one": (
        "the text has more than one PEM block",
        "send one certificate request at a time, and nothing beside it",
    ),
    "csr-trailing-data": (
        "something follows the certificate request",
        "remove everything after the END line, or after the DER structure",
    ),
    "csr-signature-weak": (
        "the certificate request is signed with MD5, SHA-1 or another weak hash",
        "sign it with SHA-256 or better",
    ),
    "csr-signature-unknown": (
        "the certificate request is signed with an algorithm that is not known here",
        "sign it with RSA or ECDSA and SHA-256, or with Ed25519 or Ed448",
    ),
    "csr-signature-wrong": (
        "the signature of the certificate request does not verify",
        "make the CSR again with the private key that belongs to it",
    ),
    "key-unreadable": (
        "the public key in the certificate request cannot be read",
        "name the curve instead of spelling out its parameters, or make a new key",
    ),
    "key-exponent": (
        "the RSA key's public exponent is even or too small",
        "make a key with the exponent 65537",
    ),
    "csr-extensions-unreadable": (
        "the extensions that the certificate request asks for cannot be read",
        "make the CSR again; each extension may appear once and must follow RFC 5280",
    ),
    "csr-name-kind": (
        "the subjectAltName has a kind of name that is not certified here",
        "ask only for DNS names, IP addresses, e-mail addresses and URIs",
    ),
    "csr-asks-for-ca": (
        "the certificate request asks for a CA certificate",
        "leave out CA:TRUE, keyCertSign and cRLSign; only leaf certificates are issued",
    ),
    "csr-usage-unknown": (
        "the certificate request asks for an extended key usage that is not known here",
        "leave extended key usages out; the profile decides them",
    ),
    "csr-common-name-unreadable": (
        "the common name cannot be read",
        "encode it as a UTF8String",
    ),
    "csr-common-names": (
        "the subject has more than one common name",
        "keep one, and put further names into subjectAltName",
    ),
    "csr-common-name-too-long": (
        f"the common name has more than {MAX_COMMON_NAME} characters",
        "leave it out, or shorten it; names of any length fit into subjectAltName",
    ),
    "csr-common-name-invisible-character": (
        "the common name has a control, bidirectional or invisible character",
        "write it again by hand instead of pasting it",
    ),
    "csr-common-name-wildcard": (
        "the common name has a wildcard where none may stand",
        "only the whole leftmost label of a DNS name may be `*`, as in `*.example.org`",
    ),
    "too-many-names": (
        f"a certificate may carry at most {MAX_NAMES} names",
        "split the names over several certificates",
    ),
}


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A request whose signature was verified, and what it asks for.

    `spki` is DER of the key's SubjectPublicKeyInfo, `key_bits` its size (see `pki.keys.classify`).
    `common_name` is canonical where it is itself a name. `usages` is None when the request leaves
    the extended key usages to the profile. Other attributes of the subject, and other extensions,
    are not carried over: the profile decides what a certificate says.
    """

    der: bytes
    public_key: SubjectKey
    spki: bytes
    key_type: KeyType
    key_bits: int
    common_name: str | None
    names: tuple[Name, ...]
    usages: tuple[Usage, ...] | None

    @property
    def pem(self) -> str:
        """PEM of it (RFC 7468 §7)."""
        return x509.load_der_x509_csr(self.der).public_bytes(Encoding.PEM).decode("ascii")


def parse_request(text: str, field: str = "csr") -> CertificateRequest:
    """Read a request that somebody sent (PEM, RFC 7468 §7, or base64 of DER), and verify it.

    Text before the PEM block is ignored (RFC 7468 §2: `openssl req -text` writes some).

    Raises InvalidInput at `field`: `csr-…` for the request itself, `key-…` for its key, `name-…`
    and `too-many-names` for what its subjectAltName asks for.
    """
    der = _der_from_text(text, field)
    try:
        request = x509.load_der_x509_csr(der)
    except (ValueError, x509.InvalidVersion):
        _refuse(_what_else(der), field)
    return _read(request, der, field, check_signature=True)


def load_request(der: bytes) -> CertificateRequest:
    """Read a request that `parse_request` accepted before; its signature is not verified again.

    Raises ValueError or InvalidInput if the bytes are none.
    """
    return _read(x509.load_der_x509_csr(der), der, "csr", check_signature=False)


def _refuse(code: str, field: str) -> NoReturn:
    detail, hint = _REFUSALS[code]
    raise InvalidInput(code, detail, field=field, hint=hint)


def _der_from_text(text: str, field: str) -> bytes:
    begin = text.find(_BEGIN)
    body = text if begin < 0 else _pem_body(text, begin, field)
    try:
        der = binascii.a2b_base64("".join(body.split()), strict_mode=True)
        _, end = element(der, 0)
    except (ValueError, IndexError):
        _refuse("csr-unreadable", field)
    if der[0] != SEQUENCE:
        _refuse("csr-unreadable", field)
    if end != len(der):
        _refuse("csr-trailing-data", field)
    return der


def _pem_body(text: str, begin: int, field: str) -> str:
    label_start = begin + len(_BEGIN)
    label_end = text.find("-----", label_start)
    label = text[label_start:label_end]
    # A key before anything else: whoever sent one, in whatever company, has to hear of it.
    if "PRIVATE KEY-----" in text:
        _refuse("csr-is-private-key", field)
    if text.find(_BEGIN, label_start) >= 0:
        _refuse("csr-more-than-one", field)
    if label not in _LABELS:
        is_certificate = label in _CERTIFICATE_LABELS
        _refuse("csr-is-certificate" if is_certificate else "csr-not-a-request", field)
    end_line = f"-----END {label}-----"
    end = text.find(end_line, label_end)
    if end < 0 or (begin > 0 and text[begin - 1] not in "\r\n\t \ufeff"):
        _refuse("csr-unreadable", field)
    rest = text[end + len(end_line) :]
    if rest and not rest.isspace():
        _refuse("csr-trailing-data", field)
    return text[label_end + 5 : end]


def _what_else(der: bytes) -> str:
    """The code for a DER structure that is not a request."""
    try:
        x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion):
        pass
    else:
        return "csr-is-certificate"
    try:
        load_der_private_key(der, None)
    except TypeError:  # encrypted, so a key all the same
        return "csr-is-private-key"
    except (ValueError, UnsupportedAlgorithm):
        return "csr-unreadable"
    return "csr-is-private-key"


def _read(
    request: x509.CertificateSigningRequest, der: bytes, field: str, *, check_signature: bool
) -> CertificateRequest:
    try:
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        bad_exponent = str(error).startswith("e must be")  # the library's words for RSA's e
        _refuse("key-exponent" if bad_exponent else "key-unreadable", field)
    # The key's size first: verifying with an outsized one is what it would be sent for.
    public_key, key_type, key_bits = classify(key, field)
    if check_signature:
        _verify(request, public_key, field)
    common_name = _common_name(der, field)
    names, usages = _extensions(request, field)
    return CertificateRequest(
        der, public_key, spki_of(public_key), key_type, key_bits, common_name, names, usages
    )


def _verify(request: x509.CertificateSigningRequest, key: SubjectKey, field: str) -> None:
    algorithm = request.signature_algorithm_oid
    ecdsa = _ECDSA.get(algorithm)
    try:
        if ecdsa is not None and isinstance(key, ec.EllipticCurvePublicKey):
            # What `is_signature_valid` does, without decoding the key a second time.
            key.verify(request.signature, request.tbs_certrequest_bytes, ecdsa)
            return
        if ecdsa is None and algorithm not in _WITHOUT_HASH:
            _check_hash(request, field)
        valid = request.is_signature_valid
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        valid = False
    if not valid:
        _refuse("csr-signature-wrong", field)


def _check_hash(request: x509.CertificateSigningRequest, field: str) -> None:
    try:
        digest = request.signature_hash_algorithm
    except UnsupportedAlgorithm:
        digest = None
    if digest is None:
        _refuse("csr-signature-unknown", field)
    if digest.name not in _STRONG_HASHES:
        _refuse("csr-signature-weak", field)


def _common_name(der: bytes, field: str) -> str | None:
    """The subject's one common name, or None."""
    request, _ = element(der, 0)
    info, _ = element(der, request)
    _, at = element(der, info)  # past the version
    found = attribute_values(der, at, COMMON_NAME)
    if len(found) > 1:
        _refuse("csr-common-names", field)
    return _checked_common_name(found[0], field) if found and found[0].value else None


def _checked_common_name(value: AttributeValue, field: str) -> str:
    try:
        text = value.text()
    except ValueError:
        _refuse("csr-common-name-unreadable", field)
    if len(text) > MAX_COMMON_NAME:
        _refuse("csr-common-name-too-long", field)
    if not text.isprintable():
        _refuse("csr-common-name-invisible-character", field)
    name = name_from_common_name(text)
    if name is not None:
        # An A-label may be longer than what was written.
        if len(name.value) > MAX_COMMON_NAME:
            _refuse("csr-common-name-too-long", field)
        return name.value
    if "*" in text:
        _refuse("csr-common-name-wildcard", field)
    return text


def _extensions(
    request: x509.CertificateSigningRequest, field: str
) -> tuple[tuple[Name, ...], tuple[Usage, ...] | None]:
    names: tuple[Name, ...] = ()
    usages: tuple[Usage, ...] | None = None
    try:
        extensions = request.extensions
    except x509.UnsupportedGeneralNameType:
        _refuse("csr-name-kind", field)
    except (ValueError, x509.DuplicateExtension):
        _refuse("csr-extensions-unreadable", field)
    for extension in extensions:
        match extension.value:
            case x509.SubjectAlternativeName() as value:
                names = _names(value, field)
            case x509.ExtendedKeyUsage() as value:
                usages = _usages(value, field)
            case x509.BasicConstraints(ca=True):
                _refuse("csr-asks-for-ca", field)
            case x509.KeyUsage() as value if value.key_cert_sign or value.crl_sign:
                _refuse("csr-asks-for-ca", field)
    return names, usages


def _names(value: x509.SubjectAlternativeName, field: str) -> tuple[Name, ...]:
    if len(value) > MAX_NAMES:
        _refuse("too-many-names", field)
    found: list[Name] = []
    for general_name in value:
        kind = KIND_OF.get(type(general_name))
        if kind is None:
            _refuse("csr-name-kind", field)
        found.append(parse_typed(kind, str(general_name.value), field))
    return tuple(found) if len(found) == 1 else tuple(dict.fromkeys(found))


def _usages(value: x509.ExtendedKeyUsage, field: str) -> tuple[Usage, ...] | None:
    found: dict[Usage, None] = {}
    for oid in value:
        usage = USAGE_OF_OID.get(oid)
        if usage is None:
            _refuse("csr-usage-unknown", field)
        found[usage] = None
    return tuple(found) or None
