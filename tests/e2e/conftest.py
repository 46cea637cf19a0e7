"""End-to-end tests talk to real servers on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.server import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.targets import DatabaseTarget


@pytest.fixture(autouse=True)
def _sockets(socket_enabled: None) -> None:
    """Sockets are off elsewhere."""


@pytest.fixture
def server(database_target: DatabaseTarget, tmp_path: Path) -> Iterator[ServerProcess]:
    """A running server on SQLite, then one on PostgreSQL."""
    process = ServerProcess(tmp_path / "data", database_target.environment)
    process.start()
    yield process
    process.stop()
