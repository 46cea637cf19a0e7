"""`/metrics` of real servers, and what a webhook's settings do to a start."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.mmap_dict import MmapedDict

from certctl.domain.keys import KeyType
from tests.support.api import client_for
from tests.support.exposition import Exposition
from tests.support.pki import make_csr, make_key
from tests.support.server import ServerProcess

if TYPE_CHECKING:
    from tests.support.targets import DatabaseTarget

ISSUED = 30


def scrape(server: ServerProcess) -> Exposition:
    with client_for(server) as client:
        response = client.get("/metrics")
    assert response.status_code == 200
    return Exposition(response.text)


def issued(server: ServerProcess) -> float:
    seen = scrape(server)
    return seen.value("certctl_issuance_total", issuer_type="GenericCA", outcome="issued") or 0


def check_log(server: ServerProcess, request_ids: list[str]) -> None:
    """Each request has its line, and each line is JSON."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    of_requests = {line["request_id"]: line for line in lines if line["event"] == "request"}
    for request_id in request_ids:
        line = of_requests[request_id]
        assert (line["method"], line["route"], line["status"], line["key"], line["level"]) == (
            "POST",
            "/api/v1/certificates",
            201,
            "admin",
            "info",
        )
        assert line["duration_ms"] > 0


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_any_worker_tells_what_all_of_them_counted(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    server = ServerProcess(
        tmp_path / "data", {**database_target.environment, "CERTCTL_WORKERS": "2"}
    )
    server.start()
    try:
        begun = issued(server)
        counts = server.data_dir / "metrics"
        files = [counts / "counter_0.db", counts / "counter_1.db"]
        made = 0
        request_ids = []
        while made < ISSUED or not all(_has_issued(file) for file in files):
            assert made < 400, "one of the workers never gets anything to do"
            with client_for(server) as client:  # a connection of its own: to either worker
                csr = make_csr(make_key(KeyType.P256), ["sum.example.org"])
                body = {"issuer_id": "iss-local", "csr": csr}
                answer = client.post("/api/v1/certificates", json=body)
            assert answer.status_code == 201
            request_ids.append(answer.headers["x-request-id"])
            made += 1
        assert {issued(server) for _ in range(10)} == {begun + made}
        check_log(server, request_ids)
        seen = scrape(server)
        route = {"method": "POST", "route": "/api/v1/certificates"}
        assert seen.value("certctl_http_requests_total", **route, status="201") == made
        assert seen.value("certctl_http_request_duration_seconds_count", **route) == made
        took = "certctl_issuance_duration_seconds_count"
        assert seen.value(took, issuer_type="GenericCA") == begun + made
        assert not any(name.startswith("process_") for name in seen.families)
        (victim, *_) = children(server.pid)
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(set(children(server.pid)) - {victim}) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert min(issued(server) for _ in range(10)) >= begun + made
        assert sorted(file.name for file in counts.glob("counter*")) == [f.name for f in files]
    finally:
        server.stop()


def _has_issued(file: Path) -> bool:
    if not file.exists():
        return False
    untyped: Any = MmapedDict
    read = untyped.read_all_values_from_file(file)
    return any("certctl_issuance" in key and value for key, value, *_ in read)


@pytest.mark.parametrize(
    ("url", "secret", "named"),
    [
        ("http://hooks.example.com/t0ken", None, "CERTCTL_WEBHOOK_URL"),
        ("https://hooks.example.com/t0ken", "whsec_t0ken", "CERTCTL_WEBHOOK_SECRET"),
    ],
)
def test_a_webhook_that_cannot_be_is_told_at_the_start(
    tmp_path: Path, url: str, secret: str | None, named: str
) -> None:
    secret = secret or "whsec_" + base64.b64encode(bytes(32)).decode()
    server = ServerProcess(
        tmp_path / "data", {"CERTCTL_WEBHOOK_URL": url, "CERTCTL_WEBHOOK_SECRET": secret}
    )
    with pytest.raises(RuntimeError, match=named) as caught:
        server.start()
    assert "t0ken" not in str(caught.value)
    assert not (server.data_dir / "certctl.db").exists()
