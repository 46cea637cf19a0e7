"""Servers on one database that are killed and paused, and customers who do not let go."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from certctl.domain.keys import KeyType
from certctl.pki.keys import generate_key
from tests.support.api import client_for
from tests.support.pki import make_csr
from tests.support.server import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

    from tests.support.targets import DatabaseTarget

#: A third-party connector to the stand-in CA, for a server's Python path.
STAND_IN_PACKAGE = Path(__file__).parents[1] / "packages" / "stand_in_connector"
_PATIENCE_SECONDS = 120.0


@dataclass
class Fleet:
    """One server with SQLite, two with PostgreSQL; each with its own data directory."""

    servers: list[ServerProcess]
    key: str
    #: Where they are, also while one of them is being started again.
    urls: list[str]

    def client(self, which: int) -> httpx2.Client:
        """A client of one of them, with the first admin key."""
        number = which % len(self.servers)
        return client_for(self.servers[number], key=self.key, url=self.urls[number])

    def faults(self) -> list[str]:
        """Lines of the logs with a traceback: what no outage and no CA explains."""
        logs = "".join(server.log.read_text() for server in self.servers)
        return [line for line in logs.splitlines() if "Traceback" in line]

    def kill(self, which: int) -> None:
        """End one as a crash would, and start it again on the same port."""
        server = self.servers[which % len(self.servers)]
        server.kill()
        server.start()

    def pause(self, which: int, seconds: float) -> None:
        """Stop one for a time, as a machine that hangs does."""
        with self.stopped(which):
            time.sleep(seconds)

    @contextmanager
    def stopped(self, which: int) -> Iterator[None]:
        """One stands still until the block ends."""
        server = self.servers[which % len(self.servers)]
        os.kill(server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server.pid, signal.SIGCONT)


@contextmanager
def running_fleet(
    target: DatabaseTarget,
    folder: Path,
    settings: Mapping[str, str],
    python_path: Path | None = None,
) -> Iterator[Fleet]:
    """Servers on that database, stopped at the end."""
    number = 1 if target.url is None else 2
    servers = [
        ServerProcess(folder / f"server-{n}", {**target.environment, **settings}, python_path)
        for n in range(number)
    ]
    started: list[ServerProcess] = []
    try:
        for server in servers:
            server.start()
            started.append(server)
        yield Fleet(servers, servers[0].key, [server.url for server in servers])
    finally:
        for server in started:
            server.stop()


@dataclass(frozen=True)
class Wish:
    """One certificate that a customer wants, under a key of its own."""

    key: str
    body: dict[str, Any]


@dataclass
class Customers:
    """Order certificates, repeating each request until a server has taken it."""

    fleet: Fleet
    threads: int = 4
    #: Order id by the wish's key.
    orders: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    _clients: list[httpx2.Client] = field(default_factory=list)
    _local: threading.local = field(default_factory=threading.local)

    def order(self, wishes: Sequence[Wish]) -> None:
        """Place orders, a few at a time; returns once each of them was taken."""
        try:
            with ThreadPoolExecutor(self.threads) as pool:
                for order_id, wish in zip(pool.map(self._order, wishes), wishes, strict=True):
                    if order_id is not None:
                        self.orders[wish.key] = order_id
        finally:
            while self._clients:
                self._clients.pop().close()

    def _order(self, wish: Wish) -> str | None:
        end = time.monotonic() + _PATIENCE_SECONDS
        which = hash(wish.key)
        while time.monotonic() < end:
            which += 1  # the next try goes to another server
            try:
                answer = self._client(which).post(
                    "/api/v1/certificates",
                    json=wish.body,
                    headers={"Idempotency-Key": wish.key},
                )
            except httpx2.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code in {201, 202}:
                found: str = answer.json()["order_id"]
                return found
            if answer.status_code != 503:
                self.failures.append(f"{answer.status_code}: {answer.text}")
                return None
            time.sleep(0.05)
        self.failures.append("no server took the order")
        return None

    def _client(self, which: int) -> httpx2.Client:
        clients: dict[int, httpx2.Client] | None = getattr(self._local, "clients", None)
        if clients is None:
            clients = self._local.clients = {}
        number = which % len(self.fleet.servers)
        if number not in clients:
            clients[number] = self.fleet.client(number)
            self._clients.append(clients[number])
        return clients[number]


@dataclass
class Regulars:
    """Want one certificate after the other as long as the block lasts, through each process."""

    fleet: Fleet
    issuers: Sequence[str]
    threads: int = 8
    #: How many they have got, and what they were answered instead.
    issued: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _running: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._running = [
            threading.Thread(target=self._run, args=(number,)) for number in range(self.threads)
        ]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join(60)
            assert not thread.is_alive()

    def wait_for_more(self, number: int) -> None:
        """Until they have got so many more; AssertionError when one fails, or nobody gets any."""
        with self._changed:
            aim = self.issued + number
            came = self._changed.wait_for(lambda: self.issued >= aim or bool(self.failures), 60)
        assert self.failures == []
        assert came, "nobody issues any more"

    def _run(self, number: int) -> None:
        servers = len(self.fleet.servers)
        with ExitStack() as stack:
            clients = [stack.enter_context(self.fleet.client(n)) for n in range(servers)]
            while not self._stop.is_set():
                number += 1
                body = {
                    "issuer_id": self.issuers[number // servers % len(self.issuers)],
                    "csr": csr_with_a_key_of_its_own("regular.example.org"),
                }
                answer = clients[number % servers].post(
                    "/api/v1/certificates", json=body, headers={"Prefer": "wait=15"}
                )
                with self._changed:
                    if answer.status_code == 201:
                        self.issued += 1
                    else:
                        self.failures.append(f"{answer.status_code}: {answer.text}")
                    self._changed.notify_all()


def csr_with_a_key_of_its_own(name: str) -> str:
    """A request for a name: some CAs know an order by nothing but its key."""
    return make_csr(generate_key(KeyType.P256), [name])


def orders_of(client: httpx2.Client) -> dict[str, dict[str, Any]]:
    """Every order by its id, as the list shows it."""
    found: dict[str, dict[str, Any]] = {}
    cursor: str | None = None
    while True:
        params = {"limit": 500} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/v1/orders", params=params).raise_for_status().json()
        found |= {order["id"]: order for order in page["data"]}
        cursor = page["next"]
        if cursor is None:
            return found
