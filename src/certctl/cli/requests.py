"""The private key and the request, made on the operator's machine."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from certctl.domain.errors import CertctlError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509

    from certctl.domain.names import Name
    from certctl.pki.keys import PrivateKey
    from certctl.schemas.certificates import CertificateView, VersionView

_UNSAFE_IN_FILES = re.compile(r"[^A-Za-z0-9._@+-]+")
_LONGEST_STEM = 100


class KeyChoice(StrEnum):
    """Keys that `certctl issue` and `certctl renew` make."""

    P256 = "ecdsa-p256"
    P384 = "ecdsa-p384"
    RSA2048 = "rsa-2048"
    RSA3072 = "rsa-3072"
    RSA4096 = "rsa-4096"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, a name for files, and what is new (`key_pem`) or was there (`csr_file`).

    `csr` is None for the request that the server has. `key_signature` is base64, where a signature
    over the bare public key is to be sent too.
    """

    csr: str | None
    stem: str
    key_pem: bytes | None = None
    csr_file: Path | None = None
    key_signature: str | None = None
    signature_file: Path | None = None


def from_names(
    names: list[str],
    common_name: str | None,
    *,
    choice: KeyChoice,
    key_file: Path | None,
    sign: bool = False,
) -> Prepared:
    """Make a request for names as a person writes them, with a new key or the one in a file.

    With `sign`, also a signature over the bare public key. Raises InvalidInput, OSError.
    """
    from certctl.domain.names import MAX_COMMON_NAME, parse_names

    try:
        parsed = parse_names(names)
    except InvalidInput as error:
        raise _with_name(error, names) from None
    if common_name is not None and not 0 < len(common_name) <= MAX_COMMON_NAME:
        raise InvalidInput(
            "common-name-length",
            f"a common name has 1 to {MAX_COMMON_NAME} characters",
            field="common_name",
            hint="leave --common-name out: clients look at the names",
        )
    return _prepare(parsed, common_name, choice, key_file, sign=sign)


def for_renewal(
    certificate: CertificateView,
    version: VersionView,
    *,
    choice: KeyChoice | None,
    key_file: Path | None,
    sign: bool = False,
) -> Prepared:
    """Make a request for what is in a certificate and its newest version.

    The new key is of the kind of the present one, unless another is chosen. With `sign`, also a
    signature over the bare public key. Raises InvalidInput, OSError.
    """
    from cryptography import x509

    from certctl.domain.names import parse_name
    from certctl.pki.certificates import names_of

    present = x509.load_pem_x509_certificate(version.certificate.encode())
    # The API leaves out the kinds of names, which are in the certificate: `urn:a:b` is a URI.
    kinds = {name.value: name for name in names_of(present)}
    names = [kinds.get(text) or parse_name(text, "names") for text in certificate.names]
    if choice is None and key_file is None:
        choice = _kind_of(present)
    choice = choice or KeyChoice.P256
    return _prepare(names, certificate.common_name, choice, key_file, sign=sign)


def stem_of(certificate: CertificateView) -> str:
    """The name for a certificate's files: that of its first name."""
    return _stem([*certificate.names, certificate.common_name or "certificate"][0])


def from_file(csr_file: Path, signature_file: Path | None = None) -> Prepared:
    """Take a request that is there already (PEM or DER), and a signature (base64 or its octets).

    Raises OSError.
    """
    return Prepared(
        _text_of(csr_file),
        _stem(csr_file.stem),
        csr_file=csr_file,
        key_signature=None if signature_file is None else _text_of(signature_file),
        signature_file=signature_file,
    )


def _text_of(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        return base64.b64encode(content).decode("ascii")


def _prepare(
    names: Sequence[Name],
    common_name: str | None,
    choice: KeyChoice,
    key_file: Path | None,
    *,
    sign: bool,
) -> Prepared:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from certctl.pki.request_builder import build_request

    key_pem = None
    if key_file is None:
        key = _new_key(choice)
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        key = _read_key(key_file)
    stem = _stem(names[0].value if names else common_name or "certificate")
    signature = _signature(key) if sign else None
    csr = build_request(key, names, common_name)
    return Prepared(csr, stem, key_pem, key_signature=signature)


def _signature(key: PrivateKey) -> str:
    from certctl.pki.key_signatures import sign_key

    try:
        return sign_key(key)
    except InvalidInput as error:
        raise InvalidInput(
            error.code,
            error.detail,
            hint="choose another kind with --key-type or bring another key with --key, or leave "
            "--key-signature out",
        ) from None


def _with_name(error: InvalidInput, names: list[str]) -> CertctlError:
    """The refusal with the name at fault: this is the operator's own terminal."""
    _, _, index = (error.field or "").partition(".")
    if not index.isdecimal():
        return error
    return InvalidInput(error.code, f"{names[int(index)]!r}: {error.detail}", hint=error.hint)


def _kind_of(certificate: x509.Certificate) -> KeyChoice:
    from certctl.domain.keys import KeyType
    from certctl.pki.keys import classify

    _, key_type, bits = classify(certificate.public_key(), "key")
    try:
        return KeyChoice(f"rsa-{bits}" if key_type is KeyType.RSA else key_type.value)
    except ValueError:
        raise InvalidInput(
            "key-type-unknown",
            "the present key is of a kind that is not made here",
            hint="choose another with --key-type, or bring one with --key or --csr",
        ) from None


def _new_key(choice: KeyChoice) -> PrivateKey:
    from certctl.domain.keys import KeyType
    from certctl.pki.keys import generate_key

    kind, _, bits = choice.value.partition("-")
    if kind == "rsa":
        return generate_key(KeyType.RSA, rsa_bits=int(bits))
    return generate_key(KeyType(choice.value))


def _read_key(path: Path) -> PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from certctl.pki.keys import PrivateKey

    content = path.read_bytes()
    try:
        key = load_pem_private_key(content, None)
    except TypeError:
        raise InvalidInput(
            "key-encrypted",
            f"the key in {path} is encrypted",
            hint="make the CSR with the tool that knows its passphrase, and use --csr",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput(
            "key-unreadable",
            f"{path} holds no private key that can be read",
            hint="name a PEM file that begins with -----BEGIN PRIVATE KEY-----",
        ) from None
    if not isinstance(key, PrivateKey):
        raise InvalidInput(
            "key-algorithm",
            f"the key in {path} is of a kind that is not certified",
            hint="use an ECDSA, RSA or Ed25519 key",
        )
    return key


def _stem(text: str) -> str:
    """A name that is safe for files, and is not hidden."""
    text = text.replace("*", "wildcard")
    return _UNSAFE_IN_FILES.sub("_", text).lstrip(".")[:_LONGEST_STEM] or "certificate"
