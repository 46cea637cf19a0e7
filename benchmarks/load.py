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
from pathlib import Path
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


async def _client(
    url: str, context: ssl.SSLContext, heads: str, bodies: list[bytes], until: float
) -> list[tuple[float, float]]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    times = []
    run = secrets.token_hex(8)
    number = 0
    while (begun := time.perf_counter()) < until:
        body = bodies[number % len(bodies)]
        head = f"{heads}Idempotency-Key: {run}-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        status = answer[9:12]
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        content = await reader.readexactly(length)
        if status != b"201":
            raise SystemExit(f"unexpected answer {status.decode()}: {content[:300]!r}")
        times.append((begun, time.perf_counter() - begun))
        number += 1
    writer.close()
    return times


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
    until = start + seconds
    lists = await asyncio.gather(
        *(
            _client(url, context, heads, bodies[i % 50 :] + bodies[: i % 50], until)
            for i in range(clients)
        )
    )
    counted = sorted(took for times in lists for begun, took in times if begun >= start)
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
