"""Calls to CAs: what may go wrong on the way, and what it means."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from certctl import __version__
from certctl.connectors import pools
from certctl.connectors.errors import (
    BadAnswer,
    IssuerError,
    Misconfigured,
    NoAnswer,
    Unauthorized,
    Unavailable,
)
from certctl.connectors.transport import Endpoint, Reply, Transports
from certctl.connectors.triage import Step, raise_for_status
from tests.connectors.stage import CLIENTS, SERVERS, STRANGERS, Stage, replace
from tests.support.tls_peer import (
    Exchange,
    pem,
    refusing_peer,
    running_peer,
    running_proxy,
    server_context,
)

if TYPE_CHECKING:
    from certctl.connectors.transport import Transport

pytestmark = pytest.mark.anyio


def opened(plain: Stage, **changes: Any) -> Transport:
    return plain.open(**{"certificate_path": None, "key_path": None, **changes})


async def test_a_call_is_what_was_asked_for_and_its_answer_what_came(plain: Stage) -> None:
    async def created(exchange: Exchange) -> None:
        headers = {"Location": "/v2/orders/7", "X-Twice": "a", "x-twice": "b"}
        await exchange.answer(201, b'{"id": 7}', headers)

    plain.peer.script = created
    transport = opened(
        plain, base_url=f"{plain.peer.url}/v2/", headers={"Authorization": "Bearer abcdef"}
    )
    reply = await transport.send(
        "POST",
        "/orders",
        json={"csr": "ä"},
        params={"q": "a b&c"},
        headers={"Accept": "text/plain"},
    )
    assert (reply.status, reply.json()) == (201, {"id": 7})
    assert reply.headers["location"] == "/v2/orders/7"
    assert reply.headers["x-twice"] == "a, b"
    (request,) = plain.peer.received
    assert (request.method, request.target) == ("POST", "/v2/orders?q=a+b%26c")
    assert request.body == b'{"csr":"\\u00e4"}'
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "text/plain"
    assert request.headers["authorization"] == "Bearer abcdef"
    assert request.headers["user-agent"] == f"certctl/{__version__}"
    assert request.headers["host"] == f"localhost:{plain.peer.port}" == transport.host


async def test_headers_of_a_call_win_over_those_of_the_endpoint(plain: Stage) -> None:
    transport = opened(plain, headers={"Content-Type": "application/x", "X-Kept": "1"})
    await transport.send("POST", "/", content=b"raw")
    await transport.send("POST", "/", json=1, headers={"content-type": "application/y"})
    await transport.send("POST", "/", json=1)
    first, second, third = plain.peer.received
    assert third.headers["content-type"] == "application/x"
    assert (first.headers["content-type"], first.body) == ("application/x", b"raw")
    assert (second.headers["content-type"], second.body) == ("application/y", b"1")
    assert second.headers["x-kept"] == "1"


async def test_a_path_may_bring_its_own_query(plain: Stage) -> None:
    await opened(plain).send("GET", "orders/1?x=1", params={"y": "2"})
    assert plain.peer.received[0].target == "/orders/1?x=1&y=2"


async def test_connections_are_kept(plain: Stage) -> None:
    for number in range(5):
        await opened(plain).send("POST", "/", json=number)
    assert plain.peer.connections == 1


async def test_issuers_that_share_a_connection_share_no_cookies(plain: Stage) -> None:
    async def cookie(exchange: Exchange) -> None:
        await exchange.answer(headers={"Set-Cookie": "session=mine; Path=/"})

    plain.peer.script = cookie
    await opened(plain).send("GET", "/")
    await opened(plain, headers={"x-other": "issuer"}).send("GET", "/")
    assert plain.peer.connections == 1
    assert "cookie" not in plain.peer.received[1].headers


async def test_the_environment_names_no_proxy_and_no_login(
    plain: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = plain.folder / "netrc"
    netrc.write_text("machine localhost login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://localhost:1")
    await opened(plain).send("GET", "/")
    assert "authorization" not in plain.peer.received[0].headers


async def test_redirects_are_not_followed(plain: Stage) -> None:
    async def redirect(exchange: Exchange) -> None:
        await exchange.answer(302, b"", {"Location": f"{plain.peer.url}/elsewhere"})

    plain.peer.script = redirect
    reply = await opened(plain).send("GET", "/")
    assert reply.status == 302
    assert len(plain.peer.received) == 1
    with pytest.raises(BadAnswer, match="redirects are not followed"):
        raise_for_status(reply, Step.READ)


# What goes wrong before anything is sent.


async def unavailable(transport: Transport) -> str:
    with pytest.raises(Unavailable) as caught:
        await transport.send("POST", "/", json={})
    return caught.value.detail


async def test_nobody_listens(plain: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    words = await unavailable(opened(plain, base_url=f"https://127.0.0.1:{port}"))
    assert words == f"127.0.0.1:{port} refuses connections"


async def test_the_name_leads_nowhere(plain: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_name(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_name)
    words = await unavailable(opened(plain, base_url="https://ca.invalid/v2"))
    assert words == "the name of ca.invalid cannot be resolved"


async def test_a_name_that_no_host_can_have_is_no_crash(plain: Stage) -> None:
    assert await unavailable(opened(plain, base_url="https://xn--a/"))


async def test_nobody_accepts_the_connection(plain: Stage) -> None:
    # Connections wait in the listener's queue; nothing of TLS comes back.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        words = await unavailable(opened(plain, base_url=url, timeout=0.1, deadline=10))
    assert words.endswith("could not be reached within 0.1 s")


async def test_whoever_listens_speaks_no_tls(plain: Stage) -> None:
    with running_proxy() as proxy:
        url = f"https://localhost:{proxy.port}"
        assert "localhost" in await unavailable(opened(plain, base_url=url, timeout=0.2))


async def test_a_peer_that_only_speaks_tls_11_is_refused(plain: Stage) -> None:
    context = server_context(plain.folder, SERVERS)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what this is about
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with refusing_peer(context) as port:
        words = await unavailable(opened(plain, base_url=f"https://localhost:{port}"))
    assert words == f"localhost:{port} speaks no version of TLS from 1.2 on"


async def test_a_peer_that_is_not_trusted_is_told_apart(plain: Stage) -> None:
    replace(plain.trust, pem(STRANGERS.root))
    words = await unavailable(opened(plain))
    assert f"the certificate of localhost:{plain.peer.port} is not trusted" in words
    assert f"the trust bundle {plain.trust}" in words
    words = await unavailable(opened(plain, trust_path=None))
    assert "name a trust bundle in the issuer's settings" in words
    assert not plain.peer.received


async def test_a_peer_with_another_name_is_refused(plain: Stage) -> None:
    words = await unavailable(opened(plain, base_url=f"https://127.0.0.1:{plain.peer.port}"))
    assert "not trusted" in words
    assert "127.0.0.1" in words
    assert not plain.peer.received


@pytest.mark.usefixtures("patient")
async def test_a_server_that_closes_after_the_handshake_was_not_called(stage: Stage) -> None:
    # asyncio's servers refuse a certificate without saying so.
    stage.install(stage.new_pair(3, STRANGERS))
    for _ in range(10):
        assert "right after the TLS handshake" in await unavailable(stage.open())


async def test_a_server_without_session_tickets_is_called_all_the_same(stage: Stage) -> None:
    context = server_context(stage.folder, SERVERS, clients=CLIENTS)
    context.num_tickets = 0
    with running_peer(context) as peer:
        await stage.open(base_url=peer.url).send("POST", "/", json={})
        assert len(peer.received) == 1


async def test_all_connections_are_busy(plain: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_CONNECTIONS", 1)
    release = threading.Event()

    async def slow(exchange: Exchange) -> None:
        await asyncio.to_thread(release.wait, 5)
        await exchange.answer()

    plain.peer.script = slow
    first = asyncio.ensure_future(opened(plain).send("POST", "/"))
    while not plain.peer.received:  # noqa: ASYNC110 # it is another thread's list
        await asyncio.sleep(0.005)
    assert "were busy for 0.1 s" in await unavailable(opened(plain, timeout=0.1, deadline=10))
    release.set()
    assert (await first).status == 200


# What goes wrong after the request was sent.


async def reset(exchange: Exchange) -> None:
    exchange.reset()


async def close(exchange: Exchange) -> None:
    await exchange.end()


async def garbage(exchange: Exchange) -> None:
    await exchange.raw(b"SECRET nonsense\r\n\r\n" * 10)
    await exchange.end()


async def broken_head(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Le")
    exchange.reset()


async def truncated(exchange: Exchange) -> None:
    await exchange.answer(body=b'{"id"', declared=100)
    await exchange.end()


async def truncated_chunks(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    await exchange.end()


async def reset_in_the_body(exchange: Exchange) -> None:
    await exchange.answer(body=b'{"id"', declared=100)
    exchange.reset()


async def huge_headers(exchange: Exchange) -> None:
    await exchange.answer(headers={f"X-{number}": "x" * 1000 for number in range(300)})


async def two_lengths(exchange: Exchange) -> None:
    await exchange.answer(headers={"Content-Length": "7"})


async def bad_length(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}")


AFTER = {
    "reset": (reset, "closed the connection without an answer"),
    "closed": (close, "closed the connection without an answer"),
    "garbage": (garbage, "is not HTTP"),
    "half a head": (broken_head, ""),
    "truncated": (truncated, "broke off"),
    "truncated chunks": (truncated_chunks, "broke off"),
    "reset in the body": (reset_in_the_body, "broke off"),
    "huge headers": (huge_headers, "is not HTTP"),
    "two lengths": (two_lengths, "is not HTTP"),
    "bad length": (bad_length, "is not HTTP"),
}


@pytest.mark.parametrize("how", AFTER)
@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
async def test_sent_and_no_whole_answer(plain: Stage, how: str, kept: bool) -> None:
    transport = opened(plain)
    if kept:
        await transport.send("POST", "/")
    script, words = AFTER[how]
    plain.peer.script = script
    with pytest.raises(NoAnswer) as caught:
        await transport.send("POST", "/", json={"csr": "x"})
    assert words in caught.value.detail
    assert "SECRET" not in caught.value.detail
    assert len(plain.peer.received) == 1 + kept, "what may have been acted upon is sent once"


@pytest.mark.parametrize("how", ["reset", "truncated"])
async def test_a_preparatory_call_without_answer_means_that_nothing_was_submitted(
    plain: Stage, how: str
) -> None:
    plain.peer.script = AFTER[how][0]
    with pytest.raises(Unavailable):
        await opened(plain).send("POST", "/login", preparatory=True)


async def stall(exchange: Exchange) -> None:
    await asyncio.sleep(5)


async def test_the_peer_says_nothing(plain: Stage) -> None:
    plain.peer.script = stall
    with pytest.raises(NoAnswer, match=r"did not answer within 0\.1 s"):
        await opened(plain, timeout=0.1, deadline=10).send("GET", "/")
    with pytest.raises(Unavailable, match=r"did not answer within 0\.1 s"):
        await opened(plain, timeout=0.1, deadline=10).send("GET", "/", preparatory=True)
    assert len(plain.peer.received) == 2, "a call that took long is not repeated"


async def drip(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        await exchange.raw(b"x")
        await asyncio.sleep(0.02)


async def test_a_peer_that_drips_holds_a_call_no_longer_than_its_deadline(plain: Stage) -> None:
    plain.peer.script = drip
    with pytest.raises(NoAnswer, match=r"did not answer completely within 0\.4 s"):
        await opened(plain, timeout=0.1).send("GET", "/")
    with pytest.raises(NoAnswer, match=r"within 0\.2 s"):
        await opened(plain, deadline=0.2).send("GET", "/")


async def test_a_deadline_before_anything_was_sent(
    plain: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(5)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    words = await unavailable(opened(plain, base_url="https://ca.invalid", deadline=0.1))
    assert words == "ca.invalid could not be reached within 0.1 s"


async def test_who_is_cancelled_is_cancelled_and_the_connection_is_not_used_again(
    plain: Stage,
) -> None:
    plain.peer.script = stall
    call = asyncio.ensure_future(opened(plain).send("POST", "/"))
    while not plain.peer.received:  # noqa: ASYNC110 # it is another thread's list
        await asyncio.sleep(0.005)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    async def ok(exchange: Exchange) -> None:
        await exchange.answer()

    plain.peer.script = ok
    assert (await opened(plain).send("POST", "/")).status == 200
    assert plain.peer.connections == 2
    await asyncio.wait_for(plain.transports.close(), 5)


async def test_a_kept_connection_closed_meanwhile_is_not_used(plain: Stage) -> None:
    transport = opened(plain)
    await transport.send("POST", "/")
    plain.peer.close_connections()
    await asyncio.sleep(0.05)
    await transport.send("POST", "/")
    assert plain.peer.connections == 2
    assert len(plain.peer.received) == 2


class Dead:
    """Resets the connection at the first request that comes over a kept one."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.seen: set[int] = set()

    async def __call__(self, exchange: Exchange) -> None:
        number = exchange.request.connection
        if number in self.seen and self.times:
            self.times -= 1
            exchange.reset()
            return
        self.seen.add(number)
        await exchange.answer()


@pytest.mark.parametrize(("method", "repeatable"), [("GET", None), ("HEAD", None), ("POST", True)])
async def test_what_may_be_repeated_is_sent_again_when_a_kept_connection_is_dead(
    plain: Stage, method: str, repeatable: bool | None
) -> None:
    plain.peer.script = Dead(times=1)
    transport = opened(plain)
    await transport.send("GET", "/")
    reply = await transport.send(method, "/again", repeatable=repeatable)
    assert reply.status == 200
    assert [request.target for request in plain.peer.received] == ["/", "/again", "/again"]


@pytest.mark.parametrize(
    ("method", "repeatable"), [("POST", None), ("DELETE", None), ("GET", False)]
)
async def test_what_may_not_be_repeated_is_sent_once(
    plain: Stage, method: str, repeatable: bool | None
) -> None:
    plain.peer.script = Dead(times=1)
    transport = opened(plain)
    await transport.send("GET", "/")
    with pytest.raises(NoAnswer):
        await transport.send(method, "/once", repeatable=repeatable)
    assert len(plain.peer.received) == 2


async def test_a_new_connection_that_breaks_is_not_tried_again(plain: Stage) -> None:
    plain.peer.script = reset
    with pytest.raises(NoAnswer):
        await opened(plain).send("GET", "/")
    assert len(plain.peer.received) == 1


async def test_an_answer_that_breaks_off_is_not_asked_for_again(plain: Stage) -> None:
    transport = opened(plain)
    await transport.send("GET", "/")
    plain.peer.script = truncated
    with pytest.raises(NoAnswer, match="broke off"):
        await transport.send("GET", "/")
    assert len(plain.peer.received) == 2


async def test_it_is_repeated_once_and_not_for_ever(plain: Stage) -> None:
    transport = opened(plain)
    await transport.send("GET", "/")
    plain.peer.script = reset
    with pytest.raises(NoAnswer):
        await transport.send("GET", "/")
    assert len(plain.peer.received) == 3


# Sizes.


async def test_an_answer_may_be_as_large_as_it_may_be(plain: Stage) -> None:
    async def chunks(exchange: Exchange) -> None:
        await exchange.raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"
        )

    plain.peer.script = chunks
    transport = opened(plain, max_answer_bytes=10)
    assert (await transport.send("GET", "/")).body == b"helloworld"
    with pytest.raises(BadAnswer, match="larger than 9 bytes"):
        await opened(plain, max_answer_bytes=9).send("GET", "/")


async def test_a_declared_size_that_is_too_large_is_not_waited_for(plain: Stage) -> None:
    async def large(exchange: Exchange) -> None:
        await exchange.answer(body=b"", declared=1_000_000_000)

    plain.peer.script = large
    with pytest.raises(BadAnswer, match="larger than 1048576 bytes"):
        await opened(plain).send("POST", "/")


async def test_the_size_that_a_head_declares_is_another_answers(plain: Stage) -> None:
    async def large(exchange: Exchange) -> None:
        await exchange.answer(body=b"", declared=1_000_000_000)

    plain.peer.script = large
    assert (await opened(plain).send("HEAD", "/")).body == b""


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
async def test_a_compressed_answer_is_bounded_by_what_it_grows_to(
    plain: Stage, twice: bool
) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(20)) + packer.flush()
    encoding = "gzip"
    if twice:
        bomb, encoding = gzip.compress(bomb), "gzip, gzip"

    async def explode(exchange: Exchange) -> None:
        await exchange.answer(body=bomb, headers={"Content-Encoding": encoding})

    assert len(bomb) < 1 << 20
    plain.peer.script = explode
    with pytest.raises(BadAnswer, match="larger than 1048576 bytes"):
        await opened(plain).send("GET", "/")


async def test_a_compressed_answer_is_read_though_it_was_not_asked_for(plain: Stage) -> None:
    async def packed(exchange: Exchange) -> None:
        body = gzip.compress(b'{"id": 7}')
        await exchange.answer(body=body, headers={"Content-Encoding": "gzip"})

    plain.peer.script = packed
    assert (await opened(plain).send("GET", "/")).json() == {"id": 7}
    assert plain.peer.received[0].headers["accept-encoding"] == "identity"


async def test_a_broken_compression_is_a_bad_answer(plain: Stage) -> None:
    async def packed(exchange: Exchange) -> None:
        await exchange.answer(body=b"nonsense", headers={"Content-Encoding": "gzip"})

    plain.peer.script = packed
    with pytest.raises(BadAnswer, match="compression is broken"):
        await opened(plain).send("GET", "/")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 10_000])
def test_what_is_no_json_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="not JSON"):
        Reply(200, {}, body).json()


# Proxies.


async def test_a_call_goes_through_the_proxy(stage: Stage) -> None:
    with running_proxy() as proxy:
        transport = stage.open(proxy_url=f"http://us%40er:pass%3Aword@localhost:{proxy.port}")
        for _ in range(2):
            await transport.send("POST", "/", json={})
    assert proxy.targets == [f"localhost:{stage.peer.port}"]
    assert proxy.logins == ["Basic dXNAZXI6cGFzczp3b3Jk"]
    assert stage.peer.received[0].serial is not None
    assert "proxy-authorization" not in stage.peer.received[0].headers


async def test_the_way_to_the_proxy_may_be_tls_too(plain: Stage) -> None:
    with running_proxy(server_context(plain.folder, SERVERS, which=1)) as proxy:
        url = f"https://localhost:{proxy.port}"
        assert (await opened(plain, proxy_url=url).send("GET", "/")).status == 200
        refused = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate: no handshake
        with running_peer(refused) as peer:
            transport = opened(plain, base_url=peer.url, proxy_url=url)
            assert f"no TLS connection with localhost:{peer.port}" in await unavailable(transport)
        replace(plain.trust, pem(STRANGERS.root))
        assert f"the proxy localhost:{proxy.port} is not trusted" in await unavailable(
            opened(plain, proxy_url=url)
        )


async def test_a_proxy_that_refuses(plain: Stage) -> None:
    with running_proxy() as proxy:
        proxy.refuse = b"HTTP/1.1 407 hunter22 is wrong"
        transport = opened(plain, proxy_url=f"http://user:hunter22@localhost:{proxy.port}")
        words = await unavailable(transport)
    assert words == f"the proxy localhost:{proxy.port} refuses to connect: 407 *** is wrong"


async def test_a_proxy_that_is_not_there(plain: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    words = await unavailable(opened(plain, proxy_url=f"http://u:hunter22@127.0.0.1:{port}"))
    assert words == f"the proxy 127.0.0.1:{port} refuses connections"


async def test_a_proxy_that_says_nothing(plain: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert "within 0.1 s" in await unavailable(
            opened(plain, proxy_url=url, timeout=0.1, deadline=10)
        )


async def test_failures_behind_the_proxy_use_up_no_connections(
    plain: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "MAX_CONNECTIONS", 2)
    replace(plain.trust, pem(STRANGERS.root))
    with running_proxy() as proxy:
        transport = opened(plain, proxy_url=f"http://localhost:{proxy.port}", timeout=0.5)
        for _ in range(5):
            assert "not trusted" in await unavailable(transport)
        replace(plain.trust, pem(SERVERS.root))
        assert (await transport.send("GET", "/")).status == 200


# What is refused when a transport is opened.


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.example.org",
        "ca.example.org/v2",
        "https://",
        "https:///v2",
        "https://user:hunter22@ca.example.org",
        "https://user@ca.example.org",
        "https://ca.example.org/v2?key=hunter22",
        "https://ca.example.org/v2?",
        "https://ca.example.org/#v2",
        "https://ca.example.org:0/",
        "https://ca.example.org:99999/",
        "https://ca.example.org:x/",
        "https://[::1/",
        "https://[not-ip]/",
        "https://ca example.org/",
        "https://.example.org/",
        "https://ca..example.org/",
        f"https://{'a' * 64}.example.org/",
        f"https://{'a.' * 130}org/",
        "https://ca.example.org/v2/../v1",
        "https://ca.example.org/%2e%2e/v1",
        "https://ca.example.org\\@evil.example.org/",
        "https://ca.example.org/\n",
        "https://cä.example.org/",
        "",
    ],
)
def test_a_base_url_that_cannot_be_used_is_refused_and_not_echoed(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Transports().open(Endpoint(url))
    assert "hunter22" not in caught.value.detail
    assert "example.org" not in caught.value.detail


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://CA.example.org", "ca.example.org"),
        ("https://ca.example.org:443/v2/", "ca.example.org"),
        ("https://ca.example.org:8443", "ca.example.org:8443"),
        ("https://[2001:DB8::1]:8443/a", "[2001:db8::1]:8443"),
        ("HTTPS://my_ca/", "my_ca"),
    ],
)
def test_the_host_is_named_with_its_port_where_that_says_something(url: str, host: str) -> None:
    assert Transports().open(Endpoint(url)).host == host


@pytest.mark.parametrize(
    "url",
    [
        "socks5://localhost:1080",
        "localhost:3128",
        "http://",
        "http://user:hunter22@localhost:port",
        "http://user:hunter22@localhost:3128/path",
        "",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_and_not_echoed(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Transports().open(Endpoint("https://ca.example.org", proxy_url=url))
    assert "hunter22" not in caught.value.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Api-Key", "hunter22\n"),
        ("X-Api-Key", "hunter22\r\nX-Other: 1"),
        ("X-Api-Key", " hunter22"),
        ("X-Api-Key", "hunter22\u20ac"),
        ("X Api", "hunter22"),
        ("", "hunter22"),
        ("Content-Length", "hunter22"),
        ("Transfer-Encoding", "hunter22"),
        ("Host", "hunter22"),
    ],
)
async def test_a_header_that_cannot_be_sent_is_refused_without_its_value(
    name: str, value: str
) -> None:
    with pytest.raises(Misconfigured) as caught:
        Transports().open(Endpoint("https://ca.example.org", headers={name: value}))
    assert "hunter22" not in caught.value.detail
    transport = Transports().open(Endpoint("https://ca.example.org"))
    with pytest.raises(Misconfigured):
        await transport.send("GET", "/", headers={name: value})


@pytest.mark.parametrize(("certificate", "key"), [("/some/file", None), (None, "/some/file")])
def test_a_certificate_and_its_key_belong_together(
    certificate: str | None, key: str | None
) -> None:
    with pytest.raises(Misconfigured, match="belong together"):
        Transports().open(Endpoint("https://ca.example.org", certificate, key))


@pytest.mark.parametrize(
    "path",
    [
        "/../admin",
        "/a/%2e%2E/b",
        "/a\\..\\b",
        "/a b",
        "/a#b",
        "/a\r\nb",
        "/orders/..;/x",
        "..",
        "/.",
    ],
)
async def test_a_path_that_climbs_is_not_called(path: str) -> None:
    transport = Transports().open(Endpoint("https://ca.example.org/v2"))
    with pytest.raises(BadAnswer):
        await transport.send("GET", path)


# Secrets.

SECRETS = {
    "key": "tok/en+with space",
    "password": 'quo"ted\\secret',
    "authorization": "bearer-credential-1",
    "api_key": "api-key-credential-2",
    "call": "call-credential-3",
    "proxy": "proxy-credential-4",
}


async def test_secrets_are_in_no_error_and_no_repr(plain: Stage) -> None:
    echoed = [
        *SECRETS.values(),
        "tok%2Fen%2Bwith%20space",
        "tok%2Fen%2Bwith+space",
        'quo\\"ted\\\\secret',
        "TOK/EN+WITH SPACE",
        "tok/en+with\tspace",
        "bearer-\x00credential-1",
    ]

    async def echo(exchange: Exchange) -> None:
        body = "\n".join(f"[{text}]" for text in echoed)
        await exchange.answer(400, body.encode(), {"Content-Type": "text/plain"})

    plain.peer.script = echo
    endpoint = Endpoint(
        plain.peer.url,
        trust_path=str(plain.trust),
        headers={
            "Authorization": f"Bearer {SECRETS['authorization']}",
            "X-Api-Key": SECRETS["api_key"],
        },
        secrets=(SECRETS["key"], SECRETS["password"], SECRETS["proxy"], ""),
    )
    reply = await plain.transports.open(endpoint).send(
        "POST", "/", headers={"X-Session-Token": SECRETS["call"]}
    )
    with pytest.raises(IssuerError) as caught:
        raise_for_status(reply, Step.SUBMIT)
    assert caught.value.detail.count("[***]") == len(echoed), caught.value.detail
    shown = f"{caught.value.detail} {endpoint!r} {reply!r} {reply.shown(reply.body.decode())}"
    for secret in SECRETS.values():
        assert secret not in shown


async def test_what_is_shown_is_one_line_without_controls_and_not_too_long(plain: Stage) -> None:
    async def long(exchange: Exchange) -> None:
        body = "\x1b[31mred\r\nfaked: log line \u202e" + "x" * 10_000
        await exchange.answer(400, body.encode(), {"Content-Type": "text/plain"})

    plain.peer.script = long
    with pytest.raises(IssuerError) as caught:
        raise_for_status(await opened(plain).send("GET", "/"), Step.READ)
    assert caught.value.detail.startswith("[31mred faked: log line xxx")
    assert len(caught.value.detail) < 520
    assert caught.value.detail.isprintable()


@pytest.mark.usefixtures("patient")
async def test_a_refused_client_certificate_is_not_the_cas_answer_to_an_order(
    stage: Stage,
) -> None:
    with refusing_peer(server_context(stage.folder, SERVERS, clients=STRANGERS)) as port:
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await stage.open(base_url=f"https://localhost:{port}").send("POST", "/", json={})


async def test_what_is_wrong_with_files_is_known_before_a_call(stage: Stage) -> None:
    await stage.open().prepare()
    stage.key.unlink()
    with pytest.raises(Misconfigured, match=r"client\.key"):
        await stage.open().prepare()
    assert stage.peer.received == []
    assert stage.peer.connections == 0
