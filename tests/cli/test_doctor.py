"""What the doctor says of an installation with one thing wrong; its server is stopped."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from certctl.domain.clock import to_ms
from certctl.operation.doctor import clocks
from certctl.operation.doctor.examine import examine
from certctl.pki.certificates import chain_pem
from certctl.settings import load_settings
from certctl.storage.conditions import ConditionRecord, ConditionState, begin_condition
from certctl.storage.issuer_checks import CheckRecord, store_check
from certctl.storage.key_file import KeyFile, new_secret
from tests.support.clock import TurnableClock
from tests.support.installation import make_installation, with_database
from tests.support.pki import NOW, NOW_MS, make_authority, make_leaf

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database, Transaction
    from tests.cli.conftest import Run
    from tests.support.targets import DatabaseTarget


@pytest.fixture
def data_dir(folder: Path) -> Path:
    """What the commands find by themselves: `./data`."""
    made = folder / "data"
    make_installation(made)
    return made


class Said(NamedTuple):
    severity: str
    detail: str
    hint: str


def wrong(run: Run) -> dict[str, Said]:
    """What is wrong, by check; the exit code fits."""
    result = run("--json", "doctor")
    found = {
        each["check"]: Said(each["severity"], each["detail"], each["hint"])
        for each in json.loads(result.stdout)["findings"]
        if each["severity"] in {"error", "warning"}
    }
    assert result.exit_code == (11 if found else 0)
    return found


def only(run: Run, check: str) -> Said:
    """The one check that finds something wrong."""
    found = wrong(run)
    assert list(found) == [check], found
    return found[check]


def change(data_dir: Path, statement: str) -> None:
    with closing(sqlite3.connect(data_dir / "certctl.db")) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def store(data_dir: Path, *writes: object) -> None:
    """Run functions of a transaction."""

    async def work(database: Database) -> None:
        def write(transaction: Transaction) -> None:
            for each in writes:
                each(transaction)  # type: ignore[operator] # functions of a transaction

        await database.write(write)

    with_database(data_dir, work)


def test_a_fresh_installation_is_well(run: Run, data_dir: Path) -> None:
    before = {path.name: path.stat().st_mode for path in data_dir.iterdir()}
    assert wrong(run) == {}
    result = run("doctor", "--data-dir", str(data_dir))
    assert result.exit_code == 0
    assert result.stdout.endswith("Nothing is wrong.\n")
    checks = {line[9:].split("  ")[0] for line in result.stdout.splitlines()}
    assert {"files", "disk", "server", "database", "sealing key", "issuers", "orders"} <= checks
    after = {path.name: path.stat().st_mode for path in data_dir.iterdir()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) <= {"certctl.db-shm", "certctl.db-wal"}


def test_each_thing_that_is_wrong_comes_with_what_to_do(run: Run, data_dir: Path) -> None:
    data_dir.chmod(0o755)
    result = run("doctor")
    assert result.exit_code == 11
    lines = result.stdout.splitlines()
    assert lines[0].startswith("warning  files")
    assert lines[1].endswith("-> chmod 700 data")
    assert lines[-1] == "1 thing is wrong."


# Files


def test_no_data_directory(run: Run) -> None:
    assert "there is no data directory" in only(run, "files").detail


@pytest.mark.parametrize(("mode", "severity"), [(0o755, "warning"), (0o770, "error")])
def test_a_data_directory_that_is_open(run: Run, data_dir: Path, mode: int, severity: str) -> None:
    data_dir.chmod(mode)
    assert only(run, "files").severity == severity


@pytest.mark.parametrize("name", ["admin.key", "certctl.db"])
def test_a_file_that_is_open(run: Run, data_dir: Path, name: str) -> None:
    (data_dir / name).chmod(0o640)
    found = only(run, "files")
    assert found.severity == "error"
    assert found.hint == f"chmod 600 data/{name}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user(run: Run, data_dir: Path) -> None:
    os.chown(data_dir / "certctl.db", 65_534, 65_534)
    found = only(run, "files")
    assert "belongs to user 65534" in found.detail
    assert found.hint == "chown --reference=data data/certctl.db"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_no_file_of_its_own(run: Run, data_dir: Path) -> None:
    for path in (data_dir, *data_dir.iterdir()):
        os.chown(path, 65_534, 65_534)
    assert wrong(run) == {}
    assert wrong(run) == {}, "whatever SQLite made the first time"
    assert {path.stat().st_uid for path in data_dir.iterdir()} == {65_534}


def test_a_restore_that_did_not_come_to_its_end(run: Run, data_dir: Path) -> None:
    (data_dir / ".restoring").mkdir()
    assert "did not come to its end" in only(run, "files").detail


def test_the_key_of_the_operators_certificate(
    run: Run, data_dir: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = make_leaf(make_authority())
    (folder / "tls.pem").write_text(chain_pem([leaf]))
    monkeypatch.setenv("CERTCTL_SERVER_TLS_CERT_PATH", "tls.pem")
    monkeypatch.setenv("CERTCTL_SERVER_TLS_KEY_PATH", "tls.key")
    assert "cannot look at tls.key" in wrong(run)["files"].detail
    (folder / "tls.key").touch(0o644)
    assert wrong(run)["files"].hint == "chmod 600 tls.key"


# Disk


def test_a_disk_that_is_nearly_full(
    run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=9 * 1024 * 1024))
    assert only(run, "disk").severity == "error"


def test_a_log_that_was_never_taken_over(run: Run, data_dir: Path) -> None:
    log = data_dir / "certctl.db-wal"
    log.touch(0o600)
    os.truncate(log, 300 * 1024 * 1024)
    assert "has grown to 300 MiB" in only(run, "disk").detail


# Clock


def test_something_stored_is_of_the_future(run: Run, data_dir: Path) -> None:
    change(data_dir, "UPDATE audit_events SET at = at + 7200000 WHERE seq = 1")
    found = only(run, "clock")
    assert found.severity == "error"
    assert "the last audit event was written at" in found.detail


def test_the_file_systems_clock(data_dir: Path) -> None:
    clock = TurnableClock()  # which stands still, long ago
    found = [each for each in examine(load_settings(), clock) if each.check == "clock"]
    assert "the data directory's file system differ by" in found[0].detail


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_the_databases_clock(
    database_target: DatabaseTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in database_target.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(clocks, "check_file_system", lambda *_: [])
    settings = load_settings({"data_dir": database_target.data_dir})
    found = [each for each in examine(settings, TurnableClock()) if each.check == "clock"]
    assert "the database's server differ by" in found[0].detail


# Database


def test_no_database_yet_is_not_wrong(run: Run, folder: Path) -> None:
    (folder / "data").mkdir(mode=0o700)
    assert "there is no data/certctl.db" in run("doctor", "--data-dir", "data").stdout
    assert wrong(run) == {}


def test_a_database_of_a_newer_certctl(run: Run, data_dir: Path) -> None:
    change(data_dir, "UPDATE alembic_version SET version_num = '9999'")
    assert "of revision 9999" in only(run, "database").detail


def test_a_database_before_its_upgrade_is_not_wrong(run: Run, data_dir: Path) -> None:
    change(data_dir, "UPDATE alembic_version SET version_num = '0001'")
    assert wrong(run) == {}
    assert "the next start of the server brings them up to date" in run("doctor").stdout


def test_a_database_that_is_damaged(run: Run, data_dir: Path) -> None:
    path = data_dir / "certctl.db"
    content = bytearray(path.read_bytes())
    content[20_000:60_000] = bytes(40_000)
    path.write_bytes(content)
    found = only(run, "database")
    assert found.severity == "error"
    assert "certctl restore" in found.hint


def test_a_postgresql_that_does_not_answer(
    run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTCTL_DATABASE_URL", "postgresql://u:planted@127.0.0.1:1/certctl")
    found = only(run, "database")
    assert "CERTCTL_DATABASE_URL" in found.hint
    assert "planted" not in str(found)


def test_an_address_that_is_none(run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTCTL_DATABASE_URL", "mysql://u:planted@db/certctl")
    found = only(run, "database")
    assert "planted" not in str(found)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_an_empty_postgresql_is_not_wrong(
    run: Run, data_dir: Path, database_target: DatabaseTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in database_target.environment.items():
        monkeypatch.setenv(name, value)
    assert wrong(run) == {}


# Sealing key


def test_another_key(run: Run, data_dir: Path) -> None:
    secret = new_secret()
    KeyFile(data_dir / "encryption.key").write([secret])
    found = only(run, "sealing key")
    assert found.severity == "error"
    assert "1 of 1 sealed values cannot be opened: 'audit-key' of 'server'" in found.detail
    assert secret not in str(found)


def test_no_key_and_none_is_made(run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data_dir / "encryption.key").unlink()
    monkeypatch.setenv("CERTCTL_CONFIG_DECRYPTION_KEYS", "x" * 32)
    assert "there is no encryption.key" in only(run, "sealing key").detail
    assert not (data_dir / "encryption.key").exists()


def test_a_rotation_that_did_not_come_to_its_end(run: Run, data_dir: Path) -> None:
    file = KeyFile(data_dir / "encryption.key")
    file.write([new_secret(), *file.read()])
    found = only(run, "sealing key")
    assert found.severity == "warning"
    assert "certctl secrets rotate" in found.hint


# Issuers and orders


def test_an_issuer_whose_test_failed(run: Run, data_dir: Path) -> None:
    failed = CheckRecord("iss-local", False, "no such account", "E17", "ca.example.org", NOW_MS, 5)
    store(data_dir, lambda transaction: store_check(transaction, failed))
    assert "ca.example.org: no such account" in only(run, "issuers").detail
    change(data_dir, "UPDATE issuers SET archived_at = 1 WHERE id = 'iss-local'")
    assert wrong(run) == {}, "nobody needs it any more"


def test_an_issuer_that_is_left_alone(run: Run, data_dir: Path) -> None:
    record = ConditionRecord("iss-local", ConditionState.OPEN, "wrong password", NOW_MS, 1, None)
    store(data_dir, lambda transaction: begin_condition(transaction, record, NOW_MS))
    found = only(run, "issuers")
    assert "wrong password" in found.detail
    assert "certctl issuers test iss-local" in found.hint


def test_an_order_that_is_uncertain(run: Run, data_dir: Path) -> None:
    change(
        data_dir,
        "INSERT INTO orders (id, certificate_id, issuer_id, state, request, attempts, epoch, "
        "created_at, updated_at) VALUES ('ord-1', 'cert-1', 'iss-local', 'uncertain', '{}', 1, 0, "
        "1, 1)",
    )
    found = only(run, "orders")
    assert "1 order is uncertain" in found.detail
    assert "certctl orders resolve" in found.hint


# HTTPS


def test_the_operators_certificate_has_ended(
    run: Run, data_dir: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tls.key").touch(0o600)
    monkeypatch.setenv("CERTCTL_SERVER_TLS_CERT_PATH", "tls.pem")
    monkeypatch.setenv("CERTCTL_SERVER_TLS_KEY_PATH", "tls.key")
    assert "cannot be read" in only(run, "https").detail
    leaf = make_leaf(make_authority(), now_ms=to_ms(NOW) - 400 * 86_400_000)
    (folder / "tls.pem").write_text(chain_pem([leaf]))
    found = only(run, "https")
    assert found.severity == "error"
    assert "ended at" in found.detail
