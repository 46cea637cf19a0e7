"""Many orders at a CA that takes its time: each ends with the first poll that can find it ready."""

from __future__ import annotations

import hashlib
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from certctl.domain.keys import KeyType
from certctl.domain.polling import JITTER, STEPS
from certctl.domain.revocations import RevocationReason
from certctl.pki.keys import generate_key
from certctl.pki.requests import parse_request
from tests.conformance.hvca import hvca
from tests.conformance.mischief import Operation
from tests.support.api import client_for
from tests.support.pki import make_csr
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import httpx2

    from tests.conformance.hvca import Hvca
    from tests.support.targets import DatabaseTarget

ISSUER = "iss-volume"
#: Those that Atlas knows.
REASONS = (
    RevocationReason.UNSPECIFIED,
    RevocationReason.KEY_COMPROMISE,
    RevocationReason.AFFILIATION_CHANGED,
    RevocationReason.SUPERSEDED,
    RevocationReason.CESSATION_OF_OPERATION,
    RevocationReason.PRIVILEGE_WITHDRAWN,
)
#: By so much the stand-in's clock may be ahead of what it says of an order, in seconds.
_BLUR = 0.1


@dataclass
class Slow:
    """How long the stand-in needs for each key, in seconds: by chance, within bounds."""

    least: float
    most: float
    chance: random.Random = field(default_factory=lambda: random.Random(20261130))
    seconds: dict[str, float] = field(default_factory=dict)

    def __call__(self, body: Mapping[str, Any]) -> float:
        key = spki_of_request(str(body["public_key"]))
        return self.seconds.setdefault(key, self.chance.uniform(self.least, self.most))


def spki_of_request(csr: str) -> str:
    return hashlib.sha256(parse_request(csr).spki).hexdigest()


def until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)


def every(client: httpx2.Client, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 500} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"/api/v1/{what}", params=params).raise_for_status().json()
        found += page["data"]
        cursor = page["next"]
        if cursor is None:
            return found


def order_all(client: httpx2.Client, number: int) -> None:
    csrs = [make_csr(generate_key(KeyType.P256), [f"h{n}.example.org"]) for n in range(number)]

    def place(csr: str) -> None:
        body = {"issuer_id": ISSUER, "csr": csr}
        answer = client.post("/api/v1/certificates", json=body)
        assert answer.status_code == 202, answer.text

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(place, csrs))


def check_polls(ca: Hvca, slow: Slow, scale: float) -> list[float]:
    """Each order was polled until it was ready and no longer; by how much polls were late."""
    late = []
    for key, seconds in slow.seconds.items():
        (ordered,) = ca.books.entries(Operation.SUBMIT, key)
        polls = [entry.at_ms for entry in ca.books.entries(Operation.POLL, key)]
        ready = ordered.at_ms / 1000 + seconds
        *before, last = [at / 1000 for at in polls]
        assert last >= ready - _BLUR
        assert all(at <= ready + _BLUR for at in before), "the first that could find it did"
        for step, (one, other) in zip(STEPS, pairwise([ordered.at_ms, *polls]), strict=False):
            gap = (other - one) / 1000
            assert gap >= step * (1 - JITTER) * scale - _BLUR
            late.append(max(0.0, gap - step * (1 + JITTER) * scale))
    return sorted(late)


def revoke_all(client: httpx2.Client, ca: Hvca) -> dict[str, str]:
    """Revoke every certificate, with each reason in turn; the reasons by serial."""
    wanted = {}
    # The server's own certificate is among them.
    lines = [line for line in every(client, "certificates") if line["issuer_id"] == ISSUER]
    for number, line in enumerate(lines):
        reason = REASONS[number % len(REASONS)].value
        wanted[line["serial"]] = reason
        answer = client.post(f"/api/v1/certificates/{line['id']}/revoke", json={"reason": reason})
        assert answer.status_code in {200, 202}, answer.text
    until(lambda: len(ca.books.revoked()) == len(wanted), 120)
    until(
        lambda: {line["state"] for line in every(client, "revocations")} == {"confirmed"},
        60,
    )
    return wanted


def run(number: int, scale: float, target: DatabaseTarget, folder: Path) -> None:
    slow = Slow(2 * scale, 40 * scale)
    settings = {
        **target.environment,
        "CERTCTL_SCHEDULE_SCALE": str(scale),
        "CERTCTL_LOG_LEVEL": "warning",
    }
    with (
        hvca(folder) as ca,
        running_server(folder / "server", extra=settings) as server,
        client_for(server) as client,
    ):
        ca.issue_seconds = slow
        body = {
            "id": ISSUER,
            "name": "Volume",
            "type": "GlobalSign",
            "config": ca.settings(ca.new_account(), folder),
        }
        assert client.post("/api/v1/issuers", json=body).status_code == 201
        begun = time.monotonic()
        order_all(client, number)
        placed = time.monotonic() - begun
        # The last poll of the slowest comes when the first three steps are over.
        longest = sum(STEPS[:3]) * (1 + JITTER) * scale
        until(
            lambda: {order["state"] for order in every(client, "orders")} == {"issued"},
            placed + longest + 60,
        )
        took = time.monotonic() - begun
        late = check_polls(ca, slow, scale)
        begun = time.monotonic()
        wanted = revoke_all(client, ca)
        revoking = time.monotonic() - begun
        assert len(wanted) == number
        assert ca.books.revoked() == wanted
        assert set(wanted.values()) == {reason.value for reason in REASONS[:number]}
        assert ca.books.doubled() == {}
    p99 = late[math.ceil(len(late) * 0.99) - 1]
    print(
        f"{target.dialect}: {number} orders placed in {placed:.1f} s, all issued after {took:.1f} s"
        f" ({number / took:.1f}/s); {len(late)} polls, later than the schedule's latest by"
        f" {late[len(late) // 2]:.2f} s (median), {p99:.2f} s (p99), {late[-1]:.2f} s (most);"
        f" all revoked within {revoking:.1f} s ({number / revoking:.1f}/s)"
    )


@pytest.mark.timeout(120)
def test_orders_end_as_early_as_the_schedule_allows(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    run(40, 0.05, database_target, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_five_hundred_orders_in_real_time(database_target: DatabaseTarget, tmp_path: Path) -> None:
    run(500, 1.0, database_target, tmp_path)
