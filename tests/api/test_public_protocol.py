"""What one client of the public listener can hold: not much, and not for long."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from certctl.api import public_protocol
from certctl.api.public_protocol import PublicProtocol
from tests.support.status import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("socket_enabled")]

PATIENCE = 0.3
BIG = bytes(32 * 1024 * 1024)
REQUEST = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, and answers with a small or a big one."""
    while (await receive()).get("more_body"):
        pass
    body = BIG if scope["path"] == "/big" else b"ok"
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    """Leaves the signals to the test runner."""

    def capture_signals(self) -> Any:
        return nullcontext()


@pytest.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, int]]:
    """Where a server with an impatient protocol listens."""
    monkeypatch.setattr(public_protocol, "PATIENCE_SECONDS", PATIENCE)
    monkeypatch.setattr(public_protocol, "MAX_CONNECTIONS", 5)
    async with serving() as found:
        yield found


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=PublicProtocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await eventually(lambda: server.started)
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        await task


def drain(client: socket.socket) -> int:
    """How many bytes come until there are no more."""
    received = 0
    try:
        while piece := client.recv(1 << 20):
            received += len(piece)
    except ConnectionError:
        return received
    return received


class Client:
    """A connection that can be watched."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send; the other side may have gone."""
        self.writer.write(data)
        await self.writer.drain()

    async def flood(self, piece: bytes) -> None:
        """Send far more than anybody takes."""
        for _ in range(1000):
            await self.send(piece)
            await asyncio.sleep(0)

    async def response(self) -> bytes:
        """A small response."""
        async with asyncio.timeout(5):
            head = await self.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            return await self.reader.readexactly(2)

    async def ended_after(self) -> float:
        """Seconds until the server closes."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with asyncio.timeout(10):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                return loop.time() - begun
        return loop.time() - begun


async def connect(address: tuple[str, int]) -> Client:
    return Client(*await asyncio.open_connection(*address))


async def test_requests_are_answered_one_after_the_other_and_together(
    address: tuple[str, int],
) -> None:
    client = await connect(address)
    for _ in range(3):
        await client.send(REQUEST)
        assert await client.response() == b"ok"
    await client.send(REQUEST * 400)
    for _ in range(400):
        assert await client.response() == b"ok"
    client.writer.close()


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /small HT",
        b"GET /small HTTP/1.1\r\nHost: x\r\n",
        b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
        REQUEST + b"GET /sm",
    ],
)
async def test_a_request_that_does_not_end_is_given_up(
    address: tuple[str, int], begun: bytes
) -> None:
    client = await connect(address)
    await client.send(begun)
    assert await client.ended_after() < 3 * PATIENCE + 0.5
    client.writer.close()


@pytest.mark.parametrize("drop", [b"\r\n", b"X-A: b\r\n"])
async def test_nor_is_one_that_comes_drop_by_drop(address: tuple[str, int], drop: bytes) -> None:
    client = await connect(address)
    if drop != b"\r\n":
        await client.send(b"GET /small HTTP/1.1\r\nHost: x\r\n")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    ended = asyncio.create_task(client.ended_after())
    while not ended.done() and loop.time() - begun < 10 * PATIENCE:
        try:
            await client.send(drop)
        except ConnectionError:
            break
        await asyncio.sleep(PATIENCE / 10)
    assert await ended < 3 * PATIENCE + 0.5
    client.writer.close()


async def test_a_head_without_end_is_cut_off(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_protocol, "PATIENCE_SECONDS", 60.0)
    for start, piece in (
        (b"GET /", b"a" * 4096),
        (b"GET / HTTP/1.1\r\nX-A: ", b"b" * 4096),
        (b"GET / HTTP/1.1\r\n", b"X-A: b\r\n" * 512),
    ):
        client = await connect(address)
        await client.send(start)
        with pytest.raises(ConnectionError):
            await client.flood(piece)
        client.writer.close()


async def test_a_long_head_that_is_allowed(address: tuple[str, int]) -> None:
    client = await connect(address)
    for _ in range(3):
        await client.send(b"GET /small?" + b"%4d" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await client.response() == b"ok"
    client.writer.close()


async def test_who_does_not_take_the_response_is_let_go(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(4 * PATIENCE + 0.5)
        client.settimeout(5)
        received = await asyncio.to_thread(drain, client)
        assert received < len(BIG), "what the kernel had taken, and then the end"


async def test_who_takes_it_slowly_gets_all_of_it(address: tuple[str, int]) -> None:
    client = await connect(address)
    await client.send(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    received = 0
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while received < len(BIG):
        received += len(await client.reader.read(len(BIG) // 40))
        await asyncio.sleep(PATIENCE / 20)
    assert loop.time() - begun > PATIENCE
    client.writer.close()


async def test_only_so_many_at_a_time(address: tuple[str, int]) -> None:
    clients = [await connect(address) for _ in range(5)]
    for client in clients:
        await client.send(REQUEST)
        assert await client.response() == b"ok"
    turned_away = await connect(address)
    assert await turned_away.ended_after() < PATIENCE
    clients[0].writer.close()
    await asyncio.sleep(0.1)
    late = await connect(address)
    await late.send(REQUEST)
    assert await late.response() == b"ok"
    for client in (turned_away, late, *clients):
        client.writer.close()
