"""Keys made with the installed command, and two servers on one PostgreSQL that agree on them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.api import client_for
from tests.support.server import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.targets import DatabaseTarget

CERTIFICATES = "/api/v1/certificates"


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_key_that_one_server_revokes_another_refuses_within_a_second(
    database_target: DatabaseTarget, tmp_path: Path
) -> None:
    first = ServerProcess(tmp_path / "first", database_target.environment)
    second = ServerProcess(tmp_path / "second", database_target.environment)
    first.start()
    try:
        second.start()
        try:
            _revoke_through_one(first, second)
        finally:
            assert second.stop() == 0
    finally:
        assert first.stop() == 0


def _revoke_through_one(first: ServerProcess, second: ServerProcess) -> None:
    with client_for(first) as admin:
        for _ in range(3):
            made = admin.post("/api/v1/keys", json={"name": "x", "role": "viewer"}).json()
            with client_for(second, key=made["key"]) as elsewhere:
                assert elsewhere.get(CERTIFICATES).status_code == 200, "at once, at the other one"
                admin.post(f"/api/v1/keys/{made['id']}/revoke").raise_for_status()
                revoked_at = time.monotonic()
                while elsewhere.get(CERTIFICATES).status_code == 200:
                    assert time.monotonic() - revoked_at < 1.0
                    time.sleep(0.01)
                assert elsewhere.get(CERTIFICATES).status_code == 401
