"""A server that is killed loses nothing that it acknowledged, and makes nothing twice."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from certctl.domain.keys import KeyType
from tests.support.api import client_for
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from tests.support.server import ServerProcess

CLIENTS = 4


@dataclass
class Customer:
    """Orders certificates one after the other, repeating each request until it is answered."""

    server: ServerProcess
    csr: str
    stop: threading.Event
    answered: dict[str, dict[str, Any]] = field(default_factory=dict)
    failure: str | None = None

    def run(self) -> None:
        with client_for(self.server) as client:
            while not self.stop.is_set() and self.failure is None:
                self._order(client, str(uuid.uuid4()))

    def _order(self, client: httpx2.Client, key: str) -> None:
        body = {"issuer_id": "iss-local", "csr": self.csr, "owner": key}
        while True:
            try:
                answer = client.post(
                    "/api/v1/certificates", json=body, headers={"Idempotency-Key": key}
                )
            except httpx2.TransportError:
                time.sleep(0.02)
                continue
            if answer.status_code == 503:
                time.sleep(0.05)
                continue
            if answer.status_code == 201:
                self.answered[key] = answer.json()
            else:
                self.failure = f"{answer.status_code}: {answer.text}"
            return


def kill_and_restart(server: ServerProcess, times: int) -> list[Customer]:
    """Kill the server `times` while customers order; they end with every request answered."""
    stop = threading.Event()
    csr = make_csr(make_key(KeyType.P256), ["crash.example.org"])
    customers = [Customer(server, csr, stop) for _ in range(CLIENTS)]
    threads = [threading.Thread(target=customer.run) for customer in customers]
    for thread in threads:
        thread.start()
    chance = random.Random(20261125)
    for _ in range(times):
        time.sleep(chance.uniform(0.1, 0.6))
        server.kill()
        server.start()
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return customers


def check(server: ServerProcess, customers: list[Customer]) -> None:
    answered: dict[str, dict[str, Any]] = {}
    for customer in customers:
        assert customer.failure is None
        answered |= customer.answered
    assert len(answered) > 20
    listed: list[dict[str, Any]] = []
    with client_for(server) as client:
        cursor = None
        while True:
            params = {"limit": 500} | ({"cursor": cursor} if cursor else {})
            page = client.get("/api/v1/certificates", params=params).json()
            listed += page["data"]
            cursor = page["next"]
            if cursor is None:
                break
        report = client.post("/api/v1/audit/verify").json()
    by_owner = Counter(row["owner"] for row in listed if row["owner"] != "certctl")
    serials = {row["owner"]: row["serial"] for row in listed}
    for key, certificate in answered.items():
        assert by_owner[key] == 1, "an answered request must be there, once"
        assert serials[key] == certificate["version"]["serial"]
    assert set(by_owner) == set(answered), "nothing that no client asked for"
    assert report["problems"] == []


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_or_doubled_when_the_server_is_killed(
    server: ServerProcess,
) -> None:
    check(server, kill_and_restart(server, 10))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_same_fifty_times(server: ServerProcess) -> None:
    check(server, kill_and_restart(server, 50))
