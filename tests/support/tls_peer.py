"""A small TLS server in a thread that misbehaves as it is told, and a proxy before it.

It reads requests with h11 and hands each to a script, which answers or does something else to the
connection. What came, and over which connection with which client certificate, is kept.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import h11
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl.ca.authority import signing_hash, subject
from certctl.domain.serials import new_serial
from tests.support.pki import make_ca, make_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
    from pathlib import Path

    from certctl.pki.keys import PrivateKey

SECONDS = 10


class Hierarchy:
    """A root, and certificates below it for servers on loopback and for clients."""

    def __init__(self, common_name: str = "Peer Root", which: int = 0) -> None:
        now = datetime.now(UTC)
        self.key = make_key(which=2000 + which)
        self.root = make_ca(
            self.key,
            common_name=common_name,
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=30),
        )

    def issue(
        self,
        key: PrivateKey,
        common_name: str,
        *,
        client: bool = False,
        days: int = 10,
        names: tuple[str, ...] = ("localhost",),
    ) -> x509.Certificate:
        """A certificate for a key; a negative number of days makes one that has expired."""
        now = datetime.now(UTC)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            x509.CertificateBuilder(
                issuer_name=self.root.subject,
                subject_name=subject(common_name),
                public_key=key.public_key(),
                serial_number=new_serial(),
                not_valid_before=now - timedelta(days=20),
                not_valid_after=now + timedelta(days=days),
            )
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
        )
        return builder.sign(self.key, signing_hash(self.key))


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate in PEM."""
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key: PrivateKey) -> bytes:
    """A key in PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came. `connection` counts from 1; `serial` is the client certificate's."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    serial: int | None


@dataclass(slots=True)
class Exchange:
    """What a script has in hand: the request, and the connection to do something to."""

    request: Received
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(
        self,
        status: int = 200,
        body: bytes = b"{}",
        headers: Mapping[str, str] | None = None,
        *,
        declared: int | None = None,
    ) -> None:
        """Send an answer; `declared` is another Content-Length than the body has."""
        length = len(body) if declared is None else declared
        lines = [f"HTTP/1.1 {status} Some Words", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode() + body)

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        reset(self.writer)

    async def end(self) -> None:
        """Close the connection as a server does that has had enough."""
        self.writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection with a TCP reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def ok(exchange: Exchange) -> None:
    """The script of a server with nothing wrong."""
    await exchange.answer()


@dataclass(slots=True)
class Peer:
    """A running server; `script` may be changed at any time."""

    script: Callable[[Exchange], Awaitable[None]] = ok
    received: list[Received] = field(default_factory=list)
    #: Connections whose TLS handshake ended well.
    connections: int = 0
    port: int = 0
    loop: asyncio.AbstractEventLoop | None = None
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"https://localhost:{self.port}"

    def do(self, what: Callable[[], object]) -> None:
        """Run something in the server's thread, and wait for it."""
        assert self.loop is not None
        done: Future[None] = Future()

        def run() -> None:
            what()
            done.set_result(None)

        self.loop.call_soon_threadsafe(run)
        done.result(SECONDS)

    def close_connections(self) -> None:
        """Close every kept connection, as a server does that had no work for long."""

        def close() -> None:
            for writer in list(self.open):
                writer.close()

        self.do(close)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        self.connections += 1
        self.open.add(writer)
        try:
            await self._requests(reader, writer, self.connections)
        except (ConnectionError, ssl.SSLError, h11.RemoteProtocolError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        serial = x509.load_der_x509_certificate(shown).serial_number if shown else None
        while True:
            state = h11.Connection(h11.SERVER)
            head: h11.Request | None = None
            body = b""
            while True:
                event = state.next_event()
                if event is h11.NEED_DATA:
                    data = await reader.read(65_536)
                    if not data and head is None:
                        return
                    state.receive_data(data)
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    break
            assert head is not None
            request = Received(
                head.method.decode(),
                head.target.decode(),
                {name.decode(): value.decode("latin-1") for name, value in head.headers},
                body,
                number,
                serial,
            )
            self.received.append(request)
            await self.script(Exchange(request, reader, writer))
            if writer.is_closing():
                return


@dataclass(slots=True)
class Proxy:
    """A running CONNECT proxy. `refuse` is a status line to answer with instead."""

    refuse: bytes = b""
    #: `Proxy-Authorization` of each request, None where there was none.
    logins: list[str | None] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One tunnel."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        target = head[0].split(" ")[1]
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        self.targets.append(target)
        self.logins.append(fields.get("Proxy-Authorization"))
        if self.refuse:
            writer.write(self.refuse + b"\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        host, _, port = target.partition(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Established\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            inner_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


def server_context(
    folder: Path, hierarchy: Hierarchy, *, clients: Hierarchy | None = None, which: int = 0
) -> ssl.SSLContext:
    """A context for a server on loopback; with `clients` it demands their certificates."""
    key = make_key(which=2500 + which)
    file = folder / f"server-{which}.pem"
    file.write_bytes(key_pem(key) + pem(hierarchy.issue(key, "server")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=pem(clients.root).decode())
    return context


@contextmanager
def running_peer(context: ssl.SSLContext) -> Iterator[Peer]:
    """A server on a free port of loopback."""
    peer = Peer()
    with _listening(peer.serve, context) as (port, loop):
        peer.port, peer.loop = port, loop
        yield peer


@contextmanager
def refusing_peer(context: ssl.SSLContext) -> Iterator[int]:
    """A server, by its port, that ends each connection after its handshake, good or bad.

    Unlike asyncio's, it sends the alert that says why it refuses a client's certificate.
    """
    stop = threading.Event()

    def serve(listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            if stop.is_set():
                connection.close()
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:  # TLS errors are such
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield port
        finally:
            stop.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join(SECONDS)


@contextmanager
def running_proxy(context: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy on a free port of loopback, itself spoken to by TLS if it has a context."""
    proxy = Proxy()
    with _listening(proxy.serve, context) as (port, _):
        proxy.port = port
        yield proxy


@contextmanager
def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    context: ssl.SSLContext | None,
) -> Iterator[tuple[int, asyncio.AbstractEventLoop]]:
    started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()
        writers: list[asyncio.StreamWriter] = []

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            task = asyncio.get_running_loop().create_task(serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        # What goes wrong in a handshake is the client's to tell.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        server = await asyncio.start_server(
            accept, "localhost", 0, family=socket.AF_INET, ssl=context
        )
        port = server.sockets[0].getsockname()[1]
        started.set_result((port, asyncio.get_running_loop(), stop))
        await stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0.01)  # aborted connections close in the loop's next turns

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    port, loop, stop = started.result(SECONDS)
    try:
        yield port, loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(SECONDS)
