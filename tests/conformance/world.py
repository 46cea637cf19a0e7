"""One issuer of a driver's type in a control plane, and what a person does with it over REST."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from certctl.connectors.config import RemoteConfig
from certctl.domain.keys import KeyType
from certctl.domain.polling import PollSchedule
from certctl.pki.keys import generate_key
from certctl.pki.requests import load_request
from certctl.storage.orders import get_order
from tests.conformance.driver import Placed
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from certctl.storage.database import Database
    from tests.conformance.driver import Driver, OpenAccount, Peer

#: A second is a millisecond, so that an hour of quota is under four seconds.
SCHEDULE = PollSchedule(scale=0.001)
NAMES = ("www.example.org", "mail.example.org")
_CLOSED = frozenset({"issued", "rejected", "expired", "cancelled"})

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """A control plane with one issuer, whose peer is running where there is one."""

    plane: ControlPlane
    database: Database
    driver: Driver
    issuer_id: str
    account: OpenAccount | None
    given_peer: Peer | None

    @property
    def peer(self) -> Peer:
        """The CA."""
        assert self.given_peer is not None
        return self.given_peer

    @property
    def open_account(self) -> OpenAccount:
        """The account that the issuer uses."""
        assert self.account is not None
        return self.account

    async def get(self, path: str, **params: str) -> Json:
        """GET that succeeds."""
        response = await self.plane.client.get(f"/api/v1/{path}", params=params)
        assert response.status_code == 200, response.text
        found: Json = response.json()
        return found

    async def post(self, path: str, body: Json | None = None) -> Json:
        """POST that succeeds."""
        response = await self.plane.client.post(f"/api/v1/{path}", json=body or {})
        assert response.status_code < 300, response.text
        found: Json = response.json()
        return found

    async def issuer(self) -> Json:
        """The issuer as it is shown."""
        return await self.get(f"issuers/{self.issuer_id}")

    async def change(self, config: Json) -> Json:
        """PUT the issuer with other settings."""
        before = await self.issuer()
        body = {"name": before["name"], "config": before["config"] | config}
        response = await self.plane.client.put(f"/api/v1/issuers/{self.issuer_id}", json=body)
        assert response.status_code == 200, response.text
        found: Json = response.json()
        return found

    async def order(self, *, wait: int = 0) -> str:
        """Ask for a certificate, and wait for so many seconds; its order's id."""
        # A key of its own: some CAs know an order by nothing else.
        csr = make_csr(generate_key(KeyType.P256), NAMES)
        body = {"issuer_id": self.issuer_id, "csr": csr}
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        response = await self.plane.client.post("/api/v1/certificates", json=body, headers=headers)
        assert response.status_code in {201, 202}, response.text
        return str(response.json()["order_id"])

    async def look(self, order_id: str) -> Json:
        """An order with its history."""
        return await self.get(f"orders/{order_id}")

    async def ordered(self, order_id: str) -> int:
        """How often the CA was given an order."""
        return self.peer.ordered(await self._placed(order_id))

    async def times(self, order_id: str) -> list[int]:
        """When the CA was asked to take an order, in milliseconds."""
        return self.peer.times(await self._placed(order_id))

    async def _placed(self, order_id: str) -> Placed:
        order = await self.database.read(lambda connection: get_order(connection, order_id))
        assert order is not None
        assert order.csr is not None
        spki = load_request(order.csr).spki
        return Placed(order_id, hashlib.sha256(spki).hexdigest())

    async def orders(self) -> set[str]:
        """The newest orders that there are."""
        return {line["id"] for line in (await self.get("orders"))["data"]}

    async def next_order(self, known: set[str]) -> str:
        """An order that was not known, once there is one."""
        for _ in range(1000):
            if new := await self.orders() - known:
                return new.pop()
            await asyncio.sleep(0.02)
        pytest.fail("there is no order")

    async def until(self, order_id: str, *states: str, seconds: float = 15.0) -> Json:
        """The order once it is in one of these states."""
        order: Json = {}
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            order = await self.look(order_id)
            if order["state"] in states:
                return order
            if order["state"] in _CLOSED:
                break
            await asyncio.sleep(0.02)
        pytest.fail(f"the order is {order['state']}, not {states}: {story(order)}")

    async def until_attempt(self, order_id: str, outcome: str) -> Json:
        """The order once the CA gave an answer of that class."""
        order: Json = {}
        for _ in range(750):
            order = await self.look(order_id)
            if outcome in [attempt["outcome"] for attempt in order["history"]]:
                return order
            await asyncio.sleep(0.02)
        pytest.fail(f"no attempt was {outcome}: {story(order)}")

    async def certificate(self, order: Json) -> Json:
        """The certificate that an order is for."""
        return await self.get(f"certificates/{order['certificate_id']}")

    async def issue(self) -> Json:
        """A certificate that was issued, whatever it takes."""
        return await self.certificate(await self.until(await self.order(wait=20), "issued"))

    async def revocation_until(self, certificate: Json, state: str) -> Json:
        """The revocation of a certificate's newest version once it is in that state."""
        found: Json | None = None
        for _ in range(750):
            now = await self.get(f"certificates/{certificate['id']}")
            found = now["version"]["revocation"]
            if (found or {"state": "none"})["state"] == state:
                return found or {}
            await asyncio.sleep(0.02)
        pytest.fail(f"the revocation is not {state}: {found}")

    async def until_condition(self, state: str | None) -> Json | None:
        """The issuer's condition once it is that one; None: once there is none."""
        condition: Json | None = None
        for _ in range(750):
            condition = (await self.issuer())["condition"]
            if (condition or {}).get("state") == state:
                return condition
            await asyncio.sleep(0.02)
        pytest.fail(f"the issuer's condition is not {state}: {condition}")

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Have what is due done meanwhile, where nothing is done by itself."""
        stopping = asyncio.Event()
        working = asyncio.create_task(self.plane.services.use_cases.scheduler.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await working

    async def audited(self, action: str) -> int:
        """How often the audit log has an action."""
        events = (await self.get("audit", limit="500"))["data"]
        return sum(1 for event in events if event["action"] == action)


def story(order: Json) -> list[tuple[str, str, str | None]]:
    """An order's history: what was asked, the class of the answer, the words."""
    return [(one["action"], one["outcome"], one["detail"]) for one in order["history"]]


def outcomes(order: Json, action: str | None = None) -> list[str]:
    """The classes of the answers, to one kind of question or to all."""
    return [one["outcome"] for one in order["history"] if action in {None, one["action"]}]


@asynccontextmanager
async def open_world(
    database: Database,
    folder: Path,
    driver: Driver,
    peer: Peer | None,
    *,
    schedule: PollSchedule = SCHEDULE,
    run_scheduler: bool = True,
) -> AsyncIterator[World]:
    """A control plane with a new issuer."""
    async with control_plane(
        database, folder, sample=driver, schedule=schedule, run_scheduler=run_scheduler
    ) as plane:
        account = None if peer is None else peer.open_account(folder)
        issuer_id = await _make_issuer(plane, driver, account)
        try:
            yield World(plane, database, driver, issuer_id, account, peer)
        finally:
            if peer is not None:
                peer.behave()


async def _make_issuer(plane: ControlPlane, driver: Driver, account: OpenAccount | None) -> str:
    config = driver.settings | ({} if account is None else account.settings)
    if issubclass(driver.connector.config, RemoteConfig):
        config |= {"poll_max_wait_seconds": 86_400}  # no test waits for an order that is parked
    body = {"name": driver.name, "type": driver.connector.name, "config": config}
    response = await plane.client.post("/api/v1/issuers", json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])
