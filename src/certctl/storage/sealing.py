"""Secrets at rest: AES-256-GCM, bound to the row they belong to.

Layout of a sealed value: version (1 byte, 0x01), key id (4 bytes), nonce (12 bytes), ciphertext
with its tag. The key id tells which of several keys sealed it, so that keys can be rotated without
a moment at which everything must be rewritten at once.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from certctl.domain.errors import Misconfigured
from certctl.storage.files import write_once

if TYPE_CHECKING:
    from pathlib import Path

SECRET_SETTING = "CERTCTL_CONFIG_ENCRYPTION_KEY"  # noqa: S105 - the name of it
KEY_FILE = "encryption.key"
MIN_SECRET_CHARACTERS = 32

_VERSION = 1
_ID_BYTES = 4
_NONCE_BYTES = 12
_HEADER_BYTES = 1 + _ID_BYTES + _NONCE_BYTES
_TAG_BYTES = 16


class Keyring:
    """The key that seals, and those that may still open. Safe to use from any thread."""

    def __init__(self, *secret_values: str) -> None:
        """Derive the keys. The first secret seals, any of them opens.

        Raises Misconfigured for a secret below 32 characters, and ValueError without any.
        """
        if not secret_values:
            raise ValueError("a keyring needs at least one secret")
        for value in secret_values:
            if len(value) < MIN_SECRET_CHARACTERS:
                raise Misconfigured(
                    "encryption-key-too-short",
                    f"{SECRET_SETTING} has fewer than {MIN_SECRET_CHARACTERS} characters",
                    field=SECRET_SETTING,
                    hint="make one with: openssl rand -hex 32",
                )
        self._ciphers: dict[bytes, AESGCM] = {}
        for value in reversed(secret_values):  # the first one wins should two ids ever be equal
            key_id = _derive(value, b"certctl key id v1", _ID_BYTES)
            self._ciphers[key_id] = AESGCM(_derive(value, b"certctl sealing v1", 32))
            self._current = key_id
        #: The key of the audit chains' MACs.
        self.audit_key: bytes = _derive(secret_values[0], b"certctl audit v1", 32)

    def seal(self, scope: str, name: str, plaintext: bytes) -> bytes:
        """Encrypt; only `open` with the same scope and name gives it back."""
        nonce = os.urandom(_NONCE_BYTES)
        header = bytes([_VERSION]) + self._current
        bound = header + _bind(scope, name)
        return header + nonce + self._ciphers[self._current].encrypt(nonce, plaintext, bound)

    def open(self, scope: str, name: str, sealed: bytes) -> bytes:
        """Decrypt what was sealed for this scope and name.

        Raises Misconfigured (`sealing-key-wrong`) when the key is not in this ring, or when the
        value was changed or belongs somewhere else.
        """
        header, nonce = sealed[: 1 + _ID_BYTES], sealed[1 + _ID_BYTES : _HEADER_BYTES]
        cipher = self._ciphers.get(header[1:])
        if len(sealed) < _HEADER_BYTES + _TAG_BYTES or header[0] != _VERSION or cipher is None:
            raise _wrong_key(scope, name, "was sealed with another key")
        try:
            return cipher.decrypt(nonce, sealed[_HEADER_BYTES:], header + _bind(scope, name))
        except InvalidTag:
            raise _wrong_key(scope, name, "was changed, or moved from another place") from None


def _derive(secret: str, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(secret.encode())


def _bind(scope: str, name: str) -> bytes:
    # The length keeps ("a", "bc") and ("ab", "c") apart.
    first = scope.encode()
    return len(first).to_bytes(4, "big") + first + name.encode()


def _wrong_key(scope: str, name: str, what: str) -> Misconfigured:
    return Misconfigured(
        "sealing-key-wrong",
        f"the stored secret {name!r} of {scope!r} cannot be opened: it {what}",
        hint=f"set {SECRET_SETTING} (or put {KEY_FILE} back into the data directory) to what it "
        "was when this database was last used",
    )


def load_keyring(secret: str | None, data_dir: Path, *, required: bool) -> Keyring:
    """The keyring of this installation.

    `secret` is the value of CERTCTL_CONFIG_ENCRYPTION_KEY. Without one, a generated file in the
    data directory is used, unless `required` (several machines could not share that file).

    Raises Misconfigured when there is no usable secret; its value is never in the words.
    """
    if secret is not None:
        return Keyring(secret)
    if required:
        raise Misconfigured(
            "encryption-key-missing",
            f"with PostgreSQL, {SECRET_SETTING} must be set: every process needs the same one",
            field=SECRET_SETTING,
            hint="make one with: openssl rand -hex 32, and keep it apart from the database",
        )
    return Keyring(_stored_secret(data_dir))


def _stored_secret(data_dir: Path) -> str:
    path = data_dir / KEY_FILE
    if not path.exists():
        if (data_dir / "certctl.db").exists():
            # A new key would open nothing of what is stored, and say so only much later.
            raise Misconfigured(
                "encryption-key-lost",
                f"there is a database in the data directory, and no {KEY_FILE} beside it",
                field=SECRET_SETTING,
                hint=f"put {KEY_FILE} back from a backup, or set {SECRET_SETTING} to what it was",
            )
        write_once(path, f"{secrets.token_hex(32)}\n".encode(), 0o600)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Misconfigured(
            "encryption-key-exposed",
            f"{path} can be read by other users of this machine",
            hint=f"chmod 600 {path}",
        )
    try:
        value = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        value = ""
    if len(value) < MIN_SECRET_CHARACTERS:
        raise Misconfigured(
            "encryption-key-damaged",
            f"{path} cannot be read or is not a key that certctl made",
            hint="put it back from a backup",
        )
    return value
