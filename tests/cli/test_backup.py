"""Backups of a data directory whose server is stopped; a running one is in `tests/e2e`."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from certctl import __version__
from certctl.operation.bundle import FORMAT, Manifest, write_bundle
from certctl.storage.copying import copy_database
from certctl.storage.key_file import KeyFile, new_secret
from certctl.storage.locks import lock_data_dir
from certctl.storage.migrate import HEAD
from tests.cli.conftest import certctl
from tests.support.installation import make_installation

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from tests.cli.conftest import Run


@pytest.fixture
def data_dir(folder: Path) -> Path:
    """What the commands find by themselves: `./data`."""
    made = folder / "data"
    make_installation(made)
    return made


@pytest.fixture
def backup(data_dir: Path, run: Run, folder: Path) -> Path:
    """A backup with its key."""
    assert run("backup", "b.tar", "--with-key").exit_code == 0
    return folder / "b.tar"


def change(data_dir: Path, statement: str) -> None:
    """Do to the database what certctl never does."""
    with closing(sqlite3.connect(data_dir / "certctl.db")) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refusal(result: Result, exit_code: int = 3) -> dict[str, str]:
    """The problem document of a command that ended so."""
    assert result.exit_code == exit_code, result.output
    document: dict[str, str] = json.loads(result.stderr)
    assert document["hint"]
    return document | {"code": document["type"].rsplit(":", 1)[1]}


# Backup


def test_a_backup_is_for_its_owner_and_says_what_it_is(
    run: Run, data_dir: Path, folder: Path
) -> None:
    result = run("backup", "b.tar")
    assert result.exit_code == 0
    assert "Sealing key  not in it" in result.stdout
    assert f"Keep a copy of {data_dir.relative_to(folder)}/encryption.key apart" in result.stderr
    assert stat.S_IMODE((folder / "b.tar").stat().st_mode) == 0o600
    assert names(folder) == {"b.tar", "data"}
    with tarfile.open("b.tar") as archive:
        assert archive.getnames() == ["manifest.json", "certctl.db", "sha256"]
        part = archive.extractfile("manifest.json")
        assert part is not None
        manifest = json.load(part)
    assert manifest["certctl"] == __version__
    assert manifest["schema_revision"] == HEAD
    assert list(manifest["keys"].values()) == [1]  # the key of the audit log


def test_the_key_is_in_it_when_it_is_asked_for(run: Run, data_dir: Path) -> None:
    result = run("--json", "backup", "b.tar", "--with-key")
    assert json.loads(result.stdout)["has_key"] is True
    assert result.stderr == ""
    with tarfile.open("b.tar") as archive:
        part = archive.extractfile("encryption.key")
        assert part is not None
        assert part.read() == (data_dir / "encryption.key").read_bytes()


def test_a_file_that_is_there_is_replaced_only_when_asked(run: Run, backup: Path) -> None:
    before = backup.read_bytes()
    assert refusal(run("--json", "backup", "b.tar"))["code"] == "backup-exists"
    assert backup.read_bytes() == before
    assert run("backup", "b.tar", "--force").exit_code == 0
    assert backup.read_bytes() != before


def test_a_data_directory_without_a_database(run: Run, folder: Path) -> None:
    found = refusal(run("--json", "backup", "b.tar", "--data-dir", "elsewhere"))
    assert found["code"] == "database-not-found"
    assert names(folder) == set()


def test_postgresql_has_tools_of_its_own(
    run: Run, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTCTL_DATABASE_URL", "postgresql://certctl:planted@db/certctl")
    for arguments, tool in (
        (("backup", "c.tar"), "pg_dump"),
        (("restore", str(backup), "--data-dir", "new"), "pg_restore"),
    ):
        found = refusal(run("--json", *arguments))
        assert tool in found["hint"]
        assert "planted" not in str(found)


def test_a_key_in_the_environment_is_in_no_backup(run: Run, folder: Path) -> None:
    make_installation(folder / "data", secret="x" * 32)
    assert refusal(run("--json", "backup", "b", "--with-key"))["code"] == "key-not-in-a-file"
    result = run("backup", "b")
    assert result.exit_code == 0
    assert "Keep CERTCTL_CONFIG_ENCRYPTION_KEY apart" in result.stderr


def test_a_key_file_that_is_not_the_databases(run: Run, data_dir: Path, folder: Path) -> None:
    KeyFile(data_dir / "encryption.key").write([new_secret()])
    assert refusal(run("--json", "backup", "b", "--with-key"))["code"] == "key-file-not-this"
    assert names(folder) == {"data"}


def test_a_rotation_that_ends_meanwhile_takes_no_key_away(
    run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(data_dir / "encryption.key")
    (old,) = file.read()

    def copy(source: Path, target: Path) -> None:
        copy_database(source, target)
        file.write([new_secret()])

    monkeypatch.setattr("certctl.operation.backup.copy_database", copy)
    assert run("backup", "b.tar", "--with-key").exit_code == 0
    with tarfile.open("b.tar") as archive:
        part = archive.extractfile("encryption.key")
        assert part is not None
        assert part.read().decode().split() == [*file.read(), old]


def test_a_database_of_a_newer_certctl(run: Run, data_dir: Path, folder: Path) -> None:
    change(data_dir, "UPDATE alembic_version SET version_num = '9999'")
    assert refusal(run("--json", "backup", "b"))["code"] == "database-too-new"
    assert names(folder) == {"data"}


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "database-empty"), (b"no database" * 99, "database-not-copied")]
)
def test_a_file_that_is_no_database(
    run: Run, data_dir: Path, folder: Path, content: bytes, code: str
) -> None:
    (data_dir / "certctl.db").write_bytes(content)
    assert refusal(run("--json", "backup", "b"))["code"] == code
    assert names(folder) == {"data"}


def test_a_place_that_is_not_there_is_named(run: Run, data_dir: Path) -> None:
    assert "no/b.tar" in refusal(run("--json", "backup", "no/b.tar"), exit_code=1)["detail"]


LIMITED = """
import resource, sys
from certctl.cli import main
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main()
"""


@pytest.mark.parametrize(
    ("room", "code"), [(-100_000, "database-not-copied"), (1024, "backup-not-written")]
)
def test_a_disk_that_is_full_leaves_nothing_behind(
    data_dir: Path, folder: Path, room: int, code: str
) -> None:
    """While the database is copied; or later, while the file is put together."""
    limit = (data_dir / "certctl.db").stat().st_size + room
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), "--json", "backup", "b.tar"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stderr)["type"].endswith(f":{code}")
    assert names(folder) == {"data"}


# Restore


def test_a_restored_directory_has_what_the_backup_had(
    run: Run, data_dir: Path, backup: Path, folder: Path
) -> None:
    result = run("restore", str(backup), "--data-dir", "new/data")
    assert result.exit_code == 0, result.output
    assert "unaltered" in result.stdout
    assert "revoke again" in result.stderr
    new = folder / "new" / "data"
    assert names(new) == {"certctl.db", "certctl.lock", "encryption.key"}
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in new.iterdir()} == {0o600}
    assert (new / "encryption.key").read_bytes() == (data_dir / "encryption.key").read_bytes()

    def rows(place: Path) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(place / "certctl.db")) as connection:
            return connection.execute("SELECT action, detail FROM audit_events").fetchall()

    before = rows(data_dir)
    after = rows(new)
    assert set(before) < set(after)
    added = [detail for action, detail in after if action == "database.restored"]
    (detail,) = [json.loads(text) for text in added]
    assert detail["certctl"] == __version__


def test_the_key_from_a_file_or_from_the_environment(
    run: Run, data_dir: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("backup", "b.tar").exit_code == 0
    key = data_dir / "encryption.key"
    assert run("restore", "b.tar", "--data-dir", "a", "--key-file", str(key)).exit_code == 0
    assert (folder / "a" / "encryption.key").read_bytes() == key.read_bytes()
    monkeypatch.setenv("CERTCTL_CONFIG_ENCRYPTION_KEY", key.read_text().strip())
    monkeypatch.setenv("CERTCTL_DATA_DIR", "b")
    result = run("--json", "restore", "b.tar")
    assert json.loads(result.stdout)["audit"]["problems"] == []
    assert names(folder / "b") == {"certctl.db", "certctl.lock"}


def test_a_directory_is_never_guessed(run: Run, backup: Path) -> None:
    assert refusal(run("--json", "restore", str(backup)))["code"] == "data-dir-not-named"


def test_without_its_key_or_with_another_one(run: Run, data_dir: Path, folder: Path) -> None:
    assert run("backup", "b.tar").exit_code == 0
    restore = ("--json", "restore", "b.tar", "--data-dir", "new")
    assert refusal(run(*restore))["code"] == "sealing-key-missing"
    other = KeyFile(folder / "other.key")
    other.create()
    found = refusal(run(*restore, "--key-file", "other.key"))
    assert found["code"] == "sealing-key-wrong"
    assert other.read()[0] not in str(found)
    assert not (folder / "new").exists()


@pytest.mark.parametrize("fault", ["cut", "altered"])
def test_a_file_that_is_not_whole(run: Run, backup: Path, folder: Path, fault: str) -> None:
    content = bytearray(backup.read_bytes())
    if fault == "cut":
        del content[-512:]
    else:
        content[len(content) // 2] ^= 1
    backup.write_bytes(content)
    found = refusal(run("--json", "restore", str(backup), "--data-dir", "new"))
    assert found["code"] == "backup-damaged"
    assert not (folder / "new").exists()


def test_a_backup_of_a_newer_certctl(run: Run, data_dir: Path, folder: Path) -> None:
    manifest = Manifest(
        format=FORMAT, certctl="9.0", schema_revision="9999", created_at="", keys={}, has_key=False
    )
    with (folder / "b.tar").open("w+b") as file:
        write_bundle(file, manifest, data_dir / "certctl.db", None)
    found = refusal(run("--json", "restore", "b.tar", "--data-dir", "new"))
    assert found["code"] == "backup-too-new"
    assert "9.0" in found["detail"]
    assert not (folder / "new").exists()


def test_a_directory_in_use(run: Run, backup: Path, folder: Path) -> None:
    used = folder / "used"
    used.mkdir()
    with lock_data_dir(used):
        found = refusal(run("--json", "restore", str(backup), "--data-dir", "used"))
    assert found["code"] == "data-dir-in-use"
    assert names(used) == {"certctl.lock"}


def test_a_directory_that_is_not_empty(run: Run, backup: Path, data_dir: Path) -> None:
    before = {path: path.read_bytes() for path in data_dir.iterdir()}
    found = refusal(run("--json", "restore", str(backup), "--data-dir", "data"))
    assert found["code"] == "data-dir-not-empty"
    assert {path: path.read_bytes() for path in before} == before
    assert names(data_dir) - {path.name for path in before} == {"certctl.lock"}


def test_an_audit_log_that_was_altered(run: Run, data_dir: Path, folder: Path) -> None:
    change(data_dir, "UPDATE audit_events SET actor = 'nobody' WHERE seq = 2")
    assert run("backup", "b.tar", "--with-key").exit_code == 0
    restore = ("--json", "restore", "b.tar", "--data-dir", "new")
    found = refusal(run(*restore))
    assert found["code"] == "audit-not-verified"
    assert "event 2 was altered" in found["detail"]
    assert names(folder / "new") == {"certctl.lock"}
    result = run(*restore, "--accept-audit-problems")
    assert result.exit_code == 9
    assert len(json.loads(result.stdout)["audit"]["problems"]) == 1
    assert "certctl.db" in names(folder / "new")


def test_a_database_that_was_damaged_before(run: Run, backup: Path, folder: Path) -> None:
    """Its digest fits: an index of it does not fit its table."""
    with tarfile.open(backup) as archive:
        archive.extractall("old", filter="data")
    with closing(sqlite3.connect("old/certctl.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = 'CREATE INDEX ix_audit_events_at ON audit_events "
            "(actor, chain_id, seq)' WHERE name = 'ix_audit_events_at'"
        )
    manifest = Manifest.model_validate_json((folder / "old" / "manifest.json").read_bytes())
    with backup.open("w+b") as file:
        key = (folder / "old" / "encryption.key").read_bytes()
        write_bundle(file, manifest, folder / "old" / "certctl.db", key)
    found = refusal(run("--json", "restore", str(backup), "--data-dir", "new"))
    assert found["code"] == "backup-damaged"
    assert "index" in found["detail"]
    assert names(folder / "new") == {"certctl.lock"}


DYING = """
import os, sys
import certctl.storage.restoring as restoring
from certctl.cli import main
left = int(sys.argv.pop(1))
sync = restoring.sync_directory
def count(directory):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
    sync(directory)
restoring.sync_directory = count
main()
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_restore_that_dies_leaves_no_half(
    run: Run, backup: Path, folder: Path, step: int
) -> None:
    new = folder / "new"
    arguments = ("restore", str(backup), "--data-dir", "new")
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(step), *arguments], check=False, timeout=60
    )
    assert done.returncode == 9
    if ".restoring" in names(new):
        assert step < 4
        started = certctl("server", CERTCTL_DATA_DIR="new", CERTCTL_SERVER_PORT="0",
                          CERTCTL_STATUS_PORT="0")  # fmt: skip
        assert started.returncode == 1
        assert "did not come to its end" in started.stderr
        assert run(*arguments).exit_code == 0
    assert names(new) == {"certctl.db", "certctl.lock", "encryption.key"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_restores_belongs_to_the_directorys_owner(
    run: Run, backup: Path, folder: Path
) -> None:
    new = folder / "new"
    new.mkdir(mode=0o700)
    os.chown(new, 65_534, 65_534)
    assert run("restore", str(backup), "--data-dir", "new").exit_code == 0
    assert {path.stat().st_uid for path in new.iterdir()} == {65_534}
