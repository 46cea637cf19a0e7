"""The private key and the request, made on the operator's machine."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from certctl.domain.errors import CertctlError, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.pki.keys import PrivateKey

_MAX_COMMON_NAME = 64  # RFC 5280 appendix A.1, ub-common-name
_UNSAFE_IN_FILES = re.compile(r"[^A-Za-z0-9._@+-]+")
_LONGEST_STEM = 100


class KeyChoice(StrEnum):
    """Keys that `certctl issue` makes."""

    P256 = "ecdsa-p256"
    P384 = "ecdsa-p384"
    RSA2048 = "rsa-2048"
    RSA3072 = "rsa-3072"
    RSA4096 = "rsa-4096"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, a name for files, and what is new (`key_pem`) or was there (`csr_file`)."""

    csr: str
    stem: str
    key_pem: bytes | None = None
    csr_file: Path | None = None


def from_names(
    names: list[str], common_name: str | None, *, choice: KeyChoice, key_file: Path | None
) -> Prepared:
    """Make a request for names as a person writes them, with a new key or the one in a file.

    Raises InvalidInput, OSError.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from certctl.domain.names import parse_names
    from certctl.pki.request_builder import build_request

    try:
        parsed = parse_names(names)
    except InvalidInput as error:
        raise _with_name(error, names) from None
    if common_name is not None and not 0 < len(common_name) <= _MAX_COMMON_NAME:
        raise InvalidInput(
            "common-name-length",
            f"a common name has 1 to {_MAX_COMMON_NAME} characters",
            field="common_name",
            hint="leave --common-name out: clients look at the names",
        )
    key_pem = None
    if key_file is None:
        key = _new_key(choice)
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        key = _read_key(key_file)
    stem = _stem(parsed[0].value if parsed else common_name or "certificate")
    return Prepared(build_request(key, parsed, common_name), stem, key_pem)


def from_file(csr_file: Path) -> Prepared:
    """Take a request that is there already, as PEM or DER. Raises OSError."""
    content = csr_file.read_bytes()
    try:
        csr = content.decode("ascii")
    except UnicodeDecodeError:
        csr = base64.b64encode(content).decode("ascii")
    return Prepared(csr, _stem(csr_file.stem), csr_file=csr_file)


def _with_name(error: InvalidInput, names: list[str]) -> CertctlError:
    """The refusal with the name at fault: this is the operator's own terminal."""
    _, _, index = (error.field or "").partition(".")
    if not index.isdecimal():
        return error
    return InvalidInput(error.code, f"{names[int(index)]!r}: {error.detail}", hint=error.hint)


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
