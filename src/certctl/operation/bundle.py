"""The file that a backup is: a tar archive that is whole to the last byte, or refused.

Members, in this order: `manifest.json` (`Manifest`), `certctl.db` (one state of the database),
`encryption.key` (only if asked for), and `sha256`: the digest, in hex, of every byte before the
header of this last member. Its own bytes follow from the digest, so that no byte of the file can
change without being seen. The digest finds damage; it is no signature, and whoever can write the
file can make another one.

`tar -xf` unpacks it where there is no certctl.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from certctl.domain.errors import Misconfigured
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.key_file import KEY_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 1
MANIFEST_FILE, DIGEST_FILE = "manifest.json", "sha256"

_BLOCK = tarfile.BLOCKSIZE
#: Header, one block with the digest, and the two empty blocks that end an archive.
TRAILER_BYTES = 4 * _BLOCK
_CHUNK = 1024 * 1024
_MAX_MANIFEST = 64 * 1024
_MAX_KEY = 64 * 1024


class Manifest(BaseModel):
    """What a backup says about itself. `created_at` is ISO 8601, UTC; `keys` the ids of the sealing
    keys under which the values in it are, each with their number."""

    model_config = ConfigDict(frozen=True)

    format: int
    certctl: str
    schema_revision: str
    created_at: str
    keys: dict[str, int]
    has_key: bool


@dataclass(frozen=True, slots=True)
class Bundle:
    """A file that was read to its end and is whole."""

    manifest: Manifest
    key: bytes | None
    _archive: tarfile.TarFile

    def extract_database(self, target: Path) -> None:
        """Write the database into a new file, mode 0600."""
        with _content(self._archive, DATABASE_FILE) as source, target.open("xb") as file:
            target.chmod(0o600)
            shutil.copyfileobj(source, file, _CHUNK)


def write_bundle(file: IO[bytes], manifest: Manifest, database: Path, key: bytes | None) -> None:
    """Write an archive to a file that is open for reading and writing, at its beginning."""
    _write_member(file, MANIFEST_FILE, (manifest.model_dump_json(indent=2) + "\n").encode())
    size = database.stat().st_size
    file.write(_header(DATABASE_FILE, size))
    with database.open("rb") as source:
        shutil.copyfileobj(source, file, _CHUNK)
    file.write(bytes(-size % _BLOCK))
    if key is not None:
        _write_member(file, KEY_FILE, key)
    end = file.tell()
    file.write(trailer(_digest(file, end)))


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Read a backup's every byte, and hand out what it holds.

    Raises Misconfigured: `backup-not-one` for something else, `backup-damaged` for one that was cut
    or altered, `backup-too-new` for one in a format of a newer certctl; OSError as it comes.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if not _begins_like_one(file):
            raise Misconfigured(
                "backup-not-one",
                "the file is not a backup that `certctl backup` made",
                hint="name the file that `certctl backup` wrote; a dump of PostgreSQL is put back "
                "with pg_restore",
            )
        end = size - TRAILER_BYTES
        if end < 0 or end % _BLOCK:
            raise _damaged("it was cut off")
        digest = _digest(file, end)
        if file.read(TRAILER_BYTES) != trailer(digest):
            raise _damaged("its digest is another one: it was cut off or altered")
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                yield _read(archive)
        except tarfile.TarError:
            raise _damaged("its parts cannot be told apart") from None


def trailer(digest: str) -> bytes:
    """The end of an archive whose other bytes have this SHA-256 (hex)."""
    content = f"{digest}\n".encode()
    return _header(DIGEST_FILE, len(content)) + content.ljust(_BLOCK, b"\0") + bytes(2 * _BLOCK)


def _read(archive: tarfile.TarFile) -> Bundle:
    with _content(archive, MANIFEST_FILE) as part:
        text = part.read(_MAX_MANIFEST)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError:
        raise _damaged("what it says about itself cannot be read") from None
    if manifest.format != FORMAT:
        raise Misconfigured(
            "backup-too-new",
            f"the backup is of format {manifest.format}, made by certctl {manifest.certctl}; this "
            f"certctl knows format {FORMAT}",
            hint="restore it with that version of certctl",
        )
    expected = [MANIFEST_FILE, DATABASE_FILE, *([KEY_FILE] if manifest.has_key else []), "sha256"]
    members = archive.getmembers()
    if [each.name for each in members] != expected or not all(each.isreg() for each in members):
        raise _damaged("it has other parts than a backup has")
    key = None
    if manifest.has_key:
        with _content(archive, KEY_FILE) as part:
            key = part.read(_MAX_KEY)
    return Bundle(manifest, key, archive)


@contextmanager
def _content(archive: tarfile.TarFile, name: str) -> Iterator[IO[bytes]]:
    try:
        part = archive.extractfile(name)
    except KeyError:
        part = None
    if part is None:  # not there, or no regular file
        raise _damaged(f"it has no {name}")
    with part:
        yield part


def _begins_like_one(file: IO[bytes]) -> bool:
    file.seek(0)
    try:
        first = tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError):
        return False
    return first.name == MANIFEST_FILE


def _digest(file: IO[bytes], end: int) -> str:
    """SHA-256, in hex, of the first `end` bytes; leaves the file there."""
    file.seek(0)
    digest = hashlib.sha256()
    left = end
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            raise _damaged("it became shorter while it was read")
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()


def _write_member(file: IO[bytes], name: str, content: bytes) -> None:
    file.write(_header(name, len(content)) + content + bytes(-len(content) % _BLOCK))


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    # GNU's format has sizes above 8 GiB.
    return member.tobuf(tarfile.GNU_FORMAT)


def _damaged(how: str) -> Misconfigured:
    return Misconfigured(
        "backup-damaged",
        f"the backup is not whole: {how}",
        hint="use another copy of it, or another backup",
    )
