"""A CA that the operator brings: its certificate and key, read from files and looked at closely.

Everything that is wrong is `domain.errors.Misconfigured` with its own code and words, at
`cert_path`, `key_path` or `key_password`. Paths are the operator's own and are shown; what the
files hold is not.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certctl.ca.authority import CertificateAuthority
from certctl.domain.clock import to_ms
from certctl.domain.errors import InvalidInput, Misconfigured
from certctl.pki.certificates import WrongCertificate, check_chain, split_pem_certificates
from certctl.pki.keys import classify, spki_of

if TYPE_CHECKING:
    from certctl.ca.extensions import StatusAddresses
    from certctl.pki.keys import PrivateKey

_MAX_BYTES = 1_000_000  # of a certificate or key file; a device or a log is no such file
# `openssl ecparam -genkey` writes a block of parameters before the key.
_KEY_BLOCK = re.compile(
    rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----[ \t\r]*(?:\n|\Z)", re.DOTALL
)
_ENCRYPTED = re.compile(rb"BEGIN ENCRYPTED PRIVATE KEY|^Proc-Type: *4, *ENCRYPTED", re.MULTILINE)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def load_sub_ca(
    cert_path: str,
    key_path: str,
    password: str | None,
    now_ms: int,
    status: StatusAddresses | None = None,
) -> CertificateAuthority:
    """Read a signing CA, whose leaves are to carry the addresses in `status`.

    `cert_path` names a PEM file with the CA's certificate first and its issuers after it, upwards
    (the root may be left out). `key_path` names its key: RSA, ECDSA (P-256, P-384, P-521), Ed25519
    or Ed448, in PKCS#1, SEC 1 or PKCS#8, encrypted with `password` or plain; nobody but its owner
    may have access to the file. `now_ms` is the present in milliseconds.

    Raises Misconfigured (`ca-…`) for whatever would make its certificates worthless.
    """
    certificates = _certificates(cert_path)
    _check_certificate(certificates[0], cert_path, now_ms)
    key = _key(key_path, password)
    if spki_of(key.public_key()) != spki_of(certificates[0].public_key()):
        raise _wrong(
            "ca-key-mismatch",
            f"the key in {key_path} is not the key of the first certificate in {cert_path}",
            "key_path",
            "name the key that belongs to it, or put the CA's own certificate first in the file",
        )
    try:
        check_chain(certificates)
    except WrongCertificate as error:
        raise _wrong(
            "ca-chain-broken",
            f"the certificates in {cert_path} do not follow one another: {error}",
            "cert_path",
            "write the CA's certificate first, then its issuer, then that one's issuer",
        ) from error
    return CertificateAuthority(key, certificates[0], tuple(certificates[1:]), status)


def _wrong(code: str, detail: str, field: str, hint: str | None = None) -> Misconfigured:
    return Misconfigured(code, detail, field=field, hint=hint)


def _read(path: str, field: str, *, private: bool) -> bytes:
    try:
        with Path(path).open("rb") as file:
            # Of the opened file, not of the path: between two looks it could be another one.
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise _wrong(
            "ca-file-unreadable",
            f"{path} cannot be read: {reason}",
            field,
            "check the path, and that the user of this service may read it",
        ) from error
    if private and mode & _OTHERS:
        raise _wrong(
            "ca-key-permissions",
            f"{path} is open to its group or to everybody (mode {stat.S_IMODE(mode):04o})",
            field,
            "allow only its owner to read it: chmod 0400",
        )
    if len(content) > _MAX_BYTES:
        raise _wrong("ca-file-too-large", f"{path} is too large to be PEM of a CA", field)
    return content


def _certificates(path: str) -> list[x509.Certificate]:
    content = _read(path, "cert_path", private=False)
    try:
        certificates = split_pem_certificates(content.decode("ascii", "replace"))
    except ValueError as error:
        raise _wrong(
            "ca-certificate-unreadable",
            f"a PEM block in {path} is not a certificate that can be read",
            "cert_path",
            "write the file anew from the certificates your CA gave you",
        ) from error
    if not certificates:
        raise _wrong(
            "ca-certificate-no-pem",
            f"{path} has no PEM certificate",
            "cert_path",
            "convert DER with `openssl x509 -inform DER`",
        )
    return certificates


def _check_certificate(certificate: x509.Certificate, path: str, now_ms: int) -> None:
    try:
        key = certificate.public_key()
        extensions = {type(found.value): found.value for found in certificate.extensions}
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise _wrong(
            "ca-certificate-unreadable",
            f"the first certificate in {path} has a key or an extension that cannot be read",
            "cert_path",
        ) from error
    try:
        classify(key, "cert_path")
    except InvalidInput as error:
        raise _wrong(
            f"ca-{error.code}",
            f"the key of the first certificate in {path} is not accepted: {error.detail}",
            "cert_path",
            error.hint,
        ) from error
    constraints = extensions.get(x509.BasicConstraints)
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        raise _wrong(
            "ca-not-a-ca",
            f"the first certificate in {path} is not a CA certificate (it lacks CA:TRUE)",
            "cert_path",
            "put the CA's own certificate first in the file",
        )
    usage = extensions.get(x509.KeyUsage)
    # RFC 5280 §4.2.1.3 demands keyUsage of a CA; without one every use is allowed.
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        raise _wrong(
            "ca-no-cert-sign",
            f"the first certificate in {path} may not sign certificates (no keyCertSign)",
            "cert_path",
            "ask your CA for a certificate with keyCertSign",
        )
    if to_ms(certificate.not_valid_after_utc) < now_ms:
        raise _wrong(
            "ca-expired", f"the first certificate in {path} has expired", "cert_path", "renew it"
        )
    if to_ms(certificate.not_valid_before_utc) > now_ms:
        raise _wrong(
            "ca-not-yet-valid",
            f"the first certificate in {path} is not valid yet",
            "cert_path",
            "check this machine's clock",
        )


def _key(path: str, password: str | None) -> PrivateKey:
    content = _read(path, "key_path", private=True)
    block = _KEY_BLOCK.search(content)
    if block is None:
        raise _wrong(
            "ca-key-no-pem",
            f"{path} has no PEM private key",
            "key_path",
            "convert DER with `openssl pkey -inform DER`",
        )
    encrypted = _ENCRYPTED.search(block[0]) is not None
    if encrypted and password is None:
        raise _wrong(
            "ca-key-password-missing",
            f"the key in {path} is encrypted and no password is set",
            "key_password",
            "set the key's password",
        )
    if password is not None and not encrypted:
        raise _wrong(
            "ca-key-not-encrypted",
            f"a password is set and the key in {path} is not encrypted",
            "key_password",
            "remove the password from the settings, or encrypt the key",
        )
    try:
        key = load_pem_private_key(block[0], password.encode() if password is not None else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise _wrong(
                "ca-key-password-wrong",
                f"the key in {path} cannot be decrypted with the password that is set",
                "key_password",
                "correct the password",
            ) from error
        raise _wrong(
            "ca-key-unreadable", f"the private key in {path} cannot be read", "key_path"
        ) from error
    if isinstance(
        key,
        rsa.RSAPrivateKey
        | ec.EllipticCurvePrivateKey
        | ed25519.Ed25519PrivateKey
        | ed448.Ed448PrivateKey,
    ):
        return key
    raise _wrong(
        "ca-key-algorithm",
        f"the key in {path} is of an algorithm that does not sign certificates here",
        "key_path",
        "use RSA, ECDSA, Ed25519 or Ed448",
    )
