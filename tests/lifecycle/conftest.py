"""Orders with real waits, shortened."""

from __future__ import annotations

import pytest

from certctl.domain.clock import SystemClock


@pytest.fixture
def clock() -> SystemClock:
    """Time goes on: the scheduler and what clients wait for depend on it."""
    return SystemClock()
