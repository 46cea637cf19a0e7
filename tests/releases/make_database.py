"""Keep a database of this release: `python -m tests.releases.make_database [FOLDER]`.

Done once for each release, when its version is set; the folder bears its name and is committed.
Default: the release's folder beside this file.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes

from certctl import __version__
from certctl.connectors.contract import ExposesChain
from certctl.domain.clock import from_ms
from certctl.domain.polling import PollSchedule
from certctl.logs import configure_logs
from certctl.pki.certificates import split_pem_certificates
from certctl.storage.database import open_database
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.sealing import Keyring
from tests.releases import history
from tests.releases.kept import HERE, PRESENT, VALUES, Manifest, save, stored_values
from tests.support.clock import TurnableClock
from tests.support.control_plane import control_plane
from tests.support.pki import NOW_MS
from tests.support.targets import SECRET
from tests.support.timely_ca import TimelyCA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_DAY_MS = 86_400_000


def main(folder: Path) -> None:
    """Make the database in a folder of its own, and put it and its manifest into `folder`."""
    if folder.name != PRESENT:  # what an earlier release has written is never written again
        sys.exit(f"this is release {PRESENT}, so the folder's name is not {folder.name}")
    configure_logs("critical")
    target = folder.resolve()
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        made = asyncio.run(_Maker(Path(name), TurnableClock(NOW_MS), SECRET).make())
        database = Path(name) / DATABASE_FILE
        _fold(database)
        missing = _missing(database)
        if missing:
            sys.exit(f"the history does not reach {', '.join(missing)}")
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(database, target)
    save(target, made)
    for path in sorted(target.iterdir()):
        print(f"{path}: {path.stat().st_size} bytes")


@dataclass
class _Maker:
    """Makes the database in `data_dir`, which is the working directory too."""

    data_dir: Path
    clock: TurnableClock
    secret: str

    async def make(self) -> Manifest:
        """Go through the whole history, as two processes a month apart."""
        ends = from_ms(self.clock.ms + 3650 * _DAY_MS)
        history.write_sub_ca(self.data_dir, from_ms(self.clock.ms - _DAY_MS), ends)
        ca = TimelyCA(self.clock)
        async with self._process(ca) as process:
            api_keys = await history.set_up(process)
            api_keys["admin"] = process.plane.key
            await history.issue_locally(process)
            await history.revoke_slowly(process)
            await history.revoke_many(process)
            await history.order_slowly(process)
        self.clock.turn(days=31)
        async with self._process(ca) as process:
            await history.grow_old(process)
            repeatable = await history.leave_unfinished(process)
            pair = await history.own_certificate(process).current()
            fingerprints = _ca_fingerprints(process)
        names = ("admin.key", *history.SUB_CA_FILES)
        return Manifest(
            version=__version__,
            made_at=self.clock.ms,
            values=VALUES,
            encryption_key=self.secret,
            api_keys=api_keys,
            files={name: (self.data_dir / name).read_text() for name in names},
            issuer_secrets={history.SUB: {"key_password": history.SUB_CA_PASSWORD}},
            ca_fingerprints=fingerprints,
            server_names=list(history.SERVER_NAMES),
            server_serial=f"{split_pem_certificates(pair.certificates)[0].serial_number:x}",
            repeatable=repeatable,
        )

    @contextlib.asynccontextmanager
    async def _process(self, ca: TimelyCA) -> AsyncIterator[history.Process]:
        database = await open_database(
            url=None, data_dir=self.data_dir, clock=self.clock, keyring=Keyring(self.secret)
        )
        plane = control_plane(
            database, self.data_dir, ca=ca, schedule=PollSchedule(), run_scheduler=False
        )
        async with plane as running:
            yield history.Process(running, ca, self.clock, self.data_dir)
        await database.close()


def _ca_fingerprints(process: history.Process) -> dict[str, str]:
    found: dict[str, str] = {}
    for issuer in process.plane.services.catalog.issuers():
        connector = issuer.connector
        if isinstance(connector, ExposesChain):
            found[issuer.record.id] = connector.chain()[0].fingerprint(hashes.SHA256()).hex()
    return found


def _fold(database: Path) -> None:
    """Make one small file of the database and its log."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert not database.with_name(f"{DATABASE_FILE}-wal").exists()


def _missing(database: Path) -> list[str]:
    stored = stored_values(database, VALUES)
    return [
        f"{column} = {value}"
        for column, values in VALUES.items()
        for value in values
        if value not in stored[column]
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / PRESENT)
