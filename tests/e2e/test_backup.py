"""A backup taken while customers order, restored elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.keys import KeyType
from tests.e2e.test_crash import CLIENTS, Customer
from tests.support.api import client_for
from tests.support.pki import make_csr, make_key
from tests.support.server import ServerProcess, clean_environment, running_server

if TYPE_CHECKING:
    from pathlib import Path


def certctl(*arguments: str) -> dict[str, Any]:
    """What a command answers as JSON; in a process of its own, as an operator's."""
    done = subprocess.run(
        [sys.executable, "-c", "from certctl.cli import main; main()", "--json", *arguments],
        env=clean_environment({}),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def listed(server: ServerProcess, key: str) -> dict[str, Any]:
    """Every certificate by its owner, who ordered it once."""
    found: dict[str, Any] = {}
    with client_for(server, key=key) as client:
        cursor = None
        while True:
            params = {"limit": 500} | ({"cursor": cursor} if cursor else {})
            page = client.get("/api/v1/certificates", params=params).raise_for_status().json()
            found |= {row["owner"]: row for row in page["data"]}
            cursor = page["next"]
            if cursor is None:
                return found


@pytest.mark.timeout(300)
def test_a_backup_under_load_has_every_certificate_acknowledged_before(tmp_path: Path) -> None:
    made, elsewhere = tmp_path / "backup.tar", tmp_path / "elsewhere"
    stop = threading.Event()
    with running_server(tmp_path / "data") as server:
        csr = make_csr(make_key(KeyType.P256), ["backup.example.org"])
        customers = [Customer(server, csr, stop) for _ in range(CLIENTS)]
        threads = [threading.Thread(target=customer.run) for customer in customers]
        for thread in threads:
            thread.start()
        time.sleep(3)
        # Copies, made in one step: the customers go on.
        before = {key: got for each in customers for key, got in dict(each.answered).items()}
        report = certctl("--data-dir", str(server.data_dir), "backup", str(made), "--with-key")
        during = sum(len(customer.answered) for customer in customers) - len(before)
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert [customer.failure for customer in customers] == [None] * CLIENTS
        admin_key = server.key
    assert len(before) > 100
    assert during > 10, "customers were served meanwhile"

    audit = certctl("restore", str(made), "--data-dir", str(elsewhere))["audit"]
    assert audit["problems"] == []
    assert audit["events"] > len(before)
    with running_server(elsewhere) as restored:
        certificates = listed(restored, admin_key)
        missing = before.keys() - certificates.keys()
        assert missing == set()
        for key, answer in before.items():
            assert certificates[key]["serial"] == answer["version"]["serial"]
        with client_for(restored, key=admin_key) as client:
            verified = client.post("/api/v1/audit/verify").json()
            assert verified["problems"] == []
            again = client.post("/api/v1/certificates", json={"issuer_id": "iss-local", "csr": csr})
            assert again.status_code == 201, "its CA's key is there"
            ours = next(iter(before.values()))["version"]["chain"]
            assert again.json()["version"]["chain"] == ours
            log = client.get("/api/v1/audit", params={"limit": 500}).json()["data"]
    (event,) = [event for event in log if event["action"] == "database.restored"]
    assert event["detail"]["created_at"] == report["created_at"]


def test_a_backup_of_a_database_whose_server_was_killed(tmp_path: Path) -> None:
    """What it had acknowledged is in the log beside the file only."""
    server = ServerProcess(tmp_path / "data")
    server.start()
    csr = make_csr(make_key(KeyType.P256), ["killed.example.org"])
    body = {"issuer_id": "iss-local", "csr": csr, "owner": "killed"}
    with client_for(server) as client:
        made = client.post("/api/v1/certificates", json=body).raise_for_status().json()
    server.kill()
    certctl("--data-dir", str(server.data_dir), "backup", str(tmp_path / "b"), "--with-key")
    certctl("restore", str(tmp_path / "b"), "--data-dir", str(tmp_path / "new"))
    with running_server(tmp_path / "new") as restored:
        found = listed(restored, server.key)
    assert found["killed"]["id"] == made["id"]
