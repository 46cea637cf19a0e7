"""The key of an order, and how its owner proves to have it: one of three ways, by the policy."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from certctl.pki.keys import spki_of
from tests.conformance.hvca.register import spki_hash

if TYPE_CHECKING:
    from tests.conformance.hvca.policy import Findings, Rule

Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_REQUEST = "-----BEGIN CERTIFICATE REQUEST-----"
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_FIELD = "public_key"
_SIGNATURE = "public_key_signature"


def read_key(findings: Findings, policy: Rule, text: Any, signature: Any) -> Key | None:
    """The public key of an order, whose proof of possession is what the policy demands."""
    rule = policy["public_key"]
    as_request = rule.get("key_format") == "PKCS10"
    if not isinstance(text, str) or not text:
        findings.add(_FIELD, "is required")
        return None
    if text.startswith(_REQUEST) != as_request:
        wanted = "a certificate request" if as_request else "a bare public key"
        findings.add(_FIELD, f"must be {wanted} by the policy")
        return None
    key = _key_of_request(findings, text) if as_request else _bare_key(findings, text)
    if key is None:
        return None
    _check_kind(findings, rule, key)
    signature = signature or None  # some clients send an empty one where there is none
    if findings.present(_SIGNATURE, policy["public_key_signature"], signature) and signature:
        _check_signature(findings, key, signature)
    return key


def guess_key(text: Any) -> str | None:
    """The hash of whatever key is in there, for the books: what is refused is written down too."""
    try:
        if str(text).startswith(_REQUEST):
            return spki_hash(x509.load_pem_x509_csr(str(text).encode()).public_key())
        return spki_hash(load_pem_public_key(str(text).encode()))
    except (ValueError, UnsupportedAlgorithm):
        return None


def is_request_by(text: str, key: Any) -> bool:
    """Whether a text is a certificate request that this key signed."""
    try:
        request = x509.load_pem_x509_csr(text.encode())
        return request.is_signature_valid and spki_of(request.public_key()) == spki_of(key)
    except (ValueError, UnsupportedAlgorithm):
        return False


def _key_of_request(findings: Findings, text: str) -> Key | None:
    try:
        request = x509.load_pem_x509_csr(text.encode())
        key, valid = request.public_key(), request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        findings.add(_FIELD, "is no certificate request that can be read")
        return None
    if not valid:
        findings.add(_FIELD, "is a certificate request whose signature is wrong")
    return _known(findings, key)


def _bare_key(findings: Findings, text: str) -> Key | None:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        findings.add(_FIELD, "is no public key that can be read")
        return None
    # PEM of SubjectPublicKeyInfo with lines of 64 characters; the last newline may be missing.
    regular = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    if text.removesuffix("\n") != regular.removesuffix("\n"):
        findings.add(_FIELD, "is no SubjectPublicKeyInfo in lines of 64 characters")
    return _known(findings, key)


def _known(findings: Findings, key: Any) -> Key | None:
    if isinstance(key, rsa.RSAPublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    findings.add(_FIELD, "is neither RSA nor on one of the curves P-256, P-384 and P-521")
    return None


def _check_kind(findings: Findings, rule: Rule, key: Key) -> None:
    kind = "RSA" if isinstance(key, rsa.RSAPublicKey) else "ECDSA"
    if rule.get("key_type", kind) != kind:
        findings.add(_FIELD, f"must be a key of type {rule['key_type']} by the policy")
    if key.key_size not in rule["allowed_lengths"]:
        findings.add(_FIELD, "has a length that the policy does not allow")


def _check_signature(findings: Findings, key: Key, signature: Any) -> None:
    """Over the DER of the key itself, with SHA-256: PKCS #1 v1.5, or ECDSA in DER."""
    try:
        raw = base64.b64decode(str(signature), validate=True)
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(raw, spki_of(key), padding.PKCS1v15(), hashes.SHA256())
        else:
            key.verify(raw, spki_of(key), ec.ECDSA(hashes.SHA256()))
    except (binascii.Error, ValueError):
        findings.add(_SIGNATURE, "is not base64 of a signature")
    except InvalidSignature:
        findings.add(_SIGNATURE, "was not made by the key over itself")
