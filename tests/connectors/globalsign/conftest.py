"""The stand-in of HVCA, and a customer of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.hvca import hvca
from tests.connectors.globalsign.customer import Customer, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.hvca import Hvca


@pytest.fixture
def atlas(socket_enabled: None, tmp_path: Path) -> Iterator[Hvca]:
    """The published dialect."""
    del socket_enabled
    with hvca(tmp_path) as running:
        yield running


@pytest.fixture
def customer(atlas: Hvca, tmp_path: Path) -> Iterator[Customer]:
    """Somebody who has just logged in."""
    account = atlas.new_account()
    with connect(atlas, account, tmp_path) as client:
        found = Customer(atlas, account, client)
        assert found.log_in().status_code == 200
        yield found
