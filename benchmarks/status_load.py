"""A load generator for the status listener: keep-alive plain HTTP clients that send OCSP queries.

Run as `python -m benchmarks.status_load URL METHOD QUERIES_FILE CLIENTS SECONDS`, where the file
has a query in base64 on each line; prints one JSON line.
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

WARM_UP_SECONDS = 1.0


class _Client(asyncio.Protocol):
    """One connection that sends a request as soon as the last one is answered."""

    def __init__(self, requests: list[bytes], until: float) -> None:
        self._requests = requests
        self._until = until
        self._received = b""
        self._begun = 0.0
        self.times: list[tuple[float, float]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        self._begun = time.perf_counter()
        self._transport.write(self._requests[len(self.times) % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = self._received.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(self._received) < end + 4 + int(length):
            return
        # 0A 01 00: the answer's status is `successful`.
        if self._received[9:12] != b"200" or self._received[end + 8 : end + 11] != b"\x0a\x01\x00":
            self.done.set_exception(SystemExit(f"unexpected answer: {self._received[:400]!r}"))
            return
        self._received = b""
        now = time.perf_counter()
        self.times.append((self._begun, now - self._begun))
        if now < self._until:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit(f"the connection was lost: {error}"))


def _requests(method: str, path: str, queries: list[str]) -> list[bytes]:
    if method == "GET":
        return [
            f"GET {path}/{quote(query, safe='')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            for query in queries
        ]
    bodies = [base64.b64decode(query) for query in queries]
    return [
        (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/ocsp-request\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        + body
        for body in bodies
    ]


async def _load(requests: list[bytes], url: str, clients: int, seconds: float) -> dict[str, float]:
    parts = urlsplit(url)
    start = time.perf_counter() + WARM_UP_SECONDS
    loop = asyncio.get_running_loop()
    running = []
    for index in range(clients):
        shift = index * len(requests) // clients
        make = partial(_Client, requests[shift:] + requests[:shift], start + seconds)
        host, port = parts.hostname or "localhost", parts.port or 80
        running.append(await loop.create_connection(make, host, port))
    await asyncio.gather(*(client.done for _, client in running))
    counted = sorted(
        took for _, client in running for begun, took in client.times if begun >= start
    )
    return {
        "per_second": len(counted) / seconds,
        "p50_ms": statistics.median(counted) * 1000,
        "p99_ms": counted[int(len(counted) * 0.99)] * 1000,
    }


def main() -> None:
    url, method, file, clients, seconds = sys.argv[1:]
    import uvloop

    requests = _requests(method, urlsplit(url).path, Path(file).read_text().split())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(_load(requests, url, int(clients), float(seconds)))))


if __name__ == "__main__":
    main()
