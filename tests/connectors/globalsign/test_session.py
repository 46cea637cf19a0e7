"""Tokens: bought once for everybody, renewed in time, and again when the CA says it ended."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from certctl.connectors.errors import (
    BadAnswer,
    IssuerError,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from certctl.connectors.globalsign.config import GlobalSignConfig
from certctl.connectors.globalsign.session import NoLogin, Session
from certctl.connectors.triage import Step, raise_for_status

if TYPE_CHECKING:
    from tests.connectors.stage import Stage
    from tests.support.tls_peer import Exchange

pytestmark = pytest.mark.anyio

KEY, SECRET = "0123456789abcdef", "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Atlas:
    """Logs everybody in with a new token, and takes the newest one."""

    logins: int = 0
    #: What to answer next, whatever is asked: a status and a body.
    instead: list[tuple[int, bytes]] = field(default_factory=list)
    ended: bool = False

    @property
    def token(self) -> str:
        return f"token-{self.logins}-of-a-login"

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        if self.instead:
            await exchange.answer(*self.instead.pop(0))
        elif request.target == "/v2/login":
            await asyncio.sleep(0.05)  # so that others come meanwhile
            self.logins, self.ended = self.logins + 1, False
            await exchange.answer(200, json.dumps({"access_token": self.token}).encode())
        elif self.ended or request.headers.get("authorization") != f"Bearer {self.token}":
            await exchange.answer(401, b'{"description": "the token has ended"}')
        else:
            await exchange.answer(200, b'{"value": 5}')


@dataclass
class Scene:
    stage: Stage
    atlas: Atlas
    session: Session
    seconds: list[float]

    def asked(self) -> list[str]:
        return [request.target for request in self.stage.peer.received]


@pytest.fixture
def scene(stage: Stage) -> Scene:
    atlas, seconds = Atlas(), [1000.0]
    stage.peer.script = atlas
    config = GlobalSignConfig.model_validate(
        {
            "api_url": stage.peer.url,
            "api_key": KEY,
            "api_secret": SECRET,
            "client_cert_path": str(stage.certificate),
            "client_key_path": str(stage.key),
            "server_ca_path": str(stage.trust),
        }
    )
    transport = stage.transports.open(config.endpoint({}))
    return Scene(stage, atlas, Session(config, transport, lambda: seconds[0]), seconds)


async def test_many_calls_at_once_share_one_login(scene: Scene) -> None:
    replies = await asyncio.gather(*(scene.session.send("GET", "/quotas") for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert scene.asked().count("/v2/login") == 1
    assert len(scene.asked()) == 21


async def test_the_login_carries_key_and_secret_and_nothing_else_does(scene: Scene) -> None:
    await scene.session.send("POST", "/certificates", json={"a": 1})
    login, order = scene.stage.peer.received
    assert json.loads(login.body) == {"api_key": KEY, "api_secret": SECRET}
    for request in (login, order):
        assert request.headers["content-type"] == "application/json;charset=utf-8"
        assert request.serial is not None, "the client certificate is presented always"
    sent = str(order.headers) + order.body.decode()
    assert KEY not in sent
    assert SECRET not in sent


async def test_a_token_is_renewed_before_its_ten_minutes_end(scene: Scene) -> None:
    await scene.session.send("GET", "/quotas")
    scene.seconds[0] += 530
    await scene.session.send("GET", "/quotas")
    assert scene.atlas.logins == 1
    scene.seconds[0] += 30
    await scene.session.send("GET", "/quotas")
    assert scene.atlas.logins == 2
    assert scene.asked()[-2:] == ["/v2/login", "/v2/quotas"]


async def test_a_token_that_has_ended_is_renewed_once_and_the_call_made_again(
    scene: Scene,
) -> None:
    await scene.session.send("GET", "/quotas")
    scene.atlas.ended = True
    replies = await asyncio.gather(
        *(scene.session.send("POST", "/certificates", json=n) for n in range(8))
    )
    assert {reply.status for reply in replies} == {200}
    assert scene.atlas.logins == 2


async def test_a_second_refusal_is_an_answer(scene: Scene) -> None:
    await scene.session.log_in()
    login = json.dumps({"access_token": "another-token"}).encode()
    scene.atlas.instead = [(401, b"{}"), (200, login), (401, b'{"description": "no"}')]
    reply = await scene.session.send("GET", "/quotas")
    assert reply.status == 401
    with pytest.raises(Unauthorized):
        raise_for_status(reply, Step.READ)


@pytest.mark.parametrize("status", [400, 401, 422])
async def test_a_refused_login_is_final_and_says_which_half_was_wrong(
    scene: Scene, status: int
) -> None:
    scene.atlas.instead = [(status, b'{"description": "unknown API key"}')] * 2
    with pytest.raises(Unauthorized, match=r"API key and secret.*unknown API key"):
        await scene.session.send("GET", "/quotas")
    assert scene.asked() == ["/v2/login"]


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_without_a_login_is_known_as_such(scene: Scene, status: int) -> None:
    scene.atlas.instead = [(status, b"{}")]
    with pytest.raises(NoLogin, match="api_url"):
        await scene.session.log_in()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, b'{"description": "Rate Limit Reached"}', RateLimited),
        (503, b'{"description": "Service busy"}', Unavailable),
        (200, b"<html>", BadAnswer),
        (200, b'{"access_token": 5}', BadAnswer),
        (200, b'{"access_token": "with a space"}', BadAnswer),
        (200, b'{"access_token": ""}', BadAnswer),
    ],
)
async def test_a_login_that_fails_is_told_from_one_that_is_refused(
    scene: Scene, status: int, body: bytes, error: type[IssuerError]
) -> None:
    scene.atlas.instead = [(status, body)]
    with pytest.raises(error) as raised:
        await scene.session.log_in()
    assert type(raised.value) is error
    await scene.session.log_in()  # and is made again


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_what_cannot_be_read_of_the_account_refuses_no_order(
    scene: Scene, status: int
) -> None:
    await scene.session.log_in()
    scene.atlas.instead = [(status, b'{"description": "not for you"}')]
    with pytest.raises(BadAnswer, match="not for you"):
        await scene.session.read("/trustchain")


async def test_a_login_that_breaks_off_has_ordered_nothing(scene: Scene) -> None:
    async def reset(exchange: Exchange) -> None:
        exchange.reset()

    scene.stage.peer.script = reset
    with pytest.raises(Unavailable):
        await scene.session.send("POST", "/certificates", json={})


async def test_neither_token_nor_secret_is_shown_of_an_answer(scene: Scene) -> None:
    await scene.session.log_in()
    words: dict[str, Any] = {"description": f"no: {scene.atlas.token} {KEY} {SECRET}"}
    scene.atlas.instead = [(400, json.dumps(words).encode())]
    reply = await scene.session.send("GET", "/quotas")
    with pytest.raises(IssuerError) as raised:
        raise_for_status(reply, Step.READ)
    for secret in (scene.atlas.token, KEY, SECRET):
        assert secret not in raised.value.detail
