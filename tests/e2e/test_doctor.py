"""The doctor beside a running server, on both databases."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from certctl.pki.certificates import chain_pem
from tests.support.pki import make_live_authority
from tests.support.server import ServerProcess, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.targets import DatabaseTarget


def doctor(server: ServerProcess) -> tuple[int, dict[str, list[str]]]:
    """Exit code, and `severity: detail` by check."""
    done = subprocess.run(
        [sys.executable, "-c", "from certctl.cli import main; main()", "doctor", "--json"],
        env=clean_environment({"CERTCTL_DATA_DIR": str(server.data_dir), **server.extra}),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    found: dict[str, list[str]] = {}
    for each in json.loads(done.stdout)["findings"]:
        found.setdefault(each["check"], []).append(f"{each['severity']}: {each['detail']}")
    return done.returncode, found


def test_a_server_that_runs_is_well(server: ServerProcess) -> None:
    server.data_dir.chmod(0o700)
    code, found = doctor(server)
    assert code == 0, found
    assert found["server"] == [f"ok: answers at {server.url}"]
    assert found["https"][0].startswith(f"ok: the certificate at {server.url} lasts until")
    (status,) = found["status address"]
    assert status.startswith(f"note: works, and {server.status_url}/.well-known/pki/crl/iss-local/")
    assert [each.partition(":")[0] for each in found["sealing key"]] == ["ok"]


def test_certificates_that_name_an_address_where_nothing_is(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    address = "http://127.0.0.1:1/status"
    server = ServerProcess(
        tmp_path / "data", {**database_target.environment, "CERTCTL_PUBLIC_STATUS_URL": address}
    )
    server.start()
    try:
        server.data_dir.chmod(0o700)
        code, found = doctor(server)
    finally:
        server.stop()
    assert code == 11
    (status,) = found["status address"]
    assert status.startswith(f"error: certificates say {address}/.well-known/pki/crl/iss-local/")
    assert [check for check, said in found.items() if said[0].startswith("error")] == [
        "status address"
    ]


def test_a_certificate_that_its_own_trust_anchor_does_not_know(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    server.start()
    try:
        server.data_dir.chmod(0o700)
        others = chain_pem([make_live_authority().certificate])
        for anchor, words in ((others, "is refused"), ("nothing", "cannot be read")):
            server.ca.write_text(anchor)
            code, found = doctor(server)
            assert code == 11
            assert found["server"] == [f"ok: answers at {server.url}"]
            (said,) = found["https"]
            assert said.startswith(f"error: clients cannot trust what is at {server.url}: ")
            assert words in said
    finally:
        server.stop()


def test_a_server_that_hangs_and_one_that_is_gone(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    server.start()
    server.data_dir.chmod(0o700)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        code, found = doctor(server)
        assert code == 11
        assert found["server"] == [
            f"error: process {server.pid} is there, and nothing answers at {server.url}"
        ]
    finally:
        server.kill()
    code, found = doctor(server)
    assert code == 0, found
    assert found["server"] == ["note: does not run"]
    assert "not asked" in found["status address"][0]
