"""Credentials for HVCA are changed as the playbooks say, while customers order: no order fails."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from inotify_simple import INotify, flags

from certctl.domain.serials import serial_hex
from tests.conformance.hvca import hvca
from tests.conformance.mischief import Mischief, Operation
from tests.support.fleet import (
    Customers,
    Regulars,
    Wish,
    csr_with_a_key_of_its_own,
    orders_of,
    running_fleet,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import httpx2

    from tests.conformance.hvca import Account, Hvca
    from tests.conformance.hvca.running import Dialect
    from tests.conformance.stand_in.books import Entry
    from tests.support.targets import DatabaseTarget

SETTINGS = {"CERTCTL_SCHEDULE_SCALE": "0.01", "CERTCTL_LOG_LEVEL": "warning"}
#: So that a CA that was left alone is tried again after six seconds; who sees a change of files is
#: faster.
SLOW = {**SETTINGS, "CERTCTL_SCHEDULE_SCALE": "0.1"}
PROBE_SECONDS = 60 * 0.1
ISSUER = "iss-globalsign"
CLIENTS = 6
SWAPS = 2
#: Nobody is asking any more when nobody has asked for so long: longer than between two polls.
QUIET_SECONDS = 0.8
#: So long other processes take to hear of a change.
HEARD_SECONDS = 1.5

in_both_dialects = pytest.mark.parametrize("spoken", ["atlas", "headers"])
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """The folder with the client's certificate and key."""
    folder = tmp_path / "pair"
    folder.mkdir()
    return folder


def make_issuer(client: httpx2.Client, config: Mapping[str, Any]) -> None:
    body = {"id": ISSUER, "name": "HVCA", "type": "GlobalSign", "config": dict(config)}
    answer = client.post("/api/v1/issuers", json=body)
    assert answer.status_code == 201, answer.text


def put(client: httpx2.Client, config: Mapping[str, Any]) -> None:
    body = {"name": "HVCA", "config": dict(config)}
    answer = client.put(f"/api/v1/issuers/{ISSUER}", json=body)
    assert answer.status_code == 200, answer.text


def issue(client: httpx2.Client) -> None:
    body = {"issuer_id": ISSUER, "csr": csr_with_a_key_of_its_own("one.example.org")}
    answer = client.post("/api/v1/certificates", json=body, headers={"Prefer": "wait=15"})
    assert answer.status_code == 201, answer.text


def credentials(account: Account) -> dict[str, str]:
    return {"api_key": account.api_key, "api_secret": account.api_secret}


def generation(entry: Entry) -> int | None:
    """Whose key and secret a request was made with: they come with it, or bought its token."""
    return entry.token_generation if entry.key_generation is None else entry.key_generation


def entries_when_quiet(ca: Hvca) -> int:
    """How many requests there were once they stop coming, as they do with half a pair."""
    end = time.monotonic() + 5
    while True:
        before = len(ca.books.entries())
        time.sleep(QUIET_SECONDS)
        if len(ca.books.entries()) == before:
            return before
        assert time.monotonic() < end, "a pair that does not fit is used"


def wait_for_more_than(ca: Hvca, seen: int, seconds: float) -> None:
    ca.books.wait_for(lambda books: len(books.entries()) > seen, seconds)


def check_all_issued_once(client: httpx2.Client, ca: Hvca) -> None:
    states = {order["state"] for order in orders_of(client).values()}
    assert states == {"issued"}
    assert ca.books.doubled() == {}


def check_no_pair_was_mixed(ca: Hvca, logins: int) -> None:
    """What came with key and secret had those of one account; in `atlas` that is the logins."""
    entries = ca.books.entries()
    assert ca.books.mixed() == []
    assert all(entry.key_generation == entry.secret_generation for entry in entries)
    assert [entry for entry in entries if entry.status == 401] == []
    if ca.dialect == "atlas":
        assert sum(entry.key_generation is not None for entry in entries) >= logins
    else:
        assert all(entry.key_generation is not None for entry in entries)


@on_sqlite
@in_both_dialects
@pytest.mark.timeout(120)
def test_a_new_pair_is_moved_into_place_in_either_order(
    database_target: DatabaseTarget, tmp_path: Path, pair: Path, spoken: Dialect
) -> None:
    with (
        hvca(tmp_path, spoken) as ca,
        running_fleet(database_target, tmp_path, SLOW) as fleet,
        fleet.client(0) as client,
    ):
        make_issuer(client, {**ca.settings(ca.new_account(), pair), "dialect": spoken})
        with Regulars(fleet, [ISSUER], CLIENTS) as customers:
            for first, second in (("crt", "key"), ("key", "crt")):
                customers.wait_for_more(CLIENTS)
                new = ca.new_account()
                new.write(pair, "new")
                (pair / f"new.{first}").replace(pair / f"client.{first}")  # as `mv -f`
                seen = entries_when_quiet(ca)
                (pair / f"new.{second}").replace(pair / f"client.{second}")
                wait_for_more_than(ca, seen, PROBE_SECONDS - 1)
                customers.wait_for_more(CLIENTS)
                presented = {entry.client_serial for entry in ca.books.entries()[seen:]}
                assert presented == {serial_hex(new.serial)}
        assert customers.failures == []
        assert fleet.faults() == []
        check_all_issued_once(client, ca)


@in_both_dialects
@pytest.mark.timeout(120)
def test_key_and_secret_are_changed_by_put_and_no_file_is_opened(
    database_target: DatabaseTarget, tmp_path: Path, pair: Path, spoken: Dialect
) -> None:
    with (
        hvca(tmp_path, spoken) as ca,
        running_fleet(database_target, tmp_path, SETTINGS) as fleet,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(fleet.client(n)) for n in range(len(fleet.servers))]
        watch = stack.enter_context(INotify())
        first = ca.new_account()
        config = {**ca.settings(first, pair), "dialect": spoken}
        make_issuer(clients[0], config)
        for client in clients:
            issue(client)  # so that each process has read the files
        files = [pair / "client.crt", pair / "client.key", ca.trust_path]
        for path in files:
            watch.add_watch(str(path), flags.OPEN | flags.ACCESS)
        accounts = [first]
        with Regulars(fleet, [ISSUER], CLIENTS) as customers:
            for number in range(SWAPS):
                customers.wait_for_more(2 * CLIENTS)  # half of them may have been under way
                accounts.append(ca.new_account())
                put(clients[number % len(clients)], config | credentials(accounts[-1]))
            time.sleep(HEARD_SECONDS)
            for old in accounts[1:-1]:
                ca.end(old)  # not the first: its certificate is still the one that is presented
            seen = len(ca.books.entries())
            customers.wait_for_more(2 * CLIENTS)
        assert customers.failures == []
        assert watch.read(timeout=0) == []
        files[0].read_bytes()
        assert watch.read(timeout=1000), "the watch would have seen it"
        assert fleet.faults() == []
        check_all_issued_once(clients[0], ca)
        check_no_pair_was_mixed(ca, logins=len(accounts))
        assert {entry.client_serial for entry in ca.books.entries()} == {serial_hex(first.serial)}
        used = {generation(entry) for entry in ca.books.entries(Operation.SUBMIT)}
        assert used == {account.generation for account in accounts}
        last = {generation(entry) for entry in ca.books.entries()[seen:]}
        assert last == {accounts[-1].generation}


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings as variables."""
    return {f"CERTCTL_GLOBALSIGN_{name.upper()}": str(value) for name, value in config.items()}


def wishes(number: int, label: str) -> list[Wish]:
    return [
        Wish(
            f"{label}-{n}",
            {"issuer_id": ISSUER, "csr": csr_with_a_key_of_its_own(f"{label}.example.org")},
        )
        for n in range(number)
    ]


def wait_for(client: httpx2.Client, orders: Iterable[str], state: str) -> None:
    wanted, end = list(orders), time.monotonic() + 30
    while True:
        found = orders_of(client)
        others = {found[order_id]["state"] for order_id in wanted} - {state}
        if not others:
            return
        assert time.monotonic() < end, others
        time.sleep(0.1)


@on_sqlite
@in_both_dialects
@pytest.mark.timeout(120)
def test_key_and_secret_are_changed_in_the_environment_with_a_restart(
    database_target: DatabaseTarget, tmp_path: Path, pair: Path, spoken: Dialect
) -> None:
    with hvca(tmp_path, spoken) as ca:
        config = {
            **ca.settings(ca.new_account(), pair),
            "dialect": spoken,
            "poll_max_wait_seconds": 86_400,
        }
        old, new = ca.new_account(), ca.new_account()
        variables = SETTINGS | environment(config | credentials(old))
        with running_fleet(database_target, tmp_path, variables) as fleet:
            (server,) = fleet.servers
            for operation in (Operation.SUBMIT, Operation.POLL):
                ca.misbehave(Mischief.PENDING, times=None, on=operation)
            customers = Customers(fleet)
            customers.order(wishes(8, "pending"))
            with fleet.client(0) as client:
                wait_for(client, customers.orders.values(), "pending")
            ordering = threading.Thread(target=customers.order, args=(wishes(80, "meanwhile"),))
            ordering.start()
            assert server.stop() == 0
            seen = len(ca.books.entries())
            assert {generation(entry) for entry in ca.books.entries()} == {old.generation}
            ca.end(old)
            server.extra = {**server.extra, **environment(credentials(new))}
            server.start()
            ca.behave()
            ordering.join(60)
            assert not ordering.is_alive()
            assert customers.failures == []
            assert len(customers.orders) == 88
            with fleet.client(0) as client:
                wait_for(client, customers.orders.values(), "issued")
                check_all_issued_once(client, ca)
                issuer = client.get(f"/api/v1/issuers/{ISSUER}").json()
            assert (issuer["source"], issuer["environment"]) == ("env", "applied")
            assert fleet.faults() == []
        check_no_pair_was_mixed(ca, logins=2)
        after = ca.books.entries()[seen:]
        assert {generation(entry) for entry in after} == {new.generation}
        assert [entry for entry in after if entry.booked], "new orders use the new key"
