"""Who may ask the stand-in: API keys with their secrets, and client certificates."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    """One generation of credentials: what was handed out together belongs together."""

    generation: int
    api_key: str
    api_secret: str
    #: The client's certificate and key in PEM, and the certificate's serial.
    certificate: str
    private_key: str
    serial: int

    def write(self, folder: Path, name: str = "client") -> tuple[Path, Path]:
        """Write certificate and key into a folder; their paths."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_text(self.certificate)
        key.write_text(self.private_key)
        key.chmod(0o600)
        return certificate, key


def new_pair(generation: int) -> tuple[str, str]:
    """An API key and its secret, which no other generation has."""
    return (
        f"key-{generation}-{secrets.token_hex(12)}",
        f"secret-{generation}-{secrets.token_hex(16)}",
    )


@dataclass(frozen=True, slots=True)
class Presented:
    """What came with a request; generations are None for what the stand-in never handed out."""

    key_generation: int | None
    secret_generation: int | None
    accepted: bool

    @property
    def is_mixed(self) -> bool:
        """Whether key and secret are both ours, and do not belong together."""
        return (
            self.key_generation is not None
            and self.secret_generation is not None
            and self.key_generation != self.secret_generation
        )


class Doorkeeper:
    """Knows every generation of credentials; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, int] = {}
        self._secrets: dict[str, int] = {}
        self._serials: dict[int, int] = {}
        self._ended: set[int] = set()

    def next_generation(self) -> int:
        """The number of the account that comes next."""
        with self._lock:
            return len(self._keys) + 1

    def admit(self, account: Account) -> None:
        """Accept an account from now on."""
        with self._lock:
            self._keys[account.api_key] = account.generation
            self._secrets[account.api_secret] = account.generation
            self._serials[account.serial] = account.generation

    def end(self, account: Account) -> None:
        """Accept that generation's key, secret and certificate no longer."""
        with self._lock:
            self._ended.add(account.generation)

    def restore(self, account: Account) -> None:
        """Accept it again."""
        with self._lock:
            self._ended.discard(account.generation)

    def look_at(self, api_key: str | None, api_secret: str | None) -> Presented:
        """What a key and a secret are worth."""
        with self._lock:
            key = self._keys.get(api_key or "")
            secret = self._secrets.get(api_secret or "")
            return Presented(
                key, secret, key is not None and key == secret and key not in self._ended
            )

    def is_open(self, generation: int | None) -> bool:
        """Whether a generation was handed out, and has not ended."""
        with self._lock:
            return generation in self._keys.values() and generation not in self._ended

    def knows_certificate(self, serial: int | None) -> bool:
        """Whether a client certificate is one that is accepted now."""
        with self._lock:
            generation = None if serial is None else self._serials.get(serial)
            return generation is not None and generation not in self._ended
