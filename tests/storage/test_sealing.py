"""Secrets at rest, and where the key comes from."""

from __future__ import annotations

import errno
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.errors import Misconfigured, Unavailable
from certctl.storage.key_file import KEY_FILE, KeyFile
from certctl.storage.sealing import Keyring, key_id, load_keyring

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "an old secret of 32 characters..", "a new secret of 32 characters..."
THIRD = "a third secret of 32 characters."
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
    assert RING.audit_keys == (*Keyring(NEW).audit_keys, *Keyring(OLD).audit_keys)


def test_the_key_changes_for_everybody_who_holds_the_ring() -> None:
    ring = Keyring(OLD)
    before = ring.seal("s", "n", b"x")
    assert (ring.current, ring.ids) == (key_id(OLD), (key_id(OLD),))
    ring.use(NEW, OLD)
    assert (ring.current, ring.ids) == (key_id(NEW), (key_id(NEW), key_id(OLD)))
    after = ring.seal("s", "n", b"x")
    assert after.startswith(ring.header)
    assert not before.startswith(ring.header)
    assert ring.open("s", "n", before) == Keyring(NEW).open("s", "n", after) == b"x"


def test_a_retired_key_is_not_in_use_and_opens_what_was_read_before() -> None:
    ring = Keyring(OLD)
    before = ring.seal("s", "n", b"x")
    ring.use(NEW)
    ring.retire()
    assert ring.ids == (key_id(NEW),)
    assert ring.open("s", "n", before) == b"x"
    assert ring.opens(key_id(OLD))


def test_a_ring_may_change_while_others_work_with_it() -> None:
    ring = Keyring(OLD)
    done = threading.Event()

    def work() -> int:
        count = 0
        while not done.is_set():
            assert ring.open("s", "n", ring.seal("s", "n", b"x")) == b"x"
            count += 1
        return count

    with ThreadPoolExecutor(4) as threads:
        working = [threads.submit(work) for _ in range(4)]
        for number in range(100):
            ring.use(f"{number} a secret of more than 32 characters")
            ring.retire()
        done.set()
        assert all(each.result() for each in working)


def test_the_secret_of_the_environment(tmp_path: Path) -> None:
    ring = load_keyring(NEW, tmp_path, required=True)
    assert ring.open("s", "n", RING.seal("s", "n", b"x")) == b"x"
    assert not list(tmp_path.iterdir())


def test_a_short_secret_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        load_keyring("hunter2", tmp_path, required=True)
    assert "hunter2" not in f"{raised.value.detail} {raised.value.hint}"


def test_further_secrets_of_the_environment_open_and_do_not_seal(tmp_path: Path) -> None:
    ring = load_keyring(NEW, tmp_path, required=True, further=f" {OLD} ,{THIRD},")
    assert ring.ids == (key_id(NEW), key_id(OLD), key_id(THIRD))
    for secret in (NEW, OLD, THIRD):
        assert ring.open("s", "n", Keyring(secret).seal("s", "n", b"x")) == b"x"
    assert ring.seal("s", "n", b"x").startswith(Keyring(NEW).header)
    assert ring.file is None
    assert load_keyring(NEW, tmp_path, required=True, further="").ids == (key_id(NEW),)


def test_a_comma_that_belongs_to_a_secret_has_a_backslash(tmp_path: Path) -> None:
    ring = load_keyring(
        NEW, tmp_path, required=True, further=rf"{OLD},thirty-two characters\, with a comma"
    )
    assert ring.ids[1:] == (key_id(OLD), key_id("thirty-two characters, with a comma"))


def test_a_short_further_secret_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        load_keyring(NEW, tmp_path, required=True, further=f"{OLD},hunter2")
    assert raised.value.field == "CERTCTL_CONFIG_DECRYPTION_KEYS"
    assert "hunter2" not in f"{raised.value.detail} {raised.value.hint}"
    assert OLD not in f"{raised.value.detail} {raised.value.hint}"


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


def test_the_file_may_hold_several(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    path.touch(0o600)
    path.write_text(f"{NEW}\n\n  {OLD}  \n")
    ring = load_keyring(None, tmp_path, required=False, further=THIRD)
    assert ring.ids == (key_id(NEW), key_id(OLD), key_id(THIRD))
    assert ring.file == KeyFile(path)


def test_from_the_environment_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "certctl.db").touch()
    ring = load_keyring(None, tmp_path, required=False, further=OLD)
    (made,) = KeyFile(tmp_path / KEY_FILE).read()
    assert ring.ids == (key_id(made), key_id(OLD))


def test_the_file_is_replaced_durably_and_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = tmp_path / KEY_FILE
    link.symlink_to(folder / "the.key")
    (folder / "the.key").touch(0o600)
    (folder / ".the.key-abc").write_text("of a process that was killed")
    KeyFile(link).write([NEW, OLD])
    assert link.is_symlink()
    assert [path.name for path in folder.iterdir()] == ["the.key"]
    assert stat.S_IMODE((folder / "the.key").stat().st_mode) == 0o600
    assert (folder / "the.key").read_text() == f"{NEW}\n{OLD}\n"
    assert KeyFile(link).read() == [NEW, OLD]


def test_a_disk_that_is_full_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeyFile(tmp_path / KEY_FILE)
    file.create()
    before = file.read()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("certctl.storage.key_file.replace_file", fail)
    with pytest.raises(Unavailable, match="No space left") as raised:
        file.write([NEW, OLD])
    assert NEW not in f"{raised.value.detail} {raised.value.hint}"
    assert file.read() == before


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
    assert len({ring.current for ring in rings}) == 1
    assert len(rings) == 8


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_keyring(None, tmp_path, required=False)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(Misconfigured) as raised:
        load_keyring(None, tmp_path, required=False)
    assert raised.value.code == "encryption-key-exposed"
    assert "chmod 600" in str(raised.value.hint)


@pytest.mark.parametrize(
    "content", [b"", b"short\n", b"\xff" * 40, b"a" * 64 + b"\nshort\n", b"\n \n"]
)
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
