"""Files that are whole or absent, and private keys that nobody else could ever read."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certctl.cli.errors import CommandFailed
from certctl.cli.exit_codes import ExitCode
from certctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from certctl.cli.session import Session

_PUBLIC = 0o644  # less the umask
_PRIVATE = 0o600
_LARGEST_TEXT = 1_000_000

#: Standard input, where a file is to be named.
STDIN = "-"


def read_text(path: str, what: str) -> str:
    """The text of a small file, or of standard input, that was named for `what`.

    Raises InvalidInput where it is no text or too long, OSError.
    """
    if path == STDIN:
        content = sys.stdin.buffer.read(_LARGEST_TEXT + 1)
    else:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_TEXT + 1)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None
    if text is None or len(content) > _LARGEST_TEXT:
        raise InvalidInput(
            "file-not-usable", f"what was named for {what} is not text, or is over a megabyte"
        )
    return text


def read_object(path: str, option: str, *, hint: str) -> dict[str, Any]:
    """The JSON object in a file that was named for an option; as `read_text`."""
    return json_object(read_text(path, option), f"the file of {option}", hint=hint)


def json_object(text: str, what: str, *, hint: str) -> dict[str, Any]:
    """A text as a JSON object. Raises InvalidInput, which says how to write one."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise InvalidInput("config-not-usable", f"{what} is not a JSON object", hint=hint)
    return read


def quoted(path: Path) -> str:
    """A path as it can be pasted into a shell."""
    return shlex.quote(str(path))


def refuse_existing(*paths: Path) -> None:
    """Raise CommandFailed where one of them is there."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise _exists(path)


def _exists(path: Path) -> CommandFailed:
    return CommandFailed(
        "file-exists",
        f"{path} is there already",
        exit_code=ExitCode.USAGE,
        hint="choose another place with --out, or replace it with --force",
    )


def write_file(path: Path, content: bytes, *, force: bool = False) -> None:
    """Write a public file; a reader sees all of it or none. Replaces another only with `force`."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    _create(temporary, content, _PUBLIC)
    try:
        if force:
            temporary.replace(path)
        else:
            _move_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can ever read."""
    try:
        _create(path, content, _PRIVATE)
    except FileExistsError:
        raise _exists(path) from None


def save(session: Session, content: bytes, out: str, *, force: bool) -> None:
    """Write a download to a file or, for `-`, to standard output."""
    if out == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    write_file(Path(out), content, force=force)
    session.note(f"Wrote {out}")


def _move_new(temporary: Path, path: Path) -> None:
    try:
        # A link, because renaming would replace a file that came between the check and now.
        os.link(temporary, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # not every file system has links
        refuse_existing(path)
        temporary.replace(path)


def _create(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say where
        raise


class NewKey:
    """A private key made here: on disk before its request is sent, so that no certificate can
    come without it.

    Where a key is to be replaced, the new one stands beside it (`….new`) until its certificate is
    there: a key without its certificate would break whoever uses the pair.
    """

    def __init__(self, path: Path, pem: bytes, *, force: bool) -> None:
        self.path = path
        self._final = path
        if force and path.exists():
            self.path = path.with_name(f"{path.name}.new")
        try:
            _create(self.path, pem, _PRIVATE)
        except FileExistsError:
            raise self._exists() from None

    def __str__(self) -> str:
        """Where it is, and what is left to do with it."""
        if self.path == self._final:
            return str(self.path)
        step = f"mv {quoted(self.path)} {quoted(self._final)}"
        return f"{self.path} (once its certificate is there: {step})"

    def put_in_place(self) -> None:
        """Give it its name."""
        if self.path != self._final:
            self.path.replace(self._final)
            self.path = self._final

    def remove(self) -> None:
        """Take it back: no certificate will come."""
        with suppress(FileNotFoundError):
            self.path.unlink()

    def _exists(self) -> CommandFailed:
        if self.path == self._final:
            return _exists(self.path)
        return CommandFailed(
            "file-exists",
            f"{self.path} is there already: the key of a request that was not finished",
            exit_code=ExitCode.USAGE,
            hint=f"finish that request, or give its key up: rm {quoted(self.path)}",
        )
