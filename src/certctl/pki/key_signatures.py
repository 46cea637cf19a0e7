"""Signatures over a bare public key, which some CAs want in place of a certificate request.

They are made over the DER of the key's SubjectPublicKeyInfo, with its private key and SHA-256: RSA
with PKCS#1 v1.5 (RFC 8017 §8.2), ECDSA in DER (RFC 3279 §2.2.3).
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from certctl.domain.errors import InvalidInput
from certctl.pki.keys import spki_of

if TYPE_CHECKING:
    from certctl.pki.keys import PrivateKey
    from certctl.pki.requests import CertificateRequest

_FIELD = "key_signature"


def sign_key(key: PrivateKey) -> str:
    """Base64 of a new signature over the public half of `key`.

    Raises InvalidInput `key-signature-key-type` for a key that is neither RSA nor ECDSA.
    """
    spki = spki_of(key.public_key())
    match key:
        case rsa.RSAPrivateKey():
            signature = key.sign(spki, padding.PKCS1v15(), hashes.SHA256())
        case ec.EllipticCurvePrivateKey():
            signature = key.sign(spki, ec.ECDSA(hashes.SHA256()))
        case _:
            raise _undefined()
    return base64.b64encode(signature).decode("ascii")


def parse_key_signature(text: str, request: CertificateRequest) -> bytes:
    """Read a signature over a request's public key that somebody sent (base64), and verify it.

    White space does not count. Raises InvalidInput at `key_signature`: `key-signature-key-type`
    for a key that is neither RSA nor ECDSA, `key-signature-unreadable` for what is not base64, and
    `key-signature-wrong` where it does not verify.
    """
    key = request.public_key
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise _undefined()
    try:
        signature = binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError:
        signature = b""
    if not signature:
        raise InvalidInput(
            "key-signature-unreadable",
            "the signature over the public key is not base64",
            field=_FIELD,
            hint="send the octets of the signature as base64, without anything around it",
        )
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, request.spki, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(signature, request.spki, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise InvalidInput(
            "key-signature-wrong",
            "the signature over the public key does not verify with the key in the CSR",
            field=_FIELD,
            hint="sign the DER of the CSR's SubjectPublicKeyInfo with its private key and SHA-256: "
            "RSA with PKCS#1 v1.5, ECDSA in DER",
        ) from None
    return signature


def _undefined() -> InvalidInput:
    return InvalidInput(
        "key-signature-key-type",
        "a signature over the public key is defined for RSA and ECDSA keys only",
        field=_FIELD,
        hint="leave it out, or make an RSA or ECDSA key",
    )
