"""The generated secret in the data directory, and those that it is taking the place of.

One secret a line: the first seals, the others still open. There is one line except during a
rotation, however long that takes and whatever dies in it.
"""

from __future__ import annotations

import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain.errors import Misconfigured, Unavailable
from certctl.storage.files import replace_file, write_once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEY_FILE = "encryption.key"
MIN_SECRET_CHARACTERS = 32


def new_secret() -> str:
    """A secret of 256 random bits, in hex."""
    return secrets.token_hex(32)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The file of one data directory. A symbolic link in its place is followed, and stays."""

    path: Path

    def create(self) -> None:
        """Make it with a new secret unless it is there."""
        write_once(self.path, _content([new_secret()]), 0o600)

    def read(self) -> list[str]:
        """Its secrets, the one that seals first.

        Raises Misconfigured for a file that others can read, or that is not what certctl made.
        """
        try:
            if stat.S_IMODE(self.path.stat().st_mode) & 0o077:
                raise Misconfigured(
                    "encryption-key-exposed",
                    f"{self.path} can be read by other users of this machine",
                    hint=f"chmod 600 {self.path}",
                )
            lines = [line.strip() for line in self.path.read_text("ascii").splitlines()]
        except (OSError, UnicodeDecodeError):
            lines = []
        found = [line for line in lines if line]
        if not found or any(len(line) < MIN_SECRET_CHARACTERS for line in found):
            raise Misconfigured(
                "encryption-key-damaged",
                f"{self.path} cannot be read or is not a key that certctl made",
                hint="put it back from a backup",
            )
        return found

    def write(self, secret_values: Sequence[str]) -> None:
        """Replace its secrets durably, the one that seals first.

        Raises Unavailable when the disk does not take it; then it holds the old ones or the new.
        """
        path = self.path.resolve()
        try:
            replace_file(path, _content(secret_values), 0o600)
            # What a process that died in the line above left behind holds secrets too.
            for leftover in path.parent.glob(f".{path.name}-*"):
                leftover.unlink()
        except OSError as error:
            raise Unavailable(
                "encryption-key-not-written",
                f"{self.path} cannot be written: {error.strerror}",
                hint="make room, or let the server's user write in that folder; then rotate again",
            ) from None


def _content(secret_values: Sequence[str]) -> bytes:
    return "".join(f"{value}\n" for value in secret_values).encode("ascii")
