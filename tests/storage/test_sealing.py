"""Secrets at rest, and where the key comes from."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.errors import Misconfigured
from certctl.storage.sealing import KEY_FILE, Keyring, load_keyring

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "an old secret of 32 characters..", "a new secret of 32 characters..."
RING = Keyring(NEW, OLD)


@given(st.text(), st.text(), st.binary())
def test_what_was_sealed_can_be_opened(scope: str, name: str, plaintext: bytes) -> None:
    scope, name = (part.encode(errors="replace").decode() for part in (scope, name))
    assert RING.open(scope, name, RING.seal(scope, name, plaintext)) == plaintext


@given(st.integers(0, 60), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    sealed = bytearray(RING.seal("iss-a", "config", b"a secret of some thirty octets."))
    sealed[position % len(sealed)] ^= change
    with pytest.raises(Misconfigured) as raised:
        RING.open("iss-a", "config", bytes(sealed))
    assert raised.value.code == "sealing-key-wrong"


@pytest.mark.parametrize("length", range(34))
def test_a_cut_value_is_noticed(length: int) -> None:
    with pytest.raises(Misconfigured):
        RING.open("iss-a", "config", RING.seal("iss-a", "config", b"x")[:length])


@pytest.mark.parametrize(
    ("scope", "name"), [("iss-b", "config"), ("iss-a", "other"), ("iss-ac", "onfig")]
)
def test_a_value_belongs_to_its_row(scope: str, name: str) -> None:
    sealed = RING.seal("iss-a", "config", b"secret")
    with pytest.raises(Misconfigured) as raised:
        RING.open(scope, name, sealed)
    assert raised.value.code == "sealing-key-wrong"
    assert raised.value.hint


def test_layout() -> None:
    first, second = RING.seal("s", "n", b"x"), RING.seal("s", "n", b"x")
    assert first[0] == 1
    assert first[1:5] == second[1:5]  # the key's id
    assert first[5:17] != second[5:17]  # the nonce
    assert len(first) == 1 + 4 + 12 + 1 + 16


def test_an_older_key_still_opens_and_the_first_one_seals() -> None:
    assert RING.open("s", "n", Keyring(OLD).seal("s", "n", b"x")) == b"x"
    assert Keyring(NEW).open("s", "n", RING.seal("s", "n", b"x")) == b"x"
    with pytest.raises(Misconfigured):
        Keyring(OLD).open("s", "n", RING.seal("s", "n", b"x"))
    assert RING.audit_key == Keyring(NEW).audit_key != Keyring(OLD).audit_key


def test_the_secret_of_the_environment(tmp_path: Path) -> None:
    ring = load_keyring(NEW, tmp_path, required=True)
    assert ring.open("s", "n", RING.seal("s", "n", b"x")) == b"x"
    assert not list(tmp_path.iterdir())


def test_a_short_secret_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        load_keyring("hunter2", tmp_path, required=True)
    assert "hunter2" not in f"{raised.value.detail} {raised.value.hint}"


def test_postgresql_needs_a_secret(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        load_keyring(None, tmp_path, required=True)
    assert raised.value.hint is not None
    assert "openssl rand -hex 32" in raised.value.hint
    assert not list(tmp_path.iterdir())


def test_the_generated_file(tmp_path: Path) -> None:
    sealed = load_keyring(None, tmp_path, required=False).seal("s", "n", b"x")
    (path,) = tmp_path.iterdir()
    assert path.name == KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keyring(None, tmp_path, required=False).open("s", "n", sealed) == b"x"


def test_racing_first_starts_agree(tmp_path: Path) -> None:
    rings: list[Keyring] = []
    threads = [
        threading.Thread(target=lambda: rings.append(load_keyring(None, tmp_path, required=False)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ring.audit_key for ring in rings}) == 1
    assert len(rings) == 8


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_keyring(None, tmp_path, required=False)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(Misconfigured) as raised:
        load_keyring(None, tmp_path, required=False)
    assert raised.value.code == "encryption-key-exposed"
    assert "chmod 600" in str(raised.value.hint)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 40])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE).touch(0o600)
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(Misconfigured) as raised:
        load_keyring(None, tmp_path, required=False)
    assert raised.value.code == "encryption-key-damaged"


def test_no_new_key_is_made_for_an_old_database(tmp_path: Path) -> None:
    (tmp_path / "certctl.db").touch()
    with pytest.raises(Misconfigured) as raised:
        load_keyring(None, tmp_path, required=False)
    assert raised.value.code == "encryption-key-lost"
    assert not (tmp_path / KEY_FILE).exists()
