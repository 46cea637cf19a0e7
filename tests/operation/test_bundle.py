"""The file that a backup is: what was put in comes out, and no other byte passes."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certctl.domain.errors import Misconfigured
from certctl.operation.bundle import (
    FORMAT,
    TRAILER_BYTES,
    Manifest,
    open_bundle,
    trailer,
    write_bundle,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"0123456789abcdef" * 4 + b"\n"
several = settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def manifest(*, key: bool, **changes: object) -> Manifest:
    values = {
        "format": FORMAT,
        "certctl": "0.1.0",
        "schema_revision": "0001",
        "created_at": "2026-11-30T00:00:00Z",
        "keys": {"0a0b0c0d": 3},
        "has_key": key,
    }
    return Manifest.model_validate({**values, **changes})


def make(folder: Path, database: bytes, key: bytes | None, **changes: object) -> Path:
    source, made = folder / "source", folder / "made"
    source.write_bytes(database)
    with made.open("w+b") as file:
        write_bundle(file, manifest(key=key is not None, **changes), source, key)
    return made


def code_of(path: Path) -> str:
    with pytest.raises(Misconfigured) as raised, open_bundle(path):
        pass
    return raised.value.code


@several
@given(database=st.binary(max_size=3000), key=st.sampled_from([None, KEY]))
def test_what_was_put_in_comes_out(tmp_path: Path, database: bytes, key: bytes | None) -> None:
    made, out = make(tmp_path, database, key), tmp_path / "out"
    out.unlink(missing_ok=True)
    with open_bundle(made) as bundle:
        assert bundle.manifest == manifest(key=key is not None)
        assert bundle.key == key
        bundle.extract_database(out)
    assert out.read_bytes() == database
    assert out.stat().st_mode & 0o777 == 0o600


@several
@given(place=st.integers(0, 10**6), change=st.integers(1, 255))
def test_no_byte_can_change(tmp_path: Path, place: int, change: int) -> None:
    made = make(tmp_path, b"a database" * 99, KEY)
    content = bytearray(made.read_bytes())
    content[place % len(content)] ^= change
    made.write_bytes(content)
    assert code_of(made) in {"backup-damaged", "backup-not-one"}


@several
@given(length=st.integers(0, 10**6))
def test_nothing_can_be_cut_off(tmp_path: Path, length: int) -> None:
    made = make(tmp_path, b"a database" * 99, KEY)
    content = made.read_bytes()
    made.write_bytes(content[: length % len(content)])
    assert code_of(made) in {"backup-damaged", "backup-not-one"}


@several
@given(more=st.binary(min_size=1, max_size=2000))
def test_nothing_can_be_added(tmp_path: Path, more: bytes) -> None:
    made = make(tmp_path, b"a database" * 99, KEY)
    with made.open("ab") as file:
        file.write(more)
    assert code_of(made) == "backup-damaged"


@several
@given(content=st.binary(max_size=4000))
def test_anything_else_is_not_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    assert code_of(path) == "backup-not-one"


def test_a_format_of_a_newer_certctl(tmp_path: Path) -> None:
    assert code_of(make(tmp_path, b"", None, format=FORMAT + 1)) == "backup-too-new"


@pytest.mark.parametrize("fault", ["a part too many", "a link", "no key", "no manifest to read"])
def test_other_parts_under_a_digest_that_fits(tmp_path: Path, fault: str) -> None:
    import hashlib

    made = make(tmp_path, b"a database", KEY if fault == "no key" else None)
    body = made.read_bytes()[:-TRAILER_BYTES]
    match fault:
        case "a part too many":
            extra = tarfile.TarInfo("../../etc/cron.d/x")
            body += extra.tobuf(tarfile.GNU_FORMAT)
        case "a link":
            link = tarfile.TarInfo("certctl.db")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            body = body[:1024] + link.tobuf(tarfile.GNU_FORMAT)
        case "no key":
            body = body[:-1024]
        case _:
            body = body[:512] + b"?" + body[513:]
    made.write_bytes(body + trailer(hashlib.sha256(body).hexdigest()))
    assert code_of(made) == "backup-damaged"


def test_tar_unpacks_it(tmp_path: Path) -> None:
    made = make(tmp_path, b"a database", KEY)
    with tarfile.open(made) as archive:
        assert archive.getnames() == ["manifest.json", "certctl.db", "encryption.key", "sha256"]
        part = archive.extractfile("encryption.key")
        assert part is not None
        assert part.read() == KEY
