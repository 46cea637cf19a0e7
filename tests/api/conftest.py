"""The API in the test's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certctl.domain.clock import SystemClock
from tests.support.control_plane import ControlPlane, control_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from certctl.storage.database import Database


@pytest.fixture
def clock() -> SystemClock:
    """Time goes on: the scheduler and what clients wait for depend on it."""
    return SystemClock()


@pytest.fixture
async def plane(database: Database, tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """A seeded control plane and a client with the admin key."""
    async with control_plane(database, tmp_path) as running:
        yield running
