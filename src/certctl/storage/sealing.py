"""Secrets at rest: AES-256-GCM, bound to the row they belong to.

Layout of a sealed value: version (1 byte, 0x01), key id (4 bytes), nonce (12 bytes), ciphertext
with its tag. The key id tells which of several keys sealed it, so that keys can be rotated without
a moment at which everything must be rewritten at once.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from certctl.domain.errors import Misconfigured
from certctl.storage.key_file import KEY_FILE, MIN_SECRET_CHARACTERS, KeyFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "FURTHER_SETTING",
    "HEADER_BYTES",
    "KEY_FILE",
    "SECRET_SETTING",
    "Keyring",
    "key_id",
    "load_keyring",
    "read_keyring",
]

log = structlog.get_logger(__name__)

SECRET_SETTING = "CERTCTL_CONFIG_ENCRYPTION_KEY"  # noqa: S105 - the name of it
FURTHER_SETTING = "CERTCTL_CONFIG_DECRYPTION_KEYS"

_VERSION = 1
_ID_BYTES = 4
_NONCE_BYTES = 12
#: What a sealed value begins with, the same for all that one key sealed: version and key id.
HEADER_BYTES = 1 + _ID_BYTES
_BEFORE_CIPHERTEXT = HEADER_BYTES + _NONCE_BYTES
_TAG_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Keys:
    """One state of a keyring, replaced as a whole. `in_use` has the ids that it is said to hold."""

    current: bytes
    in_use: tuple[bytes, ...]
    ciphers: Mapping[bytes, AESGCM]


class Keyring:
    """The key that seals, and those that may still open. Safe to use from any thread.

    Whoever stores what `seal` returns calls it inside the function that `Database.write` runs: a
    rotation gives up an old key once it has seen a transaction of its own after the change.
    """

    def __init__(self, *secret_values: str, file: KeyFile | None = None) -> None:
        """Derive the keys. The first secret seals, any of them opens.

        `file` is where the first one is kept, None if certctl cannot change it. Raises
        Misconfigured for a secret below 32 characters, and ValueError without any.
        """
        if not secret_values:
            raise ValueError("a keyring needs at least one secret")
        if any(len(value) < MIN_SECRET_CHARACTERS for value in secret_values):
            raise Misconfigured(
                "encryption-key-too-short",
                f"{SECRET_SETTING} has fewer than {MIN_SECRET_CHARACTERS} characters",
                field=SECRET_SETTING,
                hint="make one with: openssl rand -hex 32",
            )
        self.file = file
        self._keys = _with_secrets({}, secret_values)
        #: Under which key the audit chains of a database are that does not have one stored: the
        #: keys that each of the secrets gives, the one that seals first.
        self.audit_keys: tuple[bytes, ...] = tuple(
            _derive(value, b"certctl audit v1", 32) for value in secret_values
        )

    @property
    def header(self) -> bytes:
        """What values begin with that are sealed from now on."""
        return bytes([_VERSION]) + self._keys.current

    @property
    def current(self) -> str:
        """The id of the key that seals, in hex."""
        return self._keys.current.hex()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys in use, in hex; the one that seals is the first."""
        return tuple(each.hex() for each in self._keys.in_use)

    def opens(self, key_id: str) -> bool:
        """Whether the key of that id is in this ring, in use or not."""
        return bytes.fromhex(key_id) in self._keys.ciphers

    def use(self, *secret_values: str) -> None:
        """Seal with the first of these from now on, and open with all of them and all before."""
        added = _with_secrets(self._keys.ciphers, secret_values)
        before = [each for each in self._keys.in_use if each not in added.in_use]
        self._keys = _Keys(added.current, (*added.in_use, *before), added.ciphers)

    def retire(self) -> None:
        """Have nothing but the current key in use: nothing that is stored needs another.

        Until the process ends the others still open what somebody read a moment ago.
        """
        keys = self._keys
        self._keys = _Keys(keys.current, (keys.current,), keys.ciphers)

    def seal(self, scope: str, name: str, plaintext: bytes) -> bytes:
        """Encrypt; only `open` with the same scope and name gives it back."""
        keys = self._keys
        nonce = os.urandom(_NONCE_BYTES)
        header = bytes([_VERSION]) + keys.current
        bound = header + _bind(scope, name)
        return header + nonce + keys.ciphers[keys.current].encrypt(nonce, plaintext, bound)

    def open(self, scope: str, name: str, sealed: bytes) -> bytes:
        """Decrypt what was sealed for this scope and name.

        Raises Misconfigured (`sealing-key-wrong`) when the key is not in this ring, or when the
        value was changed or belongs somewhere else.
        """
        header, nonce = sealed[:HEADER_BYTES], sealed[HEADER_BYTES:_BEFORE_CIPHERTEXT]
        cipher = self._keys.ciphers.get(header[1:])
        too_short = len(sealed) < _BEFORE_CIPHERTEXT + _TAG_BYTES
        if too_short or header[0] != _VERSION or cipher is None:
            raise _wrong_key(scope, name, "was sealed with another key")
        try:
            return cipher.decrypt(nonce, sealed[_BEFORE_CIPHERTEXT:], header + _bind(scope, name))
        except InvalidTag:
            raise _wrong_key(scope, name, "was changed, or moved from another place") from None


def key_id(secret: str) -> str:
    """The id of the key that a secret gives, in hex: says nothing about the secret."""
    return _id(secret).hex()


def _id(secret: str) -> bytes:
    return _derive(secret, b"certctl key id v1", _ID_BYTES)


def _with_secrets(ciphers: Mapping[bytes, AESGCM], secret_values: tuple[str, ...]) -> _Keys:
    found: dict[bytes, AESGCM] = {}
    for value in secret_values:  # the first one wins should two ids ever be equal
        found.setdefault(_id(value), AESGCM(_derive(value, b"certctl sealing v1", 32)))
    return _Keys(next(iter(found)), tuple(found), {**ciphers, **found})


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
        f"was when this database was last used; after a change, {FURTHER_SETTING} names the old "
        "one until everything is sealed anew",
    )


def load_keyring(
    secret: str | None, data_dir: Path, *, required: bool, further: str | None = None
) -> Keyring:
    """The keyring of this installation, for its server: see `read_keyring`.

    What is unusual about it is said in the log.
    """
    keyring = read_keyring(secret, data_dir, required=required, further=further)
    others = [key_id(value) for value in _split(further)]
    if keyring.file is not None and set(keyring.ids[1:]) - set(others):
        log.warning(
            "a rotation of the sealing key did not come to its end",
            file=str(keyring.file.path),
            hint="finish it: certctl secrets rotate",
        )
    if others:
        log.info(
            "further sealing keys open what is stored",
            current=keyring.current,
            others=others,
            hint=f"{FURTHER_SETTING} is for the time of a rotation",
        )
    return keyring


def read_keyring(
    secret: str | None, data_dir: Path, *, required: bool, further: str | None = None
) -> Keyring:
    """The keyring of an installation.

    `secret` is the value of CERTCTL_CONFIG_ENCRYPTION_KEY. Without one, a generated file in the
    data directory is used, unless `required` (several machines could not share that file).
    `further` is the value of CERTCTL_CONFIG_DECRYPTION_KEYS: secrets that open and do not seal.

    Raises Misconfigured when there is no usable secret; its value is never in the words.
    """
    others = _split(further)
    if any(len(value) < MIN_SECRET_CHARACTERS for value in others):
        raise Misconfigured(
            "encryption-key-too-short",
            f"a secret in {FURTHER_SETTING} has fewer than {MIN_SECRET_CHARACTERS} characters",
            field=FURTHER_SETTING,
            hint="put commas between secrets, and write \\, for a comma that belongs to one",
        )
    if secret is not None:
        return Keyring(secret, *others)
    if required:
        raise Misconfigured(
            "encryption-key-missing",
            f"with PostgreSQL, {SECRET_SETTING} must be set: every process needs the same one",
            field=SECRET_SETTING,
            hint="make one with: openssl rand -hex 32, and keep it apart from the database",
        )
    file = _key_file(data_dir, may_create=bool(others))
    return Keyring(*file.read(), *others, file=file)


def _split(further: str | None) -> list[str]:
    # A comma that belongs to a secret has a backslash before it.
    parts = re.split(r"(?<!\\),", further or "")
    return [part.strip().replace("\\,", ",") for part in parts if part.strip()]


def _key_file(data_dir: Path, *, may_create: bool) -> KeyFile:
    file = KeyFile(data_dir / KEY_FILE)
    if not file.path.exists():
        if (data_dir / "certctl.db").exists() and not may_create:
            # A new key would open nothing of what is stored, and say so only much later.
            raise Misconfigured(
                "encryption-key-lost",
                f"there is a database in the data directory, and no {KEY_FILE} beside it",
                field=SECRET_SETTING,
                hint=f"put {KEY_FILE} back from a backup, or set {SECRET_SETTING} to what it was",
            )
        file.create()
    return file
