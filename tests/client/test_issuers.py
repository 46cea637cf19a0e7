"""The client's calls about issuers, uncertain orders and sealing keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from certctl.client import ApiError, ClientError
from certctl.schemas.issuers import IssuerCreate, IssuerLimits, IssuerUpdate
from certctl.schemas.orders import OrderResolve
from tests.cli.fake_server import ORDER, check_view, issuer_view, order_view, type_view
from tests.client.script import LOST, Script, answer, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.client import Client

ID = "iss-acme"
SEALING = {"source": "file", "keys": [{"key_id": "0a0b0c0d", "current": True, "values": 1}]}

#: Method and address, how it is called, what is answered, and whether repeating it is harmless.
CALLS: dict[str, tuple[str, Callable[[Client], Any], Any, bool]] = {
    "create": (
        "POST /api/v1/issuers",
        lambda client: client.create_issuer(IssuerCreate(name="A", type="AcmeTrust")),
        issuer_view(),
        False,
    ),
    "update": (
        "PUT /api/v1/issuers/iss-acme",
        lambda client: client.update_issuer(ID, IssuerUpdate(name="A", revision=3)),
        issuer_view(),
        False,
    ),
    "enable": (
        "POST /api/v1/issuers/iss-acme/enable",
        lambda client: client.enable_issuer(ID),
        issuer_view(),
        True,
    ),
    "disable": (
        "POST /api/v1/issuers/iss-acme/disable",
        lambda client: client.disable_issuer(ID),
        issuer_view(),
        True,
    ),
    "test": (
        "POST /api/v1/issuers/iss-acme/test",
        lambda client: client.test_issuer(ID),
        check_view(),
        False,
    ),
    "delete": (
        "DELETE /api/v1/issuers/iss-acme",
        lambda client: client.delete_issuer(ID),
        issuer_view(),
        False,
    ),
    "resolve": (
        f"POST /api/v1/orders/{ORDER}/resolve",
        lambda client: client.resolve_order(ORDER, OrderResolve(state="rejected")),
        order_view("rejected"),
        False,
    ),
    "rotate": (
        "POST /api/v1/secrets/rotate",
        lambda client: client.rotate_secrets(),
        {**SEALING, "resealed": 1},
        False,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_and_its_answer(name: str) -> None:
    address, call, body, _ = CALLS[name]
    script = Script(answer(200, body))
    with script.client() as client:
        result = call(client)
    (request,) = script.requests
    assert f"{request.method} {request.url.path}" == address
    sent = result.model_dump(mode="json")
    assert {key: sent[key] for key in body if key in sent} == {
        key: body[key] for key in body if key in sent
    }


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if not call[3]])
def test_what_may_have_been_done_is_not_done_again(name: str, error: Exception) -> None:
    """What certainly was not done may be, where the call is one that is repeated at all."""
    script = Script(error)
    with script.client() as client, pytest.raises(ClientError) as caught:
        CALLS[name][1](client)
    if caught.value.uncertain:
        assert len(script.requests) == 1


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call[3]])
def test_what_is_harmless_is_asked_for_again(name: str) -> None:
    script = Script(httpx2.ReadError("reset"), answer(200, CALLS[name][2]))
    with script.client() as client:
        CALLS[name][1](client)
    assert len(script.requests) == 2


def test_bodies_keep_what_is_null_on_purpose() -> None:
    """A secret that is null is taken away; one that is left out stays."""
    script = Script(answer(200, issuer_view()))
    update = IssuerUpdate(
        name="A",
        config={"api_url": "u", "pin": None},
        limits=IssuerLimits(max_concurrency=4),
        revision=3,
    )
    with script.client() as client:
        client.update_issuer(ID, update)
    assert json.loads(script.requests[0].content) == {
        "name": "A",
        "config": {"api_url": "u", "pin": None},
        "enabled": True,
        "limits": {"max_concurrency": 4},
        "source": "api",
        "revision": 3,
    }


def test_deleting_and_archiving() -> None:
    script = Script(httpx2.Response(204), answer(200, issuer_view(status="archived")))
    with script.client() as client:
        assert client.delete_issuer(ID) is None
        archived = client.delete_issuer(ID, archive=True)
    assert archived is not None
    assert archived.status == "archived"
    assert [request.url.query for request in script.requests] == [b"", b"archive=true"]


def test_listing_issuers_and_types() -> None:
    rows = {"data": [issuer_view()], "next": None}
    script = Script(
        answer(200, rows),
        answer(200, rows),
        answer(200, {"data": [type_view()], "next": None}),
        answer(200, SEALING),
    )
    with script.client() as client:
        assert client.issuers().data[0].id == ID
        client.issuers(archived=True)
        assert client.issuer_types().data[0].name == "AcmeTrust"
        assert client.sealing_status().keys[0].current
    assert [str(request.url.raw_path, "ascii") for request in script.requests] == [
        "/api/v1/issuers",
        "/api/v1/issuers?archived=true",
        "/api/v1/issuers/types",
        "/api/v1/secrets",
    ]


def test_what_takes_long_is_waited_for() -> None:
    timeouts: list[float] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        timeouts.append(request.extensions["timeout"]["read"])
        return answer(
            200, check_view() if "test" in request.url.path else SEALING | {"resealed": 0}
        )

    script = Script()
    script.handle = handle  # type: ignore[method-assign]  # a script of one line
    with script.client() as client:
        client.test_issuer(ID)
        client.rotate_secrets()
    assert timeouts == [180, 600]


def test_a_conflict_is_the_callers() -> None:
    script = Script(refusal(409, "issuer-changed"))
    with script.client() as client, pytest.raises(ApiError) as caught:
        client.update_issuer(ID, IssuerUpdate(name="A", revision=1))
    assert caught.value.code == "issuer-changed"
    assert len(script.requests) == 1
