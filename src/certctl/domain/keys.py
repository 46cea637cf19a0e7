"""Kinds of public keys that a certificate may carry."""

from __future__ import annotations

from enum import StrEnum


class KeyType(StrEnum):
    """Algorithm of a subject's public key, as profiles, REST and the command line name it."""

    RSA = "rsa"
    P256 = "ecdsa-p256"
    P384 = "ecdsa-p384"
    P521 = "ecdsa-p521"
    ED25519 = "ed25519"
    ED448 = "ed448"


#: RSA keys outside this range are refused whatever the profile says: shorter ones are weak,
#: longer ones let a request buy seconds of our processor time.
RSA_MIN_BITS = 2048
RSA_MAX_BITS = 8192
