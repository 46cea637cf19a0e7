"""OCSP answers per second over the plain HTTP listener, and what a large CRL costs."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from tests.support.api import client_for
from tests.support.postgres import postgres_server
from tests.support.server import running_server
from tests.support.status import ISSUER, status_service

from benchmarks.load import make_csrs
from certctl.ca.authority import CertificateAuthority, create_root
from certctl.ca.crl import CrlEntry, sign_crl
from certctl.ca.ocsp import Good, OcspSigner
from certctl.domain.clock import SystemClock
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from certctl.domain.serials import new_serial, serial_hex
from certctl.logs import configure_logs
from certctl.pki.ocsp import parse_query
from certctl.storage import tables
from certctl.storage.crls import LEASES
from certctl.storage.database import open_database
from certctl.storage.sealing import Keyring

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import ServerProcess

    from certctl.storage.database import Row, Table

CLIENTS = (1, 8, 32)
ENTRIES = 10_000
_CERTIFICATES = 50
_NONCES = 2_000
_HEADER = (
    f"{'database, answers':<32}{'clients':>8}{'per s':>9}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>8}"
)
_DAY_MS = 86_400_000


def run(folder: Path, seconds: float) -> None:
    """Measure SQLite and PostgreSQL with one worker; `ratio` is to one core's limit."""
    limit = ocsp_limit(seconds)
    print(f"\none core's limit: {limit:,.0f} OCSP answers/s (parse, sign, encode; P-256)")
    print(_HEADER)
    with running_server(folder / "status-sqlite") as server:
        _measure("SQLite", server, folder, limit, seconds)
    with postgres_server(durable=True) as postgres:
        extra = {
            "CERTCTL_DATABASE_URL": postgres.create_database("bench_status"),
            "CERTCTL_CONFIG_ENCRYPTION_KEY": "only for this measurement, 32 characters",
        }
        with running_server(folder / "status-postgres", extra=extra) as server:
            _measure("PostgreSQL", server, folder, limit, seconds)
    asyncio.run(_crls(folder))


def _authority() -> CertificateAuthority:
    now = SystemClock().now_ms()
    key, certificate = create_root(common_name="Bench CA", key_type=KeyType.P256, now_ms=now)
    return CertificateAuthority(key, certificate)


def ocsp_limit(seconds: float) -> float:
    """Answers per second of one thread: parse the query, look nothing up, sign, encode."""
    authority, now = _authority(), SystemClock().now_ms()
    signer = OcspSigner(authority, now)
    queries = [_query(authority.certificate, new_serial()) for _ in range(100)]
    best = 0.0
    for _ in range(3):
        done = 0
        begun = time.perf_counter()
        while (elapsed := time.perf_counter() - begun) < seconds / 3:
            query = parse_query(queries[done % len(queries)])
            assert signer.answers_for(query)
            signer.sign(query, Good(), this_update_ms=now, next_update_ms=now + _DAY_MS)
            done += 1
        best = max(best, done / elapsed)
    return best


def _query(issuer: x509.Certificate, serial: int, nonce: bytes | None = None) -> bytes:
    name = hashes.Hash(hashes.SHA256())
    name.update(issuer.subject.public_bytes())
    identifiers = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, hashes.SHA256())
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name.finalize(), identifiers.build().issuer_key_hash, serial, hashes.SHA256()
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def _measure(label: str, server: ServerProcess, folder: Path, limit: float, seconds: float) -> None:
    serials = []
    with client_for(server) as client:
        for csr in make_csrs(_CERTIFICATES):
            body = {"issuer_id": ISSUER, "csr": csr}
            made = client.post("/api/v1/certificates", json=body).json()
            serials.append(int(made["version"]["serial"], 16))
            issuer = x509.load_pem_x509_certificate(made["version"]["chain"].encode())
    kept, live = folder / "kept.txt", folder / "live.txt"
    kept.write_text("\n".join(_text(_query(issuer, serial)) for serial in serials))
    live.write_text(
        "\n".join(
            _text(_query(issuer, serials[number % _CERTIFICATES], secrets.token_bytes(16)))
            for number in range(_NONCES)
        )
    )
    for kind, method, queries in (
        ("kept, POST", "POST", kept),
        ("kept, GET", "GET", kept),
        ("live (nonce)", "POST", live),
    ):
        for clients in CLIENTS:
            figures = _load(server, method, queries, clients, seconds)
            rate = figures["per_second"]
            print(
                f"{f'{label}, {kind}':<32}{clients:>8}{rate:>9,.0f}{figures['p50_ms']:>9.2f}"
                f"{figures['p99_ms']:>9.2f}{rate / limit:>8.2f}",
                flush=True,
            )


def _text(query: bytes) -> str:
    return base64.b64encode(query).decode()


def _load(
    server: ServerProcess, method: str, queries: Path, clients: int, seconds: float
) -> dict[str, float]:
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.status_load",
            f"{server.status_url}/.well-known/pki/ocsp/{ISSUER}", method, str(queries),
            str(clients), str(seconds),
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


async def _crls(folder: Path) -> None:
    configure_logs("warning")
    now = SystemClock().now_ms()
    entries = [CrlEntry(new_serial(), now, RevocationReason.KEY_COMPROMISE) for _ in range(ENTRIES)]
    authority = _authority()
    begun = time.perf_counter()
    der = sign_crl(authority, entries, number=1, this_update_ms=now, next_update_ms=now + _DAY_MS)
    signing = time.perf_counter() - begun
    (folder / "crl").mkdir()
    database = await open_database(
        url=None, data_dir=folder / "crl", clock=SystemClock(), keyring=Keyring("k" * 32)
    )
    try:
        async with status_service(database) as service:
            await database.append(_revoked_rows(entries, now))
            await service.its.crls.ensure()
            due = SystemClock().now_ms()
            (row,) = await database.write(
                lambda t: LEASES.claim(t, owner="bench", now_ms=due, lease_ms=60_000, limit=1)
            )
            begun = time.perf_counter()
            assert await service.its.crls.step(row)
            stored = time.perf_counter() - begun
            crl = await service.its.crls.current(ISSUER)
    finally:
        await database.close()
    assert len(x509.load_der_x509_crl(crl.der)) == ENTRIES
    print(f"\na CRL of {ENTRIES:,} entries, {len(der) / 1024:,.0f} KiB")
    print(f"built and signed             {signing * 1000:>7.0f} ms")
    print(f"read, built, stored (SQLite) {stored * 1000:>7.0f} ms")


def _revoked_rows(entries: list[CrlEntry], now: int) -> list[tuple[Table, Row]]:
    chain = "c" * 64
    times = {"created_at": now, "updated_at": now}
    rows: list[tuple[Table, Row]] = [(tables.chains, {"id": chain, "pem": ""})]
    for number, entry in enumerate(entries):
        certificate, version = f"cert-{number}", f"ver-{number}"
        common = {"issuer_id": ISSUER, "not_after": now + 30 * _DAY_MS}
        rows += [
            (
                tables.certificates,
                {
                    "id": certificate,
                    "profile_id": "prof-tls-server",
                    "names": "[]",
                    "status": "revoked",
                    **common,
                    **times,
                },
            ),
            (
                tables.versions,
                {
                    "id": version,
                    "certificate_id": certificate,
                    "order_id": "none",
                    "serial": serial_hex(entry.serial),
                    "not_before": now,
                    "der": b"",
                    "chain_id": chain,
                    "created_at": now,
                    **common,
                },
            ),
            (
                tables.revocations,
                {
                    "id": f"rev-{number}",
                    "version_id": version,
                    "certificate_id": certificate,
                    "serial": serial_hex(entry.serial),
                    "reason": entry.reason.value,
                    "action": "revoke",
                    "state": "confirmed",
                    "attempts": 0,
                    "revoked_at": entry.revoked_at_ms,
                    "requested_at": now,
                    "epoch": 0,
                    **common,
                    **times,
                },
            ),
        ]
    return rows
