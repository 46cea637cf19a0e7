"""A load generator: keep-alive HTTPS clients that send CSRs, in a process of its own.

Run as `python -m benchmarks.load URL CA_FILE KEY_FILE CLIENTS SECONDS`; prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import statistics
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WARM_UP_SECONDS = 1.0


def make_csrs(count: int) -> list[str]:
    """P-256 CSRs in PEM, each with its own key and two names."""
    csrs = []
    for index in range(count):
        name = f"host-{index}.bench.example.org"
        builder = x509.CertificateSigningRequestBuilder(
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        ).add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(name), x509.DNSName(f"alt-{index}.bench.example.org")]
            ),
            critical=False,
        )
        csr = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        csrs.append(csr.public_bytes(serialization.Encoding.PEM).decode())
    return csrs


class Client(asyncio.Protocol):
    """One keep-alive connection that sends a request as soon as the last one is answered.

    It ends when there are no more requests, or at `until` (of `time.perf_counter`). `times` holds
    when each request began and how long its answer took, in seconds.
    """

    def __init__(
        self, requests: Iterator[bytes], until: float, answers: Callable[[bytes], object]
    ) -> None:
        self._requests = requests
        self._until = until
        self._answers = answers
        self._received = b""
        self._begun = 0.0
        self.times: list[tuple[float, float]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._begun = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self._received) < end + 4 + length:
            return
        if head[9:10] != b"2":
            self.done.set_exception(SystemExit(f"unexpected answer: {self._received[:400]!r}"))
            return
        now = time.perf_counter()
        self._answers(self._received[end + 4 :])
        self._received = b""
        self.times.append((self._begun, now - self._begun))
        if now < self._until:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit(f"the connection was lost: {error}"))


def post(path: str, key: str, body: bytes, more: str = "") -> bytes:
    """One request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


def issuances(key: str, first: int = 0) -> Iterator[bytes]:
    """Endless requests for certificates, each with an idempotency key of its own."""
    run = secrets.token_hex(8)
    bodies = [
        json.dumps({"issuer_id": "iss-local", "csr": csr, "owner": "bench"}).encode()
        for csr in make_csrs(100)
    ]
    for number in count(first):
        more = f"Idempotency-Key: {run}-{number}\r\n"
        yield post("/api/v1/certificates", key, bodies[number % len(bodies)], more)


async def run_clients(
    url: str,
    ca: str | None,
    requests: Sequence[Iterator[bytes]],
    *,
    start: float,
    until: float,
    answers: Callable[[bytes], object] = len,
) -> list[float]:
    """Run one client for each iterator; the sorted times of what began after `start`.

    Over TLS to a server that `ca` vouches for, in the clear without one.
    """
    context = None if ca is None else ssl.create_default_context(cafile=ca)
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or (80 if ca is None else 443)
    loop = asyncio.get_running_loop()
    running = []
    for own in requests:
        make = partial(Client, own, until, answers)
        running.append(await loop.create_connection(make, host, port, ssl=context))
    await asyncio.gather(*(client.done for _, client in running))
    return sorted(took for _, client in running for begun, took in client.times if begun >= start)


def figures(times: list[float], seconds: float) -> dict[str, float]:
    """What is printed of them."""
    return {
        "per_second": len(times) / seconds,
        "p50_ms": statistics.median(times) * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
    }


async def _load(url: str, ca: str, key: str, clients: int, seconds: float) -> dict[str, float]:
    shared = [issuances(key, first) for first in range(clients)]
    start = time.perf_counter() + WARM_UP_SECONDS
    times = await run_clients(url, ca, shared, start=start, until=start + seconds)
    return figures(times, seconds)


def main() -> None:
    url, ca, key_file, clients, seconds = sys.argv[1:]
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        key = Path(key_file).read_text().strip()
        print(json.dumps(runner.run(_load(url, ca, key, int(clients), float(seconds)))))


if __name__ == "__main__":
    main()
