"""Events on their way to the operator's webhook, over real TLS, on both databases."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from standardwebhooks import Webhook as Verifier

from certctl.connectors.errors import NoAnswer
from certctl.domain.clock import SystemClock
from certctl.domain.errors import Unavailable
from certctl.domain.events import Event, EventKind
from certctl.domain.keys import KeyType
from certctl.domain.orders import Recovery
from certctl.domain.webhooks import parse_target
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.events import Events
from certctl.lifecycle.scheduler import Queue, Scheduler
from certctl.lifecycle.webhook import Webhook
from certctl.storage.events import LEASES, EventRecord, count_events, load_event
from certctl.storage.leases import TakenOver
from certctl.storage.tables import events as events_table
from tests.support.clock import TurnableClock
from tests.support.control_plane import control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA
from tests.support.tls_peer import Exchange, Hierarchy, Peer, pem, running_peer, server_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from certctl.storage.database import Database, SqlRow

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("socket_enabled")]

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
TOKEN = "t0ken-in-the-address"
LEASE_MS = 60_000


@pytest.fixture
def clock() -> TurnableClock:
    """Stands still at the present time: receivers compare it with theirs."""
    return TurnableClock(SystemClock().now_ms())


@pytest.fixture(scope="module")
def hierarchy() -> Hierarchy:
    """The receiver's CA."""
    return Hierarchy()


@pytest.fixture
def receiver(hierarchy: Hierarchy, tmp_path: Path) -> Iterator[Peer]:
    """Who gets the events."""
    with running_peer(server_context(tmp_path, hierarchy)) as peer:
        yield peer


@dataclass
class Outbox:
    """The events of one database, their deliveries, and what was logged."""

    database: Database
    clock: TurnableClock
    webhook: Webhook
    logs: list[Any] = field(default_factory=list)

    async def add(self, kind: EventKind = EventKind.ORDER_UNCERTAIN, count: int = 1) -> list[Event]:
        """Have events recorded, as steps do, a millisecond apart."""
        outbox = Events(has_webhook=True)
        made = []
        for _ in range(count):
            event = Event(kind, self.clock.now_ms(), "iss-a", "words of a CA", order_id="ord-1")
            made.append(event)
            await self.database.write(partial(outbox.record, event=event))
            self.clock.turn(seconds=0.001)
        return made

    async def claim(self, limit: int = 1) -> Sequence[SqlRow[Any]]:
        """Claim due rows, as a scheduler does."""
        return await self.database.write(
            lambda t: LEASES.claim(
                t, owner="test", now_ms=self.clock.now_ms(), lease_ms=LEASE_MS, limit=limit
            )
        )

    async def step(self) -> bool:
        """Deliver the event that is due."""
        (row,) = await self.claim()
        return await self.webhook.step(row)

    async def left(self) -> list[EventRecord]:
        """What was not delivered, oldest first."""
        statement = events_table.select().order_by(events_table.c.id)
        return await self.database.read(
            lambda connection: [load_event(row) for row in connection.execute(statement)]
        )


def trusting(hierarchy: Hierarchy) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pem(hierarchy.root).decode())


@pytest.fixture
def outbox(
    database: Database, clock: TurnableClock, receiver: Peer, hierarchy: Hierarchy
) -> Iterator[Outbox]:
    """An empty outbox, whose events go to the receiver."""
    target = parse_target(f"{receiver.url}/hooks/{TOKEN}?key={TOKEN}", SECRET)
    webhook = Webhook(
        target, database, clock, context=trusting(hierarchy), timeout=0.5, deadline=1.0
    )
    with structlog.testing.capture_logs() as logs:
        yield Outbox(database, clock, webhook, logs)
    assert TOKEN not in repr(logs)
    assert SECRET.removeprefix("whsec_") not in repr(logs)


@contextmanager
def answering(receiver: Peer, *answers: Any) -> Iterator[None]:
    """Have the receiver answer with these: statuses, or functions; the last one repeats."""
    left = list(answers)

    async def script(exchange: Exchange) -> None:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if callable(answer):
            await answer(exchange)
        else:
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            await exchange.answer(status, TOKEN.encode(), headers)

    before, receiver.script = receiver.script, script
    yield
    receiver.script = before


async def test_an_event_is_posted_signed_and_forgotten(outbox: Outbox, receiver: Peer) -> None:
    (event,) = await outbox.add()
    (kept,) = await outbox.left()
    assert await outbox.step()
    (request,) = receiver.received
    assert (request.method, request.target) == ("POST", f"/hooks/{TOKEN}?key={TOKEN}")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == kept.id
    assert request.body.decode() == event.body()
    told = Verifier(SECRET).verify(request.body, dict(request.headers))
    assert told["type"] == "certctl.order.uncertain"
    assert told["data"]["order_id"] == "ord-1"
    assert await outbox.left() == []


async def test_without_a_webhook_nothing_is_kept(database: Database, clock: TurnableClock) -> None:
    event = Event(EventKind.ORDER_EXPIRED, clock.now_ms(), "iss-a", "words")
    await database.write(lambda t: Events().record(t, event))
    assert await database.read(count_events) == 0


async def test_what_is_undone_is_not_told(outbox: Outbox) -> None:
    event = Event(EventKind.ORDER_EXPIRED, outbox.clock.now_ms(), "iss-a", "words")

    def write(transaction: Any) -> None:
        Events(has_webhook=True).record(transaction, event)
        raise TakenOver

    with pytest.raises(TakenOver):
        await outbox.database.write(write)
    assert await outbox.left() == []


async def _hang(exchange: Exchange) -> None:
    del exchange
    await asyncio.sleep(1.5)


async def _reset(exchange: Exchange) -> None:
    exchange.reset()


async def _garbage(exchange: Exchange) -> None:
    await exchange.raw(b"\x00\x01 no HTTP at all\r\n\r\n")
    await exchange.end()


async def _dribble(exchange: Exchange) -> None:
    """Headers without end, each within the time for one read."""
    await exchange.raw(b"HTTP/1.1 200 OK\r\n")
    for number in range(10):
        await asyncio.sleep(0.2)
        await exchange.raw(f"x-{number}: {TOKEN}\r\n".encode())


FAILURES = [
    (500, "the receiver answered 500"),
    (404, "the receiver answered 404"),
    (429, "the receiver answered 429"),
    ((302, {"location": f"/elsewhere/{TOKEN}"}), "the receiver answered 302"),
    (_hang, "no answer in time"),
    (_dribble, "no answer within 1 seconds"),
    (_reset, "the connection to the receiver broke"),
    (_garbage, "the connection to the receiver broke"),
]


@pytest.mark.parametrize(("answer", "words"), FAILURES)
async def test_whatever_is_no_yes_is_tried_again_as_the_same_event(
    outbox: Outbox, receiver: Peer, answer: Any, words: str
) -> None:
    (event,) = await outbox.add()
    begun = outbox.clock.now_ms()
    with answering(receiver, answer):
        assert not await outbox.step()
    (kept,) = await outbox.left()
    assert (kept.attempts, kept.problem) == (1, words)
    assert kept.due_at is not None
    assert 4000 <= kept.due_at - begun <= 6000
    assert [request.target for request in receiver.received] == [
        f"/hooks/{TOKEN}?key={TOKEN}"
    ]  # nobody is followed anywhere
    assert await outbox.claim() == []
    outbox.clock.turn(seconds=6)
    assert await outbox.step()
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == kept.id
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert Verifier(SECRET).verify(second.body, dict(second.headers)) == json.loads(event.body())
    assert await outbox.left() == []


async def test_waits_grow_and_end_after_three_days(outbox: Outbox, receiver: Peer) -> None:
    (event,) = await outbox.add()
    with answering(receiver, 503):
        for step in (5, 30, 120, 600, 3600, 3600):
            assert not await outbox.step()
            (kept,) = await outbox.left()
            assert kept.due_at is not None
            wait = (kept.due_at - outbox.clock.now_ms()) / 1000
            assert 0.8 * step <= wait <= 1.2 * step
            outbox.clock.ms = kept.due_at
        outbox.clock.ms = event.at_ms + (3 * 86_400 - 2 * 3600) * 1000
        assert not await outbox.step()
        outbox.clock.turn(seconds=1.5 * 3600)
        assert await outbox.step()
    assert await outbox.left() == []
    last = outbox.logs[-1]
    assert last["log_level"] == "error"
    assert last["event"] == "event not delivered"
    assert last["problem"] == "the receiver answered 503"


async def test_a_longer_retry_after_is_kept_to(outbox: Outbox, receiver: Peer) -> None:
    await outbox.add()
    begun = outbox.clock.now_ms()
    with answering(receiver, (429, {"retry-after": "90"})):
        await outbox.step()
    (kept,) = await outbox.left()
    assert kept.due_at == begun + 90_000


async def test_gone_ends_it(outbox: Outbox, receiver: Peer) -> None:
    await outbox.add()
    with answering(receiver, 410):
        assert await outbox.step()
    assert await outbox.left() == []
    assert outbox.logs[-1]["log_level"] == "error"


async def test_what_waited_too_long_is_not_posted(outbox: Outbox, receiver: Peer) -> None:
    await outbox.add()
    outbox.clock.turn(days=3)
    assert await outbox.step()
    assert receiver.received == []
    assert await outbox.left() == []


async def test_an_answer_without_end_is_not_read(outbox: Outbox, receiver: Peer) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
        for _ in range(1000):  # drops dead when the other side has gone
            await exchange.raw(b"x" * 65_536)
            await asyncio.sleep(0.001)

    await outbox.add()
    with answering(receiver, endless):
        assert await outbox.step()
    assert await outbox.left() == []


async def test_a_receiver_that_nobody_vouches_for_gets_nothing(
    outbox: Outbox, receiver: Peer, hierarchy: Hierarchy
) -> None:
    await outbox.add()
    by_address = f"https://127.0.0.1:{receiver.port}/{TOKEN}"
    for url, context, words in (
        (receiver.url, None, "unable to get local issuer certificate"),
        (receiver.url, trusting(Hierarchy("Another Root", which=1)), "certificate"),
        (by_address, trusting(hierarchy), "IP address mismatch"),
    ):
        target = parse_target(url, SECRET)
        outbox.webhook = Webhook(target, outbox.database, outbox.clock, context=context)
        assert not await outbox.step()
        (kept,) = await outbox.left()
        assert kept.problem is not None
        assert kept.problem.startswith("the receiver's certificate is not trusted: ")
        assert words in kept.problem
        assert "localhost" not in kept.problem
        assert "127.0.0.1" not in kept.problem
        outbox.clock.turn(seconds=200)
    assert receiver.received == []


@pytest.mark.parametrize("host", ["localhost", "t0ken-in-the-address.invalid", "x" * 300])
async def test_a_receiver_that_is_not_there_is_not_named(outbox: Outbox, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    target = parse_target(f"https://{host}:{port}/{TOKEN}", SECRET)
    outbox.webhook = Webhook(target, outbox.database, outbox.clock)
    await outbox.add()
    assert not await outbox.step()
    (kept,) = await outbox.left()
    assert kept.problem in {
        "the receiver cannot be reached",
        "the connection to the receiver broke",
    }


async def test_who_dies_after_the_yes_posts_the_same_event_again(
    outbox: Outbox, receiver: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outbox.add()
    (row,) = await outbox.claim()

    async def dies(_fn: Any) -> None:
        raise Unavailable("died", "between the receiver's yes and the record of it")

    with monkeypatch.context() as patched:
        patched.setattr(outbox.database, "write", dies)
        with pytest.raises(Unavailable):
            await outbox.webhook.step(row)
    assert await outbox.claim() == []  # while the lease lasts
    outbox.clock.turn(seconds=LEASE_MS / 1000)
    assert await outbox.step()
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert await outbox.left() == []


@pytest.mark.parametrize("answer", [200, 500, 410])
async def test_who_is_slower_than_its_lease_changes_nothing(
    outbox: Outbox, receiver: Peer, answer: int
) -> None:
    await outbox.add()
    (mine,) = await outbox.claim()
    outbox.clock.turn(seconds=LEASE_MS / 1000)
    (theirs,) = await outbox.claim()
    before = await outbox.left()
    with answering(receiver, answer), pytest.raises(TakenOver):
        await outbox.webhook.step(mine)
    assert await outbox.left() == before
    assert await outbox.webhook.step(theirs)


async def test_several_processes_post_each_event_once(outbox: Outbox, receiver: Peer) -> None:
    await outbox.add(count=30)

    async def slowly(exchange: Exchange) -> None:
        await asyncio.sleep(0.01)
        await exchange.answer()

    stopping = asyncio.Event()
    with answering(receiver, slowly):
        async with asyncio.TaskGroup() as processes:
            for _ in range(3):
                catalog = Catalog(outbox.database, outbox.clock)
                queues = (Queue("event", LEASES, outbox.webhook.step, 2),)
                scheduler = Scheduler(
                    outbox.database, catalog, outbox.clock, queues, idle_seconds=0.05
                )
                processes.create_task(scheduler.run(stopping))
            for _ in range(500):
                if not await outbox.database.read(count_events):
                    break
                await asyncio.sleep(0.02)
            stopping.set()
    posted = [request.headers["webhook-id"] for request in receiver.received]
    assert len(posted) == len(set(posted)) == 30


async def test_no_more_is_kept_than_is_useful(outbox: Outbox, receiver: Peer) -> None:
    target = parse_target(receiver.url, SECRET)
    outbox.webhook = Webhook(
        target, outbox.database, outbox.clock, context=outbox.webhook._context, most_waiting=10
    )
    await outbox.add(count=25)
    newest = [record.id for record in (await outbox.left())[-10:]]
    with answering(receiver, 500):
        assert not await outbox.step()  # with the oldest of them
        assert [record.id for record in await outbox.left()] == newest
        assert not await outbox.step()
    assert [record.id for record in await outbox.left()] == newest
    (dropped,) = [line for line in outbox.logs if "dropped" in line]
    assert (dropped["log_level"], dropped["dropped"], dropped["kept"]) == ("error", 15, 10)


async def test_a_dead_webhook_delays_no_order(database: Database, tmp_path: Path) -> None:
    """Connections to it are taken and never answered."""
    now = database.clock.now_ms()
    rows = [
        {"id": f"evt-{number}", "kind": "order_uncertain", "body": "{}", "attempts": 0}
        | {"due_at": now, "epoch": 0, "created_at": now, "updated_at": now}
        for number in range(50)
    ]
    await database.append([(events_table, row) for row in rows])
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        target = parse_target(f"http://127.0.0.1:{silent.getsockname()[1]}/", SECRET)
        ca = ScriptedCA(["issue"])
        async with control_plane(database, tmp_path, ca=ca, webhook=target) as plane:
            body = {"issuer_id": "iss-slow", "csr": make_csr(make_key(KeyType.P256), ["a.test"])}
            answer = await plane.client.post(
                "/api/v1/certificates", json=body, headers={"Prefer": "wait=8"}
            )
            assert answer.status_code == 201
            silent.close()  # resets what hangs
        assert await database.read(count_events) == 50


def _receiver_of_the_documentation(port: int) -> str:
    """The receiver on the page about events, as it is written, but for its port."""
    page = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    (source,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert source.count("9000") == 1
    return str(source).replace("9000", str(port))


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_the_receiver_of_the_documentation_hears_of_an_uncertain_order(
    database: Database, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _receiver_of_the_documentation(port),
        env=os.environ | {"WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        await _until_listening(port)
        target = parse_target(f"http://127.0.0.1:{port}/", SECRET)
        ca = ScriptedCA([NoAnswer("the line went dead")], Recovery.ASK)
        async with control_plane(database, tmp_path, ca=ca, webhook=target) as plane:
            body = {"issuer_id": "iss-slow", "csr": make_csr(make_key(KeyType.P256), ["a.test"])}
            answer = await plane.client.post("/api/v1/certificates", json=body)
            assert answer.status_code == 202
            assert process.stdout is not None
            async with asyncio.timeout(20):
                line = (await process.stdout.readline()).decode()
        assert line.startswith("evt-")
        assert line.endswith(" certctl.order.uncertain the line went dead\n")
        # Who does not know the secret is not believed.
        other = parse_target(f"http://127.0.0.1:{port}/", "whsec_" + "A" * 32)
        clock = TurnableClock(SystemClock().now_ms())
        stranger = Outbox(database, clock, Webhook(other, database, clock))
        await stranger.add()
        assert not await stranger.step()
        (kept,) = await stranger.left()
        assert kept.problem == "the receiver answered 401"
    finally:
        process.kill()
        await process.wait()


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
