"""Two servers on one PostgreSQL: what was revoked through one is revoked at the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from psycopg import sql
from psycopg.conninfo import make_conninfo

from certctl.domain.keys import KeyType
from tests.support.api import client_for
from tests.support.pki import make_csr, make_key
from tests.support.relying import BASE, Party, become_party, fetch
from tests.support.server import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx2

    from tests.support.postgres import PostgresServer
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)

OCSP = f"{BASE}/ocsp/iss-local"
CRL = f"{BASE}/crl/iss-local"
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
LISTENING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'certctl listen'"
)
TERMINATE = sql.SQL(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'certctl listen'"
)


@pytest.fixture
def servers(
    database_target: DatabaseTarget, tmp_path: Path
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """The first one has made what the first start makes, the admin key too."""
    first, second = (
        ServerProcess(tmp_path / name, database_target.environment) for name in ("first", "second")
    )
    first.start()
    try:
        second.start()
        try:
            yield first, second
        finally:
            assert second.stop() == 0
    finally:
        assert first.stop() == 0


def new_party(client: httpx2.Client, folder: Path) -> tuple[Party, bytes]:
    party = become_party(client, folder, make_csr(make_key(KeyType.P256), ["www.example.org"]))
    return party, party.query()


def revoke(client: httpx2.Client, party: Party) -> None:
    path = f"/api/v1/certificates/{party.certificate_id}/revoke"
    answer = client.post(path, json={"reason": "keyCompromise"})
    assert answer.status_code == 200, answer.text


def status(server_url: str, query: bytes) -> ocsp.OCSPCertStatus:
    answer = ocsp.load_der_ocsp_response(fetch(server_url + OCSP, query).body)
    assert answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    return answer.certificate_status


def keeps_its_answer(server_url: str, query: bytes) -> bool:
    """Whether the same answer comes twice; a CRL that is made in between has it signed anew."""
    pairs = (
        (fetch(server_url + OCSP, query).body, fetch(server_url + OCSP, query).body) for _ in "123"
    )
    return any(first == second for first, second in pairs)


def wait_for_listeners(postgres: PostgresServer, name: str, number: int) -> None:
    conninfo = make_conninfo(**{**postgres.parameters, "dbname": name})
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for _ in range(500):
            if connection.execute(LISTENING).fetchone() == (number,):
                return
            time.sleep(0.02)
    pytest.fail("nobody listens again")


def test_what_one_revokes_the_other_says_within_a_second(
    servers: tuple[ServerProcess, ServerProcess], tmp_path: Path
) -> None:
    first, second = servers
    url = second.status_url
    waits = []
    with client_for(first) as client:
        for number in range(10):
            party, query = new_party(client, tmp_path / str(number))
            assert keeps_its_answer(url, query), "the other one"
            assert status(url, query) is GOOD
            revoke(client, party)
            begun = time.monotonic()
            while status(url, query) is GOOD:
                assert time.monotonic() - begun < 1.0
            waits.append(time.monotonic() - begun)
            assert status(first.status_url, query) is REVOKED, "and the first one at once"
    # Notified, and not found by the look that comes every second.
    assert sorted(waits)[5] < 0.4


def test_and_immediately_while_its_listening_connection_is_down(
    servers: tuple[ServerProcess, ServerProcess],
    postgres: PostgresServer,
    database_target: DatabaseTarget,
    tmp_path: Path,
) -> None:
    first, second = servers
    assert database_target.url is not None
    name = database_target.url.rsplit("/", 1)[1].split("?")[0]
    with client_for(first) as client:
        parties = [new_party(client, tmp_path / str(number)) for number in range(5)]
        for party, query in parties:
            assert status(second.status_url, query) is GOOD
            assert status(second.status_url, query) is GOOD
            wait_for_listeners(postgres, name, 2)
            postgres.execute(TERMINATE, database=name)
            revoke(client, party)
            assert status(second.status_url, query) is REVOKED
    assert "not listening for changes" in second.log.read_text()


def test_no_crl_number_stands_for_two_crls(
    servers: tuple[ServerProcess, ServerProcess], tmp_path: Path
) -> None:
    seen: dict[int, bytes] = {}
    newest = {server.status_url: 0 for server in servers}

    def look() -> None:
        for url, before in newest.items():
            fetched = fetch(url + CRL)
            if fetched.status != 200:
                continue
            crl = x509.load_der_x509_crl(fetched.body)
            number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            assert seen.setdefault(number, fetched.body) == fetched.body
            assert number >= before, "it never goes back"
            newest[url] = number

    first, second = servers
    with client_for(first) as one, client_for(second, key=first.key) as other:
        for number in range(8):
            party, _ = new_party(one, tmp_path / str(number))
            revoke((one, other)[number % 2], party)
            until = time.monotonic() + 0.7
            while time.monotonic() < until:
                look()
    time.sleep(2.5)
    look()
    assert len(seen) > 3
    assert len(set(newest.values())) == 1, "both have the newest"
    assert len(x509.load_der_x509_crl(seen[max(seen)])) == 8
