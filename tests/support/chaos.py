"""An ordeal: customers order while the CA fails and servers are killed, then stopped for a time."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.conformance.mischief import Mischief, Operation
from tests.support.fleet import Customers, orders_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    import httpx2

    from tests.support.fleet import Fleet, Wish

LEASE_SECONDS = 2.0
SCHEDULE_SCALE = 0.005
SETTINGS = {
    "CERTCTL_LEASE_SECONDS": str(LEASE_SECONDS),
    "CERTCTL_SCHEDULE_SCALE": str(SCHEDULE_SCALE),
    "CERTCTL_LOG_LEVEL": "warning",
}
#: This part of what a CA is asked goes wrong.
FAULT_SHARE = 0.2
#: After these nothing has happened at the CA, after those it has.
NOTHING_BOOKED = (Mischief.RATE_LIMITED, Mischief.ERROR, Mischief.RESET_BEFORE)
BOOKED = (
    Mischief.RESET_AFTER,
    Mischief.ERROR_BOOKED,
    Mischief.GARBAGE,
    Mischief.TRUNCATED,
    Mischief.CUT_OFF,
)
WAYS = {
    Operation.SUBMIT: (*NOTHING_BOOKED, *BOOKED, Mischief.REFUSED),
    Operation.POLL: (*NOTHING_BOOKED, *BOOKED),
    Operation.LOOKUP: (*NOTHING_BOOKED, *BOOKED),
}
#: Outcomes after which nobody knows whether the CA has an order.
IN_DOUBT = frozenset({"lost", "no_answer", "bad_answer"})

_ENDED = frozenset({"issued", "rejected", "uncertain"})
_END_SECONDS = 180.0

Orders = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """How much happens to how many orders, and the seed of all chance."""

    orders: int
    kills: int
    pauses: int
    seed: int = 20261125
    #: How long a server is stopped; others take its orders when its lease is over.
    pause_seconds: float = LEASE_SECONDS * 1.5


@dataclass
class Ordeal:
    """Carries out a plan.

    `wishes` makes so many orders, whose keys begin with a label. `subside` is done when nothing is
    killed or stopped any more, and the rest of the orders come to their end.
    """

    plan: Plan
    fleet: Fleet
    client: httpx2.Client
    wishes: Callable[[int, str], list[Wish]]
    subside: Callable[[], None] = lambda: None
    customers: Customers = field(init=False)
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.customers = Customers(self.fleet)
        self._chance = random.Random(self.plan.seed)

    def kill(self) -> Orders:
        """Kill a server for each part of the orders, and return all of them at their end."""

        def act(number: int) -> None:
            time.sleep(self._chance.uniform(0.05, 0.5))
            self.fleet.kill(number)

        return self._disturb("kill", self.plan.kills, act)

    def pause(self, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> Orders:
        """Stop a server past its lease for each part of the orders, and return them likewise.

        `around` is entered before anything of a part is ordered, and left when the server goes on.
        """

        def act(number: int) -> None:
            time.sleep(self._chance.uniform(0.05, 0.3))
            self.fleet.pause(number, self.plan.pause_seconds)

        return self._disturb("pause", self.plan.pauses, act, around)

    def check_ends(self, orders: Orders, left_to_a_person: Collection[str]) -> None:
        """All that was taken is there; nobody but these issuers leaves an order to a person."""
        assert set(self.customers.orders.values()) <= set(orders)
        assert {o["issuer_id"] for o in orders.values() if o["state"] == "uncertain"} <= set(
            left_to_a_person
        )
        states = Counter(order["state"] for order in orders.values())
        assert states["issued"] > len(orders) / 2, states

    def check_the_end(self, orders: Orders) -> None:
        """As many as planned came through, the audit chains verify, and no server had a fault."""
        assert len(orders) >= self.plan.orders
        report = self.client.post("/api/v1/audit/verify").raise_for_status().json()
        assert report["problems"] == []
        assert self.fleet.faults() == []

    def outcomes(self, order_id: str) -> list[str]:
        """What came of the attempts of an order, one after the other."""
        return [attempt["outcome"] for attempt in self.history(order_id)]

    def history(self, order_id: str) -> list[dict[str, Any]]:
        """The attempts of an order, one after the other."""
        answer = self.client.get(f"/api/v1/orders/{order_id}").raise_for_status()
        attempts: list[dict[str, Any]] = answer.json()["history"]
        return attempts

    def _disturb(
        self,
        label: str,
        times: int,
        act: Callable[[int], None],
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Orders:
        size = self.plan.orders // (self.plan.kills + self.plan.pauses)
        for number in range(times):
            batch = self.wishes(size, f"{label}-{number}")
            ordering = threading.Thread(target=self.customers.order, args=(batch,))
            with around():
                ordering.start()
                act(number)
            ordering.join(_END_SECONDS)
            assert not ordering.is_alive()
        assert self.customers.failures == []
        self.subside()
        return self._wait_for_the_end()

    def _wait_for_the_end(self) -> Orders:
        end = time.monotonic() + _END_SECONDS
        while True:
            orders = orders_of(self.client)
            waiting = [
                (order["issuer_id"], order["state"], order["problem"])
                for order in orders.values()
                if order["state"] not in _ENDED
            ]
            if not waiting:
                return orders
            assert time.monotonic() < end, f"{len(waiting)} never ended: {waiting[:5]}"
            time.sleep(0.25)
