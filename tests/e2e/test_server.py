"""A real server process: starts, restarts, its own certificate, what it refuses to start with."""

from __future__ import annotations

import shutil
import socket
import ssl
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certctl.domain.keys import KeyType
from certctl.pki.certificates import chain_pem
from tests.support.api import client_for
from tests.support.pki import make_csr, make_key, make_live_authority
from tests.support.server import ServerProcess, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.targets import DatabaseTarget


def write_pair(folder: Path, name: str, key_type: KeyType) -> tuple[Path, Path]:
    """A sub-CA's certificate with its root, and its key, as files."""
    authority = make_live_authority(key_type)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_text(chain_pem(authority.chain))
    key.write_bytes(authority._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    return certificate, key


def served_certificate(server: ServerProcess) -> x509.Certificate:
    """What the server shows in a handshake, whoever signed it."""
    host, port = server.url.removeprefix("https://").rsplit(":", 1)
    pem = ssl.get_server_certificate((host, int(port)))
    return x509.load_pem_x509_certificate(pem.encode())


@contextmanager
def idle_connection(server: ServerProcess) -> Iterator[None]:
    """A client that had its answer, keeps the connection, and does not listen any more."""
    context = ssl.create_default_context(cafile=str(server.ca))
    with (
        socket.create_connection(("127.0.0.1", server.port)) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as client,
    ):
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        yield


def test_a_restart_keeps_root_key_and_certificates(server: ServerProcess) -> None:
    csr = make_csr(make_key(KeyType.P256), ["www.example.org"])
    with client_for(server) as client:
        root = client.get("/api/v1/issuers/iss-local/ca").text
        made = client.post("/api/v1/certificates", json={"issuer_id": "iss-local", "csr": csr})
        assert made.status_code == 201
        before = served_certificate(server)
    key = server.key
    with idle_connection(server):
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 10
    server.start()
    assert server.key == key
    with client_for(server) as client:
        assert client.get("/api/v1/issuers/iss-local/ca").text == root
        again = client.get(f"/api/v1/certificates/{made.json()['id']}")
        assert again.json() == made.json()
    assert served_certificate(server) == before


def test_files_that_hold_secrets_are_for_their_owner_only(server: ServerProcess) -> None:
    assert stat.S_IMODE(server.data_dir.stat().st_mode) & 0o022 == 0
    for name in ("admin.key", "encryption.key"):
        path = server.data_dir / name
        if path.exists():  # with PostgreSQL the sealing key comes from the environment
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server.key not in server.log.read_text()
    assert not list(server.data_dir.glob(".*")), "no temporary file stays"


def test_tls_is_1_2_or_newer_and_verifies(server: ServerProcess) -> None:
    host, port = server.url.removeprefix("https://").rsplit(":", 1)
    context = ssl.create_default_context(cafile=str(server.ca))
    for name in (host, "localhost"):
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            assert tls.version() in {"TLSv1.2", "TLSv1.3"}


def test_sub_ca_mode_issues_under_the_operators_root(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    certificate, key = write_pair(tmp_path, "sub", KeyType.P384)
    server = ServerProcess(
        tmp_path / "data",
        {
            **database_target.environment,
            "CERTCTL_CA_CERT_PATH": str(certificate),
            "CERTCTL_CA_KEY_PATH": str(key),
        },
    )
    server.start()
    try:
        csr = make_csr(make_key(KeyType.P256), ["www.example.org"])
        with client_for(server) as client:
            made = client.post("/api/v1/certificates", json={"issuer_id": "iss-local", "csr": csr})
        chain = x509.load_pem_x509_certificates(made.json()["version"]["chain"].encode())
        leaf = x509.load_pem_x509_certificate(made.json()["version"]["certificate"].encode())
        leaf.verify_directly_issued_by(chain[0])
        chain[0].verify_directly_issued_by(chain[1])
    finally:
        server.stop()


def test_the_command_line_trusts_a_sub_ca_whose_root_is_not_at_hand(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path, "sub", KeyType.P256)
    first, *_ = x509.load_pem_x509_certificates(certificate.read_bytes())
    certificate.write_text(chain_pem([first]))
    server = ServerProcess(
        tmp_path / "data",
        {"CERTCTL_CA_CERT_PATH": str(certificate), "CERTCTL_CA_KEY_PATH": str(key)},
    )
    server.start()
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from certctl.cli import main; main()", "certs"],
            env=clean_environment({"CERTCTL_DATA_DIR": str(server.data_dir)}),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "localhost" in done.stdout
    finally:
        server.stop()


def test_changing_the_ca_changes_the_server_certificate_at_the_next_start(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    server = ServerProcess(tmp_path / "data", database_target.environment)
    server.start()
    before = served_certificate(server)
    server.stop()
    certificate, key = write_pair(tmp_path, "sub", KeyType.P256)
    server.extra = {
        **database_target.environment,
        "CERTCTL_CA_CERT_PATH": str(certificate),
        "CERTCTL_CA_KEY_PATH": str(key),
    }
    server.start()
    try:
        after = served_certificate(server)
        assert after.issuer != before.issuer
        with client_for(server) as client:  # which trusts the new ca.pem
            assert client.get("/healthz").status_code == 200
    finally:
        server.stop()


def test_the_operators_own_certificate_is_served(tmp_path: Path) -> None:
    from certctl.domain.names import parse_names
    from certctl.domain.usages import Usage
    from certctl.pki.keys import spki_of

    authority = make_live_authority(KeyType.P256)
    key = make_key(KeyType.RSA)
    leaf = authority.issue(
        public_key=key.public_key(),
        spki=spki_of(key.public_key()),
        key_type=KeyType.RSA,
        common_name=None,
        names=parse_names(["localhost", "127.0.0.1"]),
        usages=(Usage.SERVER_AUTH,),
        validity_seconds=86_400,
        must_staple=False,
        now_ms=time.time_ns() // 1_000_000,
    )
    certificate_path, key_path = tmp_path / "tls.pem", tmp_path / "tls.key"
    certificate_path.write_text(chain_pem([leaf, *authority.chain]))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server = ServerProcess(
        tmp_path / "data",
        {
            "CERTCTL_SERVER_TLS_CERT_PATH": str(certificate_path),
            "CERTCTL_SERVER_TLS_KEY_PATH": str(key_path),
        },
    )
    server.start()
    try:
        assert served_certificate(server) == leaf
        with client_for(server) as client:
            assert client.get("/readyz").status_code == 200
    finally:
        server.stop()


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_two_workers_share_one_root_and_one_database(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    server = ServerProcess(
        tmp_path / "data", {**database_target.environment, "CERTCTL_WORKERS": "2"}
    )
    server.start()
    try:
        csr = make_csr(make_key(KeyType.P256), ["www.example.org"])
        chains = set()
        ids = set()
        for number in range(12):  # each on a connection of its own, so on either worker
            with client_for(server) as client:
                made = client.post(
                    "/api/v1/certificates",
                    json={"issuer_id": "iss-local", "csr": csr},
                    headers={"Idempotency-Key": f"worker-{number // 2}"},
                ).json()
                chains.add(made["version"]["chain"])
                ids.add(made["id"])
        assert len(chains) == 1
        assert len(ids) == 6
        with client_for(server) as client:
            assert client.post("/api/v1/audit/verify").json()["problems"] == []
    finally:
        assert server.stop() == 0


REFUSALS = {
    "key readable by others": "is open to its group or to everybody",
    "pair does not match": "is not the key of the first certificate",
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_broken_sub_ca_is_refused_with_its_own_words(tmp_path: Path, fault: str) -> None:
    certificate, key = write_pair(tmp_path, "sub", KeyType.P256)
    other_certificate, _ = write_pair(tmp_path, "other", KeyType.P384)
    if fault == "key readable by others":
        key.chmod(0o644)
    else:
        shutil.copy(other_certificate, certificate)
    done = subprocess.run(
        [sys.executable, "-c", "from certctl.cli import server_main; server_main()"],
        env=clean_environment(
            {
                "CERTCTL_DATA_DIR": str(tmp_path / "data"),
                "CERTCTL_SERVER_PORT": "0",
                "CERTCTL_STATUS_PORT": "0",
                "CERTCTL_CA_CERT_PATH": str(certificate),
                "CERTCTL_CA_KEY_PATH": str(key),
            }
        ),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert REFUSALS[fault] in error
    assert "Traceback" not in done.stderr


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    first = ServerProcess(tmp_path / "data")
    first.start()
    try:
        second = subprocess.run(
            [sys.executable, "-c", "from certctl.cli import server_main; server_main()"],
            env=clean_environment(
                {
                    "CERTCTL_DATA_DIR": str(tmp_path / "data"),
                    "CERTCTL_SERVER_PORT": "0",
                    "CERTCTL_STATUS_PORT": "0",
                }
            ),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert second.returncode == 1
        assert "Error: " in second.stderr
        with client_for(first) as client:
            assert client.get("/readyz").status_code == 200
    finally:
        first.stop()
