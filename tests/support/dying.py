"""A control plane that is killed at a given moment of a revocation.

Run as `python -m tests.support.dying DATA_DIR MOMENT`, with the database in the environment as a
server has it. The CA writes what it is told into `books.txt`, one word a call, on disk before it
answers. With the moment `never` it carries on with what an earlier run left behind, until the CA
has confirmed, and prints the revocation's state.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certctl.domain.clock import SystemClock
from certctl.domain.keys import KeyType
from certctl.lifecycle.assembly import free_leases
from certctl.storage.database import open_database
from certctl.storage.sealing import Keyring
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.pki import make_csr, make_key
from tests.support.scripted_ca import ScriptedCA
from tests.support.targets import SECRET

if TYPE_CHECKING:
    from certctl.connectors.contract import RevocationPending, RevocationRequest, Revoked

#: When the process dies: before or after the CA was told, before or after it was asked.
MOMENTS = ("before revoke", "after revoke", "before poll-revocation", "after poll-revocation")
LEASE_SECONDS = 1.0
_PATH = "/api/v1/certificates"


class JournalCA(ScriptedCA):
    """Works on a revocation until it is asked about it; kills the process when it is time."""

    def __init__(self, books: Path, moment: str) -> None:
        super().__init__(["issue"])
        self._file = books
        self._moment = moment

    async def _revoke(self, action: str, request: RevocationRequest) -> Revoked | RevocationPending:
        self._die_if(f"before {action}")
        with self._file.open("a") as file:
            file.write(f"{action}\n")
            file.flush()
            os.fsync(file.fileno())
        self._die_if(f"after {action}")
        self.revocations = ["pending"] if action == "revoke" else ["done"]
        return await super()._revoke(action, request)

    def _die_if(self, moment: str) -> None:
        if moment == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(data_dir: Path, moment: str) -> None:
    database = await open_database(
        url=os.environ.get("CERTCTL_DATABASE_URL"),
        data_dir=data_dir,
        clock=SystemClock(),
        keyring=Keyring(SECRET),
    )
    if database.dialect == "sqlite":
        await free_leases(database)
    ca = JournalCA(data_dir / "books.txt", moment)
    async with control_plane(database, data_dir, ca=ca, lease_seconds=LEASE_SECONDS) as plane:
        if moment != "never":
            await _revoke_one(plane)
        print(await _outcome(plane))
    await database.close()


async def _revoke_one(plane: ControlPlane) -> None:
    csr = make_csr(make_key(KeyType.P256), ["www.example.org"])
    issued = await plane.client.post(
        _PATH, json={"issuer_id": "iss-slow", "csr": csr}, headers={"Prefer": "wait=20"}
    )
    certificate = issued.json()
    await plane.client.post(f"{_PATH}/{certificate['id']}/revoke", json={"reason": "keyCompromise"})


async def _outcome(plane: ControlPlane) -> str:
    """The state of the only revocation once it is confirmed, or after ten seconds."""
    state: Any = "missing"
    for _ in range(400):
        found = (await plane.client.get("/api/v1/revocations")).json()["data"]
        state = found[0]["state"] if found else "missing"
        if state == "confirmed":
            break
        await asyncio.sleep(0.025)
    return str(state)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
