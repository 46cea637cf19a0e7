"""The key pair that signs exports of the audit log (Ed25519, RFC 8032)."""

from __future__ import annotations

from hashlib import sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

_INFO = b"certctl audit export v1"
_SEED_BYTES = 32
_ID_CHARACTERS = 16


class ExportKey:
    """The public half: it proves who signed, and cannot sign."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        #: The beginning of the SHA-256 of the raw public key, in hex.
        self.key_id = sha256(key.public_bytes_raw()).hexdigest()[:_ID_CHARACTERS]

    @classmethod
    def from_pem(cls, pem: bytes) -> ExportKey:
        """Read a public key in PEM. Raises ValueError where it is none, or of another type."""
        try:
            key = load_pem_public_key(pem)
        except UnsupportedAlgorithm as error:
            raise ValueError("the public key is of a type that is not known") from error
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("the public key is not an Ed25519 key")  # noqa: TRY004 - it is a value
        return cls(key)

    @property
    def pem(self) -> str:
        """The key as PEM (SubjectPublicKeyInfo)."""
        encoded = self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return encoded.decode()

    def is_signed(self, text: bytes, signature: bytes) -> bool:
        """Whether the private half made this signature over this text."""
        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True


class ExportSigner:
    """Both halves. They follow from the audit key, so that there is nothing more to store, and
    they stay the same as long as it does."""

    def __init__(self, audit_key: bytes) -> None:
        seed = HKDF(SHA256(), _SEED_BYTES, salt=None, info=_INFO).derive(audit_key)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = ExportKey(self._key.public_key())

    def sign(self, text: bytes) -> bytes:
        """A signature, 64 bytes long."""
        return self._key.sign(text)
