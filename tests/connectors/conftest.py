"""Fixtures of calls over TLS: a peer that demands client certificates, and one that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certctl.connectors import progress
from tests.connectors.stage import CLIENTS, SERVERS, Stage
from tests.support.tls_peer import running_peer, server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def stage(tmp_path: Path, anyio_backend: str, socket_enabled: None) -> AsyncIterator[Stage]:
    """A peer that demands client certificates, and a client's pair installed."""
    with running_peer(server_context(tmp_path, SERVERS, clients=CLIENTS)) as peer:
        made = Stage(tmp_path, peer)
        made.install(made.new_pair(0))
        yield made
        await made.transports.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a server's refusal of our certificate however slow this machine is."""
    monkeypatch.setattr(progress, "_LEAST_WAIT", 10.0)
    monkeypatch.setattr(progress, "_GREATEST_WAIT", 10.0)


@pytest.fixture
async def plain(tmp_path: Path, anyio_backend: str, socket_enabled: None) -> AsyncIterator[Stage]:
    """A peer that asks for no client certificate; it is for `open` without a pair."""
    with running_peer(server_context(tmp_path, SERVERS)) as peer:
        made = Stage(tmp_path, peer)
        yield made
        await made.transports.close()
