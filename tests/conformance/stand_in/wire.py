"""The stand-in's HTTP/1.1 over TLS: h11 on plain sockets, so that an answer can break anywhere."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11
from cryptography import x509

from tests.conformance.stand_in.messages import Answer, Request

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_READ = 65_536
_MOST_BYTES = 1 << 20
# SO_LINGER, on, zero seconds: closing sends RST instead of FIN.
_LINGER = struct.pack("ii", 1, 0)


class Wire:
    """Serves connections; `latency` seconds pass before every answer."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self._answer = answer
        self._connections: set[asyncio.Task[None]] = set()
        self.latency = 0.0

    async def serve(self, context: ssl.SSLContext, port: int = 0) -> asyncio.Server:
        """Listen on loopback."""
        return await asyncio.start_server(self._connected, "127.0.0.1", port, ssl=context)

    async def close(self, server: asyncio.Server) -> None:
        """Stop listening, and break off whatever is under way."""
        server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, h11.RemoteProtocolError, asyncio.CancelledError):
            # The client went away, or we are to end: nobody waits for an answer.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serial = _client_serial(writer)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_BYTES)
        while True:
            request = await _read(connection, reader, serial)
            if request is None:
                return
            answer = self._answer(request)
            if wait := self.latency + answer.delay:
                await asyncio.sleep(wait)
            if not await _send(connection, writer, answer):
                return
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()


def _client_serial(writer: asyncio.StreamWriter) -> int | None:
    tls = writer.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True)
    return None if der is None else x509.load_der_x509_certificate(der).serial_number


async def _read(
    connection: h11.Connection, reader: asyncio.StreamReader, serial: int | None
) -> Request | None:
    """The next request, or None when the client has nothing more to say."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode(): value.decode() for name, value in head.headers}
            method, target = head.method.decode(), head.target.decode()
            return Request(method, target, headers, bytes(body), serial)
        else:
            return None


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, answer: Answer) -> bool:
    """Send what there is to send; whether the connection is still good."""
    if answer.reset:
        plain: socket.socket = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        writer.transport.abort()
        return False
    headers = [*answer.headers.items()]
    if answer.status != HTTPStatus.NO_CONTENT:  # which has neither body nor length
        headers.append(("content-length", str(len(answer.body))))
    head = connection.send(h11.Response(status_code=answer.status, headers=headers)) or b""
    if answer.cut_off:
        # Without a body only a head that ends too early is not a whole answer.
        half = (
            head + answer.body[: len(answer.body) // 2] if answer.body else head[: len(head) // 2]
        )
        writer.write(half)
        await writer.drain()
        return False
    writer.write(head)
    writer.write(connection.send(h11.Data(data=answer.body)) or b"")
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    await writer.drain()
    return True
