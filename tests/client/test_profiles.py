"""The client's calls about profiles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from certctl.client import ApiError, ClientError
from certctl.schemas.profiles import ProfileCreate, ProfileUpdate
from tests.cli.fake_server import profile_view
from tests.client.script import LOST, Script, answer, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.client import Client

ID = "prof-shop"
RULES: dict[str, Any] = {
    "name": "Shop",
    "usages": ["serverAuth"],
    "name_kinds": ["dns"],
    "default_validity_seconds": 3600,
    "max_validity_seconds": 3600,
}

#: Method and address, how it is called, and whether repeating it is harmless.
CALLS: dict[str, tuple[str, Callable[[Client], Any], bool]] = {
    "create": (
        "POST /api/v1/profiles",
        lambda client: client.create_profile(ProfileCreate(**RULES)),
        False,
    ),
    "update": (
        "PUT /api/v1/profiles/prof-shop",
        lambda client: client.update_profile(ID, ProfileUpdate(**RULES, revision=3)),
        False,
    ),
    "enable": (
        "POST /api/v1/profiles/prof-shop/enable",
        lambda client: client.enable_profile(ID),
        True,
    ),
    "disable": (
        "POST /api/v1/profiles/prof-shop/disable",
        lambda client: client.disable_profile(ID),
        True,
    ),
    "show": ("GET /api/v1/profiles/prof-shop", lambda client: client.profile(ID), False),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_and_its_answer(name: str) -> None:
    address, call, _ = CALLS[name]
    script = Script(answer(200, profile_view()))
    with script.client() as client:
        result = call(client)
    (request,) = script.requests
    assert f"{request.method} {request.url.path}" == address
    assert json.loads(result.model_dump_json()) == profile_view()


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", ["create", "update"])
def test_what_may_have_been_done_is_not_done_again(name: str, error: Exception) -> None:
    script = Script(error)
    with script.client() as client, pytest.raises(ClientError) as caught:
        CALLS[name][1](client)
    if caught.value.uncertain:
        assert len(script.requests) == 1


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call[2]])
def test_what_is_harmless_is_asked_for_again(name: str) -> None:
    script = Script(httpx2.ReadError("reset"), answer(200, profile_view()))
    with script.client() as client:
        CALLS[name][1](client)
    assert len(script.requests) == 2


def test_listing_deleting_and_archiving() -> None:
    page = {"data": [profile_view()], "next": None}
    script = Script(
        answer(200, page), answer(200, page), httpx2.Response(204), httpx2.Response(204)
    )
    with script.client() as client:
        assert client.profiles().data[0].id == ID
        client.profiles(archived=True)
        client.delete_profile(ID)
        client.delete_profile(ID, archive=True)
    queries = [request.url.query for request in script.requests]
    assert queries == [b"", b"archived=true", b"", b"archive=true"]


def test_another_revision_is_an_error() -> None:
    script = Script(refusal(409, "profile-changed"))
    with script.client() as client, pytest.raises(ApiError) as caught:
        client.update_profile(ID, ProfileUpdate(**RULES, revision=2))
    assert caught.value.code == "profile-changed"
