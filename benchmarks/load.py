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
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


class _Client(asyncio.Protocol):
    """One keep-alive connection that sends a request as soon as the last one is answered."""

    def __init__(self, heads: str, bodies: list[bytes], until: float) -> None:
        self._heads = heads
        self._bodies = bodies
        self._until = until
        self._run = secrets.token_hex(8)
        self._received = b""
        self._begun = 0.0
        self.times: list[tuple[float, float]] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        number = len(self.times)
        body = self._bodies[number % len(self._bodies)]
        key = f"Idempotency-Key: {self._run}-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._begun = time.perf_counter()
        self._transport.write(f"{self._heads}{key}".encode() + body)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self._received) < end + 4 + length:
            return
        if head[9:12] != b"201":
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


async def _load(url: str, ca: str, key: str, clients: int, seconds: float) -> dict[str, float]:
    context = ssl.create_default_context(cafile=ca)
    heads = (
        "POST /api/v1/certificates HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    )
    bodies = [
        json.dumps({"issuer_id": "iss-local", "csr": csr, "owner": "bench"}).encode()
        for csr in make_csrs(100)
    ]
    start = time.perf_counter() + WARM_UP_SECONDS
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    running = []
    for index in range(clients):
        own = bodies[index:] + bodies[:index]
        make = partial(_Client, heads, own, start + seconds)
        running.append(
            await loop.create_connection(
                make, parts.hostname or "localhost", parts.port or 443, ssl=context
            )
        )
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
    url, ca, key_file, clients, seconds = sys.argv[1:]
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        key = Path(key_file).read_text().strip()
        print(json.dumps(runner.run(_load(url, ca, key, int(clients), float(seconds)))))


if __name__ == "__main__":
    main()
