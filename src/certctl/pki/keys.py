"""Public keys: which are certified, and what identifies them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certctl.domain.errors import InvalidInput
from certctl.domain.keys import RSA_MAX_BITS, RSA_MIN_BITS, KeyType
from certctl.pki.der import element

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_CURVES = {"secp256r1": KeyType.P256, "secp384r1": KeyType.P384, "secp521r1": KeyType.P521}
_MIN_EXPONENT = 3
_MAX_EXPONENT_BITS = 256

#: The public keys that are certified; each belongs to one KeyType.
SubjectKey = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)

#: Their private halves.
PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

_HINT = "make a key of one of these types: " + ", ".join(KeyType)


def classify(key: PublicKeyTypes, field: str = "csr") -> tuple[SubjectKey, KeyType, int]:
    """Return the key, its type and its size in bits (256 for Ed25519, 456 for Ed448).

    Raises InvalidInput at `field` for what no profile can allow: `key-too-short`, `key-too-long`
    and `key-exponent` (RSA; see `check_rsa`), `key-curve` (a curve other than NIST's P-256, P-384,
    P-521), `key-dsa`, and `key-algorithm` for the rest.
    """
    match key:
        case ec.EllipticCurvePublicKey():
            key_type = _CURVES.get(key.curve.name)
            if key_type is None:
                raise InvalidInput(
                    "key-curve",
                    "the key is on a curve that is not certified here",
                    field=field,
                    hint="use the curve P-256, P-384 or P-521",
                )
            return key, key_type, key.key_size
        case rsa.RSAPublicKey():
            check_rsa(key.key_size, key.public_numbers().e, field)
            return key, KeyType.RSA, key.key_size
        case ed25519.Ed25519PublicKey():
            return key, KeyType.ED25519, 256
        case ed448.Ed448PublicKey():
            return key, KeyType.ED448, 456
        case dsa.DSAPublicKey():
            raise InvalidInput("key-dsa", "DSA keys are not certified", field=field, hint=_HINT)
        case _:
            raise InvalidInput(
                "key-algorithm",
                "keys of this algorithm are not certified here",
                field=field,
                hint=_HINT,
            )


def check_rsa(bits: int, exponent: int, field: str = "csr") -> None:
    """Raise InvalidInput where an RSA key's size in bits or its public exponent is not accepted.

    RFC 8017 §3.1 wants an odd exponent of at least 3, FIPS 186-5 §5.1 one below 2^256; a long one
    makes every verification slow.
    """
    if bits < RSA_MIN_BITS:
        code, detail = "key-too-short", "the RSA key is too short"
    elif bits > RSA_MAX_BITS:
        code, detail = "key-too-long", "the RSA key is too long"
    elif (
        exponent < _MIN_EXPONENT or exponent % 2 == 0 or exponent.bit_length() > _MAX_EXPONENT_BITS
    ):
        code, detail = (
            "key-exponent",
            "the RSA key's public exponent is even, too small or too large",
        )
    else:
        return
    raise InvalidInput(
        code,
        detail,
        field=field,
        hint=f"make a key of {RSA_MIN_BITS} to {RSA_MAX_BITS} bits with the exponent 65537",
    )


def generate_key(key_type: KeyType, rsa_bits: int = 3072) -> PrivateKey:
    """Make a new private key; `rsa_bits` counts for RSA only (its exponent is 65537)."""
    match key_type:
        case KeyType.RSA:
            return rsa.generate_private_key(65537, rsa_bits)
        case KeyType.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyType.P521:
            return ec.generate_private_key(ec.SECP521R1())
        case KeyType.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyType.ED448:
            return ed448.Ed448PrivateKey.generate()


def spki_of(key: PublicKeyTypes) -> bytes:
    """DER of the key's SubjectPublicKeyInfo, encoded anew so that equal keys compare equal."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def subject_key_identifier(spki: bytes) -> bytes:
    """The key's identifier by RFC 7093 §2 method 1: 160 bits of SHA-256 over the key's bits.

    `spki` is DER of a SubjectPublicKeyInfo; the bits are the value of its BIT STRING, without tag,
    length and the count of unused bits.
    """
    start, _ = element(spki, 0)
    _, algorithm_end = element(spki, start)
    bits, _ = element(spki, algorithm_end)
    return hashlib.sha256(memoryview(spki)[bits + 1 :]).digest()[:20]
