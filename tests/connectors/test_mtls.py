"""Key pairs that operators replace under a running server."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from inotify_simple import INotify, flags

from certctl.connectors import mtls
from certctl.connectors.errors import IssuerError, Misconfigured, Unauthorized
from certctl.connectors.mtls import TlsContexts, TlsFiles, file_identity, fingerprint
from tests.connectors.stage import CLIENTS, SERVERS, STRANGERS, Stage, replace
from tests.support.pki import make_key
from tests.support.tls_peer import Exchange, key_pem, pem, refusing_peer, server_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Builds:
    """Counts how often files were read, without changing what is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.at_once = 0
        self._running = 0
        self._lock = threading.Lock()
        real = mtls._build

        def counted(files: TlsFiles) -> ssl.SSLContext:
            with self._lock:
                self.count += 1
                self._running += 1
                self.at_once = max(self.at_once, self._running)
            try:
                return real(files)
            finally:
                with self._lock:
                    self._running -= 1

        monkeypatch.setattr(mtls, "_build", counted)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    """How often files were read."""
    return Builds(monkeypatch)


def serials(stage: Stage) -> list[int | None]:
    return [request.serial for request in stage.peer.received]


async def refused_by(stage: Stage, **changes: Any) -> str:
    """The words with which a call is refused before anything is sent."""
    before = len(stage.peer.received)
    with pytest.raises(Misconfigured) as caught:
        await stage.open(**changes).send("GET", "/")
    assert len(stage.peer.received) == before
    return caught.value.detail


async def test_a_thousand_steady_calls_open_the_files_not_once(stage: Stage) -> None:
    transport = stage.open()
    await transport.send("GET", "/")
    with INotify() as watch:
        for path in (stage.certificate, stage.key, stage.trust):
            watch.add_watch(str(path), flags.OPEN | flags.ACCESS)
        for _ in range(1000):
            await transport.send("GET", "/")
        assert watch.read(timeout=0) == []
        stage.certificate.read_bytes()
        assert watch.read(timeout=1000), "the watch would have seen it"
    assert stage.peer.connections == 1


@pytest.mark.parametrize("older", [False, True], ids=["newer", "older"])
async def test_a_new_pair_is_used_by_the_next_call(stage: Stage, older: bool) -> None:
    transport = stage.open()
    await transport.send("GET", "/")
    serial = stage.install(stage.new_pair(1), older=older)
    await transport.send("GET", "/")
    assert serials(stage)[1] == serial != serials(stage)[0]


async def test_a_file_changed_in_place_with_size_and_time_kept_is_seen(stage: Stage) -> None:
    transport = stage.open()
    await transport.send("GET", "/")
    times = stage.certificate.stat()
    pair = stage.new_pair(1)
    for path, content in ((stage.certificate, pair.certificate), (stage.key, pair.key)):
        with path.open("r+b") as file:
            file.write(content.ljust(path.stat().st_size))
            file.truncate()
        os.utime(path, ns=(times.st_mtime_ns, times.st_mtime_ns))
    await transport.send("GET", "/")
    assert serials(stage)[1] == pair.serial


async def test_a_pair_behind_a_link_that_is_turned_is_seen(stage: Stage, tmp_path: Path) -> None:
    for name, which in (("first", 1), ("second", 2)):
        folder = tmp_path / name
        folder.mkdir()
        pair = stage.new_pair(which)
        (folder / "tls.crt").write_bytes(pair.certificate)
        (folder / "tls.key").write_bytes(pair.key)
    link = tmp_path / "data"
    link.symlink_to("first")
    transport = stage.open(certificate_path=str(link / "tls.crt"), key_path=str(link / "tls.key"))
    await transport.send("GET", "/")
    (tmp_path / "turned").symlink_to("second")
    (tmp_path / "turned").rename(link)
    await transport.send("GET", "/")
    assert len(set(serials(stage))) == 2


@pytest.mark.parametrize("first", ["certificate", "key"])
async def test_half_a_rotation_is_an_error_and_heals(stage: Stage, first: str) -> None:
    transport = stage.open()
    await transport.send("GET", "/")
    pair = stage.new_pair(1)
    halves = {"certificate": (stage.certificate, pair.certificate), "key": (stage.key, pair.key)}
    path, content = halves.pop(first)
    replace(path, content)
    words = await refused_by(stage)
    assert str(stage.key) in words
    assert "is not the key of the first certificate" in words
    ((path, content),) = halves.values()
    replace(path, content)
    await transport.send("GET", "/")
    assert serials(stage)[1] == pair.serial


async def test_a_new_certificate_for_the_same_key_is_used(stage: Stage) -> None:
    transport = stage.open()
    await transport.send("GET", "/")
    pair = stage.new_pair(0)
    replace(stage.certificate, pair.certificate)
    await transport.send("GET", "/")
    assert serials(stage)[1] == pair.serial != serials(stage)[0]


@pytest.mark.parametrize("which", ["certificate", "key", "trust"])
async def test_a_deleted_file_is_an_error_and_nothing_old_is_used(stage: Stage, which: str) -> None:
    transport = stage.open()
    await transport.send("GET", "/")
    path = stage.file(which)
    aside = path.rename(path.with_suffix(".aside"))
    words = await refused_by(stage)
    assert f"{path} cannot be read: No such file" in words
    aside.rename(path)
    await transport.send("GET", "/")


def encrypted() -> bytes:
    return make_key(which=2600).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")
    )


@pytest.mark.parametrize(
    ("which", "content", "words"),
    [
        ("certificate", b"", "is empty"),
        ("certificate", b"-----BEGIN CERTIFICATE-----\nMIIB", "is not a certificate in PEM"),
        ("certificate", key_pem(make_key(which=2600)), "is not a certificate in PEM"),
        ("key", b"", "is empty"),
        ("key", b"SECRET-CONTENT", "is not a private key in PEM"),
        # An id of its own: the key is another one in each process of the tests.
        pytest.param(
            "key", key_pem(make_key(which=2600))[:100], "is not a private key in PEM", id="cut-off"
        ),
        ("key", key_pem(make_key(which=2601)), "is not the key of the first certificate"),
        ("key", encrypted(), "is encrypted, which is not supported"),
        ("trust", b"", "is empty"),
        ("trust", b"SECRET-CONTENT", "must hold certificates in PEM"),
        ("trust", key_pem(make_key(which=2600)), "must hold certificates in PEM"),
        ("trust", pem(SERVERS.root) + b"-----BEGIN CERTIFICATE-----\nMIIB\n", "in PEM"),
        ("trust", b"#" * 4_000_001, "too large"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(
    stage: Stage, which: str, content: bytes, words: str
) -> None:
    path = stage.file(which)
    replace(path, content)
    said = await refused_by(stage)
    assert words in said
    assert str(path) in said
    assert "SECRET" not in said


async def test_what_is_no_file_is_not_opened(stage: Stage) -> None:
    stage.key.unlink()
    os.mkfifo(stage.key)  # opening it would wait for a writer
    assert f"{stage.key} is not a file" in await refused_by(stage)
    assert f"{stage.folder} is not a file" in await refused_by(stage, key_path=str(stage.folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_a_file_that_may_not_be_read_is_an_error_until_it_may(stage: Stage) -> None:
    stage.key.chmod(0)
    assert "Permission denied" in await refused_by(stage)
    stage.key.chmod(0o400)
    await stage.open().send("GET", "/")


async def test_a_broken_pair_is_not_read_again_until_it_changes(
    stage: Stage, builds: Builds
) -> None:
    stage.key.write_bytes(b"broken")
    for _ in range(20):
        await refused_by(stage)
    assert builds.count == 1
    stage.install(stage.new_pair(1))
    await stage.open().send("GET", "/")
    assert builds.count == 2


async def test_what_fails_for_want_of_resources_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(_: TlsFiles) -> ssl.SSLContext:
        with suppress(mtls._WrongFiles):
            mtls._readable("/nonexistent", "x")
        raise mtls._WrongFiles("too many open files", passing=mtls._is_passing(OSError(24, "many")))

    with monkeypatch.context() as patched:
        patched.setattr(mtls, "_build", no_more)
        assert "too many open files" in await refused_by(stage)
    await stage.open().send("GET", "/")


async def test_sixteen_first_calls_read_the_files_once(stage: Stage, builds: Builds) -> None:
    await asyncio.gather(*(stage.open().send("GET", "/") for _ in range(16)))
    assert builds.count == 1


async def test_sixteen_calls_after_a_change_read_the_files_once(
    stage: Stage, builds: Builds
) -> None:
    transport = stage.open()
    await transport.send("GET", "/")
    serial = stage.install(stage.new_pair(1))
    await asyncio.gather(*(transport.send("GET", "/") for _ in range(16)))
    assert builds.count == 2
    assert serials(stage)[1:] == [serial] * 16


async def test_who_reads_the_files_and_goes_away_leaves_the_others_unharmed(
    stage: Stage,
) -> None:
    calls = [asyncio.ensure_future(stage.open().send("GET", "/")) for _ in range(4)]
    await asyncio.sleep(0)
    calls[0].cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert len(stage.peer.received) == 3


async def test_other_settings_leave_context_and_connection_as_they_are(
    stage: Stage, builds: Builds
) -> None:
    await stage.open().send("GET", "/")
    other = stage.open(
        headers={"x-api-key": "another"},
        timeout=7.0,
        max_answer_bytes=5,
        secrets=("s",),
        base_url=f"{stage.peer.url}/v2/",
    )
    await other.send("GET", "/orders")
    assert builds.count == 1
    assert stage.peer.connections == 1
    assert [request.target for request in stage.peer.received] == ["/", "/v2/orders"]
    assert stage.peer.received[1].headers["x-api-key"] == "another"


async def test_calls_in_flight_end_with_the_old_pair_and_the_next_has_the_new(
    stage: Stage,
) -> None:
    arrived = threading.Semaphore(0)
    go_on = threading.Event()

    async def slow(exchange: Exchange) -> None:
        arrived.release()
        await asyncio.to_thread(go_on.wait, 5)
        await exchange.answer(body=b'"slow"')

    stage.peer.script = slow
    transport = stage.open()
    in_flight = [asyncio.ensure_future(transport.send("POST", "/", json={})) for _ in range(16)]
    for _ in range(16):
        assert await asyncio.to_thread(arrived.acquire, timeout=5)
    old = serials(stage)[0]
    new = stage.install(stage.new_pair(1))
    go_on_later = asyncio.ensure_future(transport.send("POST", "/", json={}))
    assert await asyncio.to_thread(arrived.acquire, timeout=5)
    assert not any(call.done() for call in in_flight)
    go_on.set()
    replies = await asyncio.gather(*in_flight, go_on_later)
    assert {reply.body for reply in replies} == {b'"slow"'}
    assert serials(stage) == [old] * 16 + [new]
    # The old connections are closed after their last call, and the new one is kept.
    for _ in range(200):
        if len(stage.peer.open) == 1:
            break
        await asyncio.sleep(0.01)
    assert len(stage.peer.open) == 1


async def test_close_waits_for_calls_and_refuses_further_ones(stage: Stage) -> None:
    go_on = threading.Event()
    arrived = threading.Event()

    async def slow(exchange: Exchange) -> None:
        arrived.set()
        await asyncio.to_thread(go_on.wait, 5)
        await exchange.answer()

    stage.peer.script = slow
    transport = stage.open()
    call = asyncio.ensure_future(transport.send("POST", "/"))
    await asyncio.to_thread(arrived.wait, 5)
    closing = asyncio.ensure_future(stage.transports.close())
    await asyncio.sleep(0.02)
    assert not closing.done()
    with pytest.raises(IssuerError, match="being stopped"):
        await transport.send("GET", "/")
    go_on.set()
    assert (await call).status == 200
    await closing


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
@pytest.mark.usefixtures("patient")
async def test_a_peer_that_refuses_our_certificate_is_told_apart(
    stage: Stage, version: ssl.TLSVersion
) -> None:
    context = server_context(stage.folder, SERVERS, clients=CLIENTS)
    context.maximum_version = version
    with refusing_peer(context) as port:
        url = f"https://localhost:{port}"
        for pair, words in (
            (stage.new_pair(3, STRANGERS), "its issuer is unknown there"),
            (stage.new_pair(4, days=-1), "it has expired"),
        ):
            stage.install(pair)
            with pytest.raises(Unauthorized) as caught:
                await stage.open(base_url=url).send("POST", "/", json={})
            assert "does not accept our client certificate" in caught.value.detail
            assert words in caught.value.detail
        if version is ssl.TLSVersion.TLSv1_3:  # before it, that alert could mean anything
            none = stage.open(base_url=url, certificate_path=None, key_path=None)
            with pytest.raises(Unauthorized, match="none set"):
                await none.send("POST", "/", json={})


async def test_a_bundle_replaces_the_systems_trust(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # OpenSSL's own name for the system's bundle: the peer is trusted by the system, then.
    system = stage.folder / "system.pem"
    system.write_bytes(pem(SERVERS.root))
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    await stage.open(trust_path=None).send("GET", "/")
    stage.trust.write_bytes(pem(STRANGERS.root))
    with pytest.raises(IssuerError, match=r"not trusted.*which replaces the system's"):
        await stage.open().send("GET", "/")


async def test_a_bundle_that_changes_is_trusted_from_the_next_call_on(stage: Stage) -> None:
    transport = stage.open()
    await transport.send("GET", "/")
    replace(stage.trust, pem(STRANGERS.root))
    with pytest.raises(IssuerError, match="not trusted"):
        await transport.send("GET", "/")
    replace(stage.trust, pem(STRANGERS.root) + pem(SERVERS.root))
    await transport.send("GET", "/")


async def test_the_systems_trust_is_read_once_for_everybody(
    plain: Stage, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(plain.trust))
    none = {"certificate_path": None, "key_path": None, "trust_path": None}
    await asyncio.gather(
        *(plain.open(**none, timeout=float(n)).send("GET", "/") for n in range(4, 10))
    )
    await plain.open(**none, base_url=f"https://LOCALHOST:{plain.peer.port}").send("GET", "/")
    assert builds.count == 1


async def test_contexts_and_connections_unused_for_an_hour_are_let_go(stage: Stage) -> None:
    now = 0.0
    stage.transports = type(stage.transports)(monotonic=lambda: now)
    pools = stage.transports.pools
    await stage.open().send("GET", "/")
    other = stage.folder / "other.pem"
    other.write_bytes(pem(SERVERS.root))
    now = 3000.0
    await stage.open(trust_path=str(other)).send("GET", "/")
    assert (len(pools._pools), len(pools._contexts._entries)) == (2, 2)
    now = 4000.0
    other.rename(stage.trust)
    stage.trust.rename(other)
    await stage.open(trust_path=str(other)).send("GET", "/")
    assert (len(pools._pools), len(pools._contexts._entries)) == (1, 1)
    await stage.transports.close()


class Turning:
    """A clock that stands, and what is done each time somebody looks at it."""

    def __init__(self, ms: int, then: Callable[[], None]) -> None:
        self.ms, self.then = ms, then

    def now_ms(self) -> int:
        self.then()
        return self.ms


async def test_files_that_never_stand_still_are_an_error_and_are_looked_at_again(
    tmp_path: Path,
) -> None:
    trust = tmp_path / "trust.pem"
    trust.write_bytes(pem(SERVERS.root))
    files = TlsFiles(trust=str(trust))

    def write() -> None:
        with trust.open("ab") as file:
            file.write(b"\n")

    contexts = TlsContexts(clock=Turning(0, write))
    with pytest.MonkeyPatch.context() as patched:
        real = mtls._build

        def changing(given: TlsFiles) -> ssl.SSLContext:
            write()
            return real(given)

        patched.setattr(mtls, "_build", changing)
        with pytest.raises(Misconfigured, match="again and again"):
            await contexts.build(files)
    contexts._clock = Turning(0, lambda: None)
    assert contexts.current(files) is None
    assert await contexts.build(files) is contexts.current(files)


async def test_a_file_is_not_taken_for_settled_in_the_tick_it_was_written_in(
    tmp_path: Path, builds: Builds
) -> None:
    trust = tmp_path / "trust.pem"
    trust.write_bytes(pem(SERVERS.root))
    written = trust.stat().st_ctime_ns // 1_000_000
    clock = Turning(written + 1, lambda: None)

    def looked() -> None:
        assert builds.count == 0
        clock.ms += 10

    clock.then = looked
    await TlsContexts(clock=clock).build(TlsFiles(trust=str(trust)))
    assert clock.ms - written >= 20
    assert builds.count == 1


async def test_a_context_asks_for_tls_12_and_verifies(stage: Stage) -> None:
    files = TlsFiles(str(stage.certificate), str(stage.key), str(stage.trust))
    context = await TlsContexts().build(files)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_an_identity_tells_any_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert file_identity(str(path)) is None
    assert file_identity("\0") is None
    path.write_bytes(b"one")
    first = file_identity(str(path))
    assert first is not None
    assert file_identity(str(path)) == first
    seen = {first}
    path.chmod(0o400)
    replace(path, b"one")
    for change in (
        lambda: replace(path, b"one"),
        lambda: path.write_bytes(b"longer"),
        lambda: os.utime(path, ns=(1, 1)),
    ):
        change()
        seen.add(file_identity(str(path)) or first)
    assert len(seen) == 4
    assert fingerprint([str(path), str(tmp_path / "none")]) == (file_identity(str(path)), None)
