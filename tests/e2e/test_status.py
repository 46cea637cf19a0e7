"""Relying parties ask a real server, with OpenSSL's command line and plain HTTP."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from certctl.domain.keys import KeyType
from tests.support.api import client_for
from tests.support.pki import make_csr, make_key
from tests.support.relying import BASE, Fetched, Party, become_party, fetch
from tests.support.server import ServerProcess, clean_environment, running_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.targets import DatabaseTarget

on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

CRL = f"{BASE}/crl/iss-local"


def party_of(server: ServerProcess, folder: Path) -> Party:
    with client_for(server) as client:
        csr = make_csr(make_key(KeyType.P256), ["www.example.org"])
        return become_party(client, folder, csr)


def revoke(server: ServerProcess, party: Party, reason: str = "keyCompromise") -> None:
    with client_for(server) as client:
        answer = client.post(
            f"/api/v1/certificates/{party.certificate_id}/revoke", json={"reason": reason}
        )
        assert answer.status_code == 200, answer.text


def crl_with(server: ServerProcess, party: Party, *, listed: bool) -> Fetched:
    """The CRL once it lists the certificate, or does not; the scheduler makes it in a second."""
    for _ in range(200):
        fetched = fetch(server.status_url + CRL)
        if fetched.status == 200:
            crl = x509.load_der_x509_crl(fetched.body)
            serial = party.certificate.serial_number
            found = crl.get_revoked_certificate_by_serial_number(serial)
            if (found is not None) is listed:
                return fetched
        time.sleep(0.05)
    pytest.fail("no such CRL came")


def test_ocsp_by_post(server: ServerProcess, tmp_path: Path) -> None:
    party = party_of(server, tmp_path)
    for options in ((), ("-no_nonce",), ("-sha256",)):
        assert ": good" in party.ocsp(server.status_url, *options)
    revoke(server, party, "superseded")
    for options in ((), ("-no_nonce",), ("-sha256",)):
        output = party.ocsp(server.status_url, *options)
        assert ": revoked" in output
        assert "Reason: superseded" in output


def ask_again(url: str) -> tuple[int, bytes]:
    """Fetch, and fetch again what is known: a CRL that is made in between has it signed anew."""
    etag = fetch(url).headers["etag"]
    again = fetch(url, headers={"If-None-Match": etag})
    return again.status, again.body


def test_ocsp_by_get(server: ServerProcess, tmp_path: Path) -> None:
    party = party_of(server, tmp_path)
    text = base64.b64encode(party.query()).decode()
    url = f"{server.status_url}{BASE}/ocsp/iss-local/"
    fetched = fetch(url + quote(text, safe=""))
    assert fetched.headers["content-type"] == "application/ocsp-response"
    assert "max-age=" in fetched.headers["cache-control"]
    assert ": good" in party.read_answer(fetched.body)
    assert ": good" in party.read_answer(fetch(url + text).body)
    assert (304, b"") in [ask_again(url + text) for _ in range(5)]
    revoke(server, party)
    assert ": revoked" in party.read_answer(fetch(url + text).body)


def test_verifying_with_the_crl(server: ServerProcess, tmp_path: Path) -> None:
    party = party_of(server, tmp_path)
    verify = ("verify", "-crl_check", "-CAfile", party.ca, "-CRLfile", tmp_path / "crl.pem")

    def take(fetched: Fetched) -> str:
        (tmp_path / "crl.der").write_bytes(fetched.body)
        output = party.openssl(
            "crl", "-inform", "DER", "-in", tmp_path / "crl.der", "-out", tmp_path / "crl.pem",
            "-CAfile", party.ca, "-text",
        )  # fmt: skip
        assert "verify OK" in output
        return (tmp_path / "crl.pem").read_text()

    assert "No Revoked Certificates" in take(crl_with(server, party, listed=False))
    party.openssl(*verify, party.leaf)
    revoke(server, party)
    assert "Key Compromise" in take(crl_with(server, party, listed=True))
    code, output = party.try_openssl(*verify, party.leaf)
    assert code != 0
    assert "certificate revoked" in output


def test_what_a_certificate_names_is_there(server: ServerProcess, tmp_path: Path) -> None:
    """Unset and on loopback, certificates carry the listener's own address."""
    party = party_of(server, tmp_path)
    crl_with(server, party, listed=False)
    extensions = party.certificate.extensions
    access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    named = {one.access_method: one.access_location.value for one in access}
    points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name is not None
    crl_url: str = points[0].full_name[0].value
    for url in (*named.values(), crl_url):
        assert url.startswith(f"{server.status_url}{BASE}/")
    issuer = x509.load_pem_x509_certificates(party.ca.read_bytes())[0]
    found = fetch(named[AuthorityInformationAccessOID.CA_ISSUERS])
    assert found.body == issuer.public_bytes(Encoding.DER)
    assert fetch(crl_url).body == fetch(server.status_url + CRL).body
    url = named[AuthorityInformationAccessOID.OCSP]
    assert ": good" in party.read_answer(fetch(url, party.query()).body)


@on_sqlite
def test_the_public_address_is_what_certificates_carry(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    extra = {"CERTCTL_PUBLIC_STATUS_URL": "http://pki.example.com/status/"}
    with running_server(tmp_path / "data", extra=extra) as server:
        party = party_of(server, tmp_path)
        text = party.openssl("x509", "-in", party.leaf, "-noout", "-text")
        assert f"URI:http://pki.example.com/status{BASE}/ocsp/iss-local\n" in text
        assert "not say where their status is" not in server.log.read_text()
        assert server.status_url.startswith("http://127.0.0.1:")


@on_sqlite
@pytest.mark.parametrize("setting", ["CERTCTL_SERVER_HOST", "CERTCTL_STATUS_HOST"])
def test_a_server_for_others_without_a_public_address_says_what_is_missing(
    database_target: DatabaseTarget, tmp_path: Path, setting: str
) -> None:
    with running_server(tmp_path / "data", extra={setting: "0.0.0.0"}) as server:  # noqa: S104 - as operators do
        party = party_of(server, tmp_path)
        text = party.openssl("x509", "-in", party.leaf, "-noout", "-text")
        assert "URI:http" not in text
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        (warning,) = [line for line in lines if "their status" in line["event"]]
        assert warning["level"] == "warning"
        assert "CERTCTL_PUBLIC_STATUS_URL" in warning["hint"]
        assert party.is_revoked(server.status_url) is False, "it is served all the same"


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-c", "from certctl.cli import server_main; server_main()"],
            env=clean_environment(
                {
                    "CERTCTL_DATA_DIR": str(tmp_path / "data"),
                    "CERTCTL_SERVER_PORT": "0",
                    "CERTCTL_STATUS_PORT": str(port),
                }
            ),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert f"Error: cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "CERTCTL_STATUS_PORT" in done.stderr


def test_the_two_listeners_do_not_serve_each_others(server: ServerProcess) -> None:
    assert fetch(f"{server.status_url}/healthz").status == 404
    with client_for(server) as client:
        assert client.get(CRL).status_code == 404


def test_a_restart_goes_on_with_numbers_and_what_is_revoked(
    server: ServerProcess, tmp_path: Path
) -> None:
    party = party_of(server, tmp_path)
    revoke(server, party)
    before = crl_with(server, party, listed=True)
    assert server.stop() == 0
    server.start()
    assert party.is_revoked(server.status_url)
    assert fetch(server.status_url + CRL).body == before.body


def test_a_stop_while_clients_hold_connections_is_no_long_one(server: ServerProcess) -> None:
    host, port = server.status_url.removeprefix("http://").rsplit(":", 1)
    with (
        socket.create_connection((host, int(port))) as idle,
        socket.create_connection((host, int(port))) as halfway,
    ):
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(100).startswith(b"HTTP/1.1 404")
        halfway.sendall(b"GET / HTTP/1.1\r\nHo")
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_two_workers_say_the_same(database_target: DatabaseTarget, tmp_path: Path) -> None:
    extra = {**database_target.environment, "CERTCTL_WORKERS": "2"}
    with running_server(tmp_path / "data", extra=extra) as server:
        parties = [party_of(server, tmp_path / str(number)) for number in range(3)]
        for party in parties:
            assert not any(party.is_revoked(server.status_url) for _ in range(6))
            revoke(server, party)
            time.sleep(1)
            assert all(party.is_revoked(server.status_url) for _ in range(6))
        bodies = {crl_with(server, parties[-1], listed=True).body for _ in range(10)}
        assert len(bodies) == 1
