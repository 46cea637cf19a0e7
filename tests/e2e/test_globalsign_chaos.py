"""HVCA fails, processes are killed and paused: every order to it comes to its end, once."""

from __future__ import annotations

import time
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from cryptography.x509 import load_pem_x509_csr

from tests.conformance.hvca import hvca
from tests.conformance.hvca.register import spki_hash
from tests.conformance.mischief import Mischief, Operation
from tests.support.chaos import (
    BOOKED,
    FAULT_SHARE,
    IN_DOUBT,
    LEASE_SECONDS,
    NOTHING_BOOKED,
    SCHEDULE_SCALE,
    SETTINGS,
    WAYS,
    Ordeal,
    Plan,
)
from tests.support.fleet import Wish, csr_with_a_key_of_its_own, running_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import httpx2

    from tests.conformance.hvca import Hvca
    from tests.support.chaos import Orders
    from tests.support.fleet import Fleet
    from tests.support.targets import DatabaseTarget

#: For what is read of the account: a login, the policy, the chain.
_READING = (*NOTHING_BOOKED, Mischief.GARBAGE, Mischief.TRUNCATED, Mischief.CUT_OFF)
HVCA_WAYS = {**WAYS, Operation.ACCOUNT: _READING, Operation.CHAIN: _READING}

#: The connector sends an order again that was not listed for so long. What the stand-in takes to
#: issue and to list is small against it.
LISTING_DELAY = 600 * SCHEDULE_SCALE
ISSUE_SECONDS = 0.2
LISTING_LAG = 0.2
#: Longer than the others need to take an order over and to send it again.
PAUSE_SECONDS = max(LEASE_SECONDS, LISTING_DELAY) + 2.0
#: How long an answer takes at least while a process is paused.
LATENCY = 0.2

#: In a dialect that lists nothing, a lost answer is a person's affair.
LEFT_TO_A_PERSON = {"iss-headers", "iss-auto-headers"}


@dataclass
class World:
    """Two stand-ins, one of each dialect, and issuers that are told the dialect or find it out."""

    atlas: Hvca
    headers: Hvca
    client: httpx2.Client
    seed: int
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: What the books call a wish: the hash of its key.
    spki: dict[str, str] = field(default_factory=dict)

    def configure(self, folder: Path) -> None:
        """Make the issuers."""
        for ca in (self.atlas, self.headers):
            settings = ca.settings(ca.new_account(), folder, ca.dialect)
            for dialect in (ca.dialect, "auto"):
                name = dialect if dialect == ca.dialect else f"auto-{ca.dialect}"
                body = {
                    "id": f"iss-{name}",
                    "name": name,
                    "type": "GlobalSign",
                    "config": {
                        **settings,
                        "dialect": dialect,
                        # A look-up makes many calls, and fails with each of them: it is to be made
                        # often, and not once an hour.
                        "poll_max_wait_seconds": 86_400,
                    },
                }
                answer = self.client.post("/api/v1/issuers", json=body)
                assert answer.status_code == 201, answer.text
                self.bodies[f"iss-{name}"] = body

    def fail(self, share: float) -> None:
        """Let that part of the calls fail from now on."""
        for ca in (self.atlas, self.headers):
            ca.chaos(share, self.seed, HVCA_WAYS, seconds=1)

    def wishes(self, number: int, label: str) -> list[Wish]:
        """Orders for all issuers in turn, with a key of its own each: HVCA knows nothing else."""
        issuers = list(self.bodies)
        wanted = []
        for n in range(number):
            csr = csr_with_a_key_of_its_own("chaos.example.org")
            wish = Wish(f"{label}-{n}", {"issuer_id": issuers[n % len(issuers)], "csr": csr})
            self.spki[wish.key] = spki_hash(load_pem_x509_csr(csr.encode()).public_key())
            wanted.append(wish)
        return wanted

    @contextmanager
    def sent_slowly(self) -> Iterator[None]:
        """Have many orders marked, and not sent yet: a login and the policy come between."""
        for issuer_id, body in self.bodies.items():
            kept = {"name": body["name"], "config": body["config"]}
            answer = self.client.put(f"/api/v1/issuers/{issuer_id}", json=kept)
            assert answer.status_code == 200, answer.text
        for ca in (self.atlas, self.headers):
            ca.set_latency(LATENCY)
        yield
        for ca in (self.atlas, self.headers):
            ca.set_latency(0)

    def check_books(self, ordeal: Ordeal, orders: Orders) -> None:
        """What was issued was ordered, and what was ordered is known here."""
        known = {self.spki[wish]: order_id for wish, order_id in ordeal.customers.orders.items()}
        booked = {**self.atlas.books.orders(), **self.headers.books.orders()}
        assert set(booked) <= set(known)
        issued = {spki for spki, order_id in known.items() if orders[order_id]["state"] == "issued"}
        assert issued <= set(booked)

    def check_doubles_are_shown(self, ordeal: Ordeal) -> int:
        """Find each double in its order's history; how many there are."""
        known = {self.spki[wish]: order_id for wish, order_id in ordeal.customers.orders.items()}
        doubled = self.atlas.books.doubled()
        for spki in doubled:
            history = ordeal.history(known[spki])
            seen = {attempt["outcome"] for attempt in history}
            entries = [e for e in self.atlas.books.entries(Operation.SUBMIT, spki) if e.booked]
            if any(entry.mischief in BOOKED for entry in entries):
                # One of the answers was lost as well: then the history says that it was.
                assert (IN_DOUBT | {"doubled", "perhaps_doubled"}) & seen, history
                continue
            shown = " ".join(a["detail"] for a in history if a["outcome"] == "doubled").lower()
            assert any(str(entry.booked) in shown for entry in entries), history
        return len(doubled)


def moment(body: Mapping[str, Any]) -> float:
    """Every other order is worked on for a moment."""
    return ISSUE_SECONDS if zlib.crc32(repr(body).encode()) % 2 else 0.0


def run(plan: Plan, target: DatabaseTarget, folder: Path, at_the_end: float = FAULT_SHARE) -> int:
    """Carry out a plan; how many orders were doubled by a paused process.

    `at_the_end` is the share of faults when nothing is killed or paused any more.
    """
    for name in ("atlas", "headers"):
        (folder / name).mkdir()
    with (
        hvca(folder / "atlas", "atlas") as atlas,
        hvca(folder / "headers", "headers") as headers,
        running_fleet(target, folder, SETTINGS) as fleet,
        fleet.client(0) as client,
    ):
        world = World(atlas, headers, client, plan.seed)
        world.configure(folder)
        atlas.listing_lag = LISTING_LAG
        for ca in (atlas, headers):
            ca.issue_seconds = moment
        ordeal = Ordeal(plan, fleet, client, world.wishes, partial(world.fail, at_the_end))
        world.fail(FAULT_SHARE)
        orders = ordeal.kill()
        ordeal.check_ends(orders, LEFT_TO_A_PERSON)
        assert atlas.books.doubled() == {}
        assert headers.books.doubled() == {}
        world.fail(FAULT_SHARE)
        orders = ordeal.pause(world.sent_slowly)
        ordeal.check_ends(orders, LEFT_TO_A_PERSON)
        assert headers.books.doubled() == {}, "nobody orders again what a person has to look at"
        world.check_books(ordeal, orders)
        doubled = world.check_doubles_are_shown(ordeal)
        ordeal.check_the_end(orders)
        return doubled


@pytest.mark.timeout(400)
def test_every_order_comes_to_its_end_once(database_target: DatabaseTarget, tmp_path: Path) -> None:
    run(Plan(orders=40, kills=1, pauses=1, pause_seconds=PAUSE_SECONDS), database_target, tmp_path)


@contextmanager
def stopped_between_transactions(fleet: Fleet, target: DatabaseTarget) -> Iterator[None]:
    """The first process stands still, and holds no lock that the second one would wait for."""
    assert target.url is not None
    with psycopg.connect(target.url, autocommit=True) as database, ExitStack() as stack:
        for _ in range(10):
            with ExitStack() as stopping:
                stopping.enter_context(fleet.stopped(0))
                time.sleep(0.1)  # what it has sent is done by then
                if not _open_transactions(database):
                    stack.enter_context(stopping.pop_all())
                    break
        else:
            pytest.fail("it is always in the middle of a transaction")
        yield


def _open_transactions(database: psycopg.Connection[tuple[int]]) -> int:
    """The fewest that there are in a few moments: the second process has some of its own."""
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    found = []
    for _ in range(5):
        row = database.execute(query).fetchone()
        assert row is not None
        found.append(row[0])
        time.sleep(0.02)
    return min(found)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
@pytest.mark.timeout(120)
def test_what_a_process_doubles_that_stood_still_is_found_and_shown(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    with (
        hvca(tmp_path, "atlas") as ca,
        running_fleet(database_target, tmp_path, SETTINGS) as fleet,
        fleet.client(0) as first,
        fleet.client(1) as second,
    ):
        config = {**ca.settings(ca.new_account(), tmp_path), "dialect": "atlas"}
        body = {"id": "iss-atlas", "name": "Atlas", "type": "GlobalSign", "config": config}
        assert first.post("/api/v1/issuers", json=body).status_code == 201
        ca.listing_lag = LISTING_LAG
        ca.set_latency(5)  # so that the first process stands still before it has sent the order
        wish = {"issuer_id": "iss-atlas", "csr": csr_with_a_key_of_its_own("twice.example.org")}
        order_id = first.post("/api/v1/certificates", json=wish).json()["order_id"]
        ca.books.wait_for(lambda books: bool(books.entries(Operation.ACCOUNT)))

        def seen() -> tuple[str, list[dict[str, Any]]]:
            order = second.get(f"/api/v1/orders/{order_id}").raise_for_status().json()
            return order["state"], order["history"]

        with stopped_between_transactions(fleet, database_target):
            ca.set_latency(0)
            wait_until(lambda: seen()[0] == "issued")
            assert ca.books.doubled() == {}
        wait_until(lambda: seen()[1][-1]["outcome"] == "doubled")
        booked = [str(e.booked) for e in ca.books.entries(Operation.SUBMIT) if e.booked]
        assert len(booked) == 2
        state, history = seen()
        assert state == "issued", "the order keeps what it has"
        assert booked[1] in history[-1]["detail"].lower()
        assert "order_doubled" in fleet.servers[0].log.read_text()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_thousand_orders_thirty_kills_ten_pauses(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    plan = Plan(orders=2_000, kills=30, pauses=10, pause_seconds=PAUSE_SECONDS)
    # A look-up of a thousand certificates hardly ever gets through where a fifth of it fails.
    doubled = run(plan, database_target, tmp_path, at_the_end=0.05)
    print(f"{doubled} orders were doubled by a paused process, found and shown")
