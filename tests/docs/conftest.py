"""One server for all that a page says of a connector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pytest_socket import enable_socket

from tests.conformance.hvca import hvca
from tests.conformance.hvca.policy import permissive_policy
from tests.docs.globalsign_stage import Stage
from tests.support.api import client_for
from tests.support.server import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    enable_socket()  # the next test's set-up takes it away again
    folder = tmp_path_factory.mktemp("stage")
    places = {name: folder / name for name in ("atlas", "headers")}
    for place in places.values():
        place.mkdir()
    with (
        hvca(places["atlas"], "atlas") as atlas,
        hvca(places["headers"], "headers") as headers,
        running_server(folder / "data", extra={"CERTCTL_SCHEDULE_SCALE": "0.05"}) as server,
        client_for(server) as client,
    ):
        stage = Stage(folder, atlas, headers, client)
        for ca in (atlas, headers):
            stage.settings[ca] = ca.settings(ca.new_account(), places[ca.dialect])
        yield stage


@pytest.fixture
def stage(shared: Stage) -> Iterator[Stage]:
    """The stage, whose CAs have forgotten what they were told before."""
    yield shared
    for ca in (shared.atlas, shared.headers):
        ca.behave()
        ca.policy, ca.quota, ca.issue_seconds = permissive_policy(), None, 0.0
