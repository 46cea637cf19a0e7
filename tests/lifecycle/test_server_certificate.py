"""The certificate of our own HTTPS: renewed, and changed while the listener goes on."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certctl.domain.errors import Misconfigured
from certctl.domain.keys import KeyType
from certctl.domain.names import parse_names
from certctl.domain.usages import Usage
from certctl.lifecycle.server_certificate import OperatorFiles, OwnCertificate, ServerTls
from certctl.pki.certificates import chain_pem
from certctl.pki.keys import spki_of
from tests.support.clock import TurnableClock
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_key, make_live_authority

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database

pytestmark = pytest.mark.anyio

DAY = 86_400_000
NAMES = ("localhost", "127.0.0.1")
NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME, which Python does not name


@pytest.fixture
def clock() -> TurnableClock:
    """Here time is turned by hand."""
    return TurnableClock()


def handshake(listener: ssl.SSLContext, data_dir: Path) -> x509.Certificate:
    """What a client that trusts `ca.pem` is shown, over memory instead of a socket."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(data_dir / "ca.pem")
    trusting.verify_flags |= NO_CHECK_TIME  # the test turns the clock, OpenSSL has its own
    client = trusting.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = listener.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def own(plane: ControlPlane) -> OwnCertificate:
    its = plane.services
    return OwnCertificate(its.database, its.catalog, its.use_cases.enrolment, its.clock, NAMES)


async def test_it_is_renewed_in_time_and_changed_live(
    database: Database, clock: TurnableClock, tmp_path: Path
) -> None:
    async with control_plane(database, tmp_path, run_scheduler=False) as plane:
        tls = ServerTls(own(plane), tmp_path)
        await tls.load()
        listener = tls.listener_context()
        first = handshake(listener, tmp_path)
        clock.turn(days=59)
        await tls.load()
        assert handshake(listener, tmp_path) == first, "a third of its life is left"
        clock.turn(days=2)
        await tls.load()
        second = handshake(listener, tmp_path)
        assert second.serial_number != first.serial_number
        assert second.public_key() != first.public_key()
        listed = (await plane.client.get("/api/v1/certificates")).json()["data"]
        assert {row["owner"] for row in listed} == {"certctl"}
        assert len(listed) == 2


async def test_a_revoked_one_is_replaced(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path, run_scheduler=False) as plane:
        tls = ServerTls(own(plane), tmp_path)
        await tls.load()
        listener = tls.listener_context()
        first = handshake(listener, tmp_path)
        (row,) = (await plane.client.get("/api/v1/certificates")).json()["data"]
        assert row["serial"] == f"{first.serial_number:x}"
        await plane.client.post(
            f"/api/v1/certificates/{row['id']}/revoke", json={"reason": "keyCompromise"}
        )
        await tls.load()
        second = handshake(listener, tmp_path)
        assert second.serial_number != first.serial_number
        assert second.public_key() != first.public_key()


async def test_processes_share_one_certificate(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path, run_scheduler=False) as plane:
        pairs = {(await own(plane).current()).certificates for _ in range(3)}
        assert len(pairs) == 1


async def test_the_key_is_on_no_disk_in_clear(database: Database, tmp_path: Path) -> None:
    async with control_plane(database, tmp_path, run_scheduler=False) as plane:
        source = own(plane)
        await ServerTls(source, tmp_path).load()
        pair = await source.current()
        body = b"".join(pair.key.splitlines()[1:-1])
        assert not any(body in content for content in contents(tmp_path))


def contents(folder: Path) -> list[bytes]:
    """What all files below a folder hold, without line ends."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path.read_bytes().replace(b"\n", b"") for path in files]


def write_leaf(folder: Path, key_type: KeyType) -> int:
    """An operator's certificate and key; its serial."""
    authority, key = make_live_authority(), make_key(key_type)
    leaf = authority.issue(
        public_key=key.public_key(),
        spki=spki_of(key.public_key()),
        key_type=key_type,
        common_name=None,
        names=parse_names(NAMES),
        usages=(Usage.SERVER_AUTH,),
        validity_seconds=86_400,
        must_staple=False,
        now_ms=int(authority.certificate.not_valid_before_utc.timestamp() * 1000) + DAY,
    )
    (folder / "tls.pem").write_text(chain_pem([leaf, *authority.chain]))
    (folder / "tls.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return leaf.serial_number


async def test_the_operators_files_are_followed_and_a_half_rotated_pair_is_not_served(
    tmp_path: Path,
) -> None:
    first = write_leaf(tmp_path, KeyType.P256)
    tls = ServerTls(OperatorFiles(tmp_path / "tls.pem", tmp_path / "tls.key"), tmp_path)
    await tls.load()
    listener = tls.listener_context()
    assert handshake(listener, tmp_path).serial_number == first
    old_key = (tmp_path / "tls.key").read_bytes()
    second = write_leaf(tmp_path, KeyType.RSA)  # another type of key
    new_key = (tmp_path / "tls.key").read_bytes()
    (tmp_path / "tls.key").write_bytes(old_key)
    with pytest.raises(Misconfigured):
        await tls.load()
    assert handshake(listener, tmp_path).serial_number == first
    (tmp_path / "tls.key").unlink()
    with pytest.raises(Misconfigured):
        await tls.load()
    assert handshake(listener, tmp_path).serial_number == first
    (tmp_path / "tls.key").write_bytes(new_key)
    await tls.load()
    assert handshake(listener, tmp_path).serial_number == second
