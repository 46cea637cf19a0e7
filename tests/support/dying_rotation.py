"""A rotation of the sealing key that is killed at a given moment.

Run as `python -m tests.support.dying_rotation DATA_DIR MOMENT`, with the settings of database and
keys in the environment as a server has them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from certctl.domain.clock import SystemClock
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.secrets import Secrets
from certctl.storage import rotation
from certctl.storage.database import Database, open_database
from certctl.storage.issuers import IssuerRecord, insert_issuer, list_issuers
from certctl.storage.key_file import KeyFile
from certctl.storage.sealed_values import StoredState
from certctl.storage.sealing import load_keyring
from certctl.storage.tables import sealed_values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from sqlalchemy import Connection

#: With the key in a file, in the order in which they come.
FILE_MOMENTS = (
    "before file 1",
    "within file 1",
    "after file 1",
    "before batch 1",
    "within batch 1",
    "after batch 1",
    "within batch 2",
    "after batch 3",
    "before file 2",
    "within file 2",
    "after file 2",
)
#: With keys in the environment there is no file to be written.
ENVIRONMENT_MOMENTS = tuple(moment for moment in FILE_MOMENTS if "file" not in moment)

VALUES = 12
ISSUERS = 5
#: Few enough that a rotation takes several batches.
_BATCH = 5


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Dying:
    """Counts what happens and dies when it is time."""

    def __init__(self, moment: str) -> None:
        self._moment = moment
        self._counts: dict[str, int] = {}

    def at(self, when: str, what: str) -> None:
        """Die here if this is the moment; `before` counts."""
        if when == "before":
            self._counts[what] = self._counts.get(what, 0) + 1
        if self._moment == f"{when} {what} {self._counts[what]}":
            _die()

    def install(self) -> None:
        """Have the moments noticed."""
        write, rename, apply = KeyFile.write, Path.replace, rotation._apply

        def write_file(file: KeyFile, secret_values: Sequence[str]) -> None:
            self.at("before", "file")
            write(file, secret_values)
            self.at("after", "file")

        def replace(path: Path, target: Path) -> Path:
            self.at("within", "file")
            return rename(path, target)

        def apply_batch(*arguments: Any) -> int:
            count = apply(*arguments)
            self.at("within", "batch")
            return count

        patched: list[tuple[Any, str, Any]] = [
            (KeyFile, "write", write_file),
            (Path, "replace", replace),
            (rotation, "_apply", apply_batch),
        ]
        for owner, name, function in patched:
            setattr(owner, name, function)

    def watch(self, database: Database) -> None:
        """Have the writes of a rotation's batches noticed."""
        write = database.write

        async def write_batch(fn: Callable[..., Any]) -> Any:
            is_batch = getattr(fn, "func", None) is rotation._apply
            if is_batch:
                self.at("before", "batch")
            value = await write(fn)
            if is_batch:
                self.at("after", "batch")
            return value

        database.write = write_batch  # type: ignore[method-assign] # that is the point of it


async def fill(database: Database) -> None:
    """Store what a rotation has to seal anew."""
    for number in range(VALUES):
        await StoredState(database, "iss-a").put_if_absent(f"{number}", f"{number}".encode())
    for number in range(ISSUERS):
        record = IssuerRecord(
            f"iss-{number}", f"{number}", "Some", {}, {"t": f"{number}"}, "api", True, 1, 1, 1
        )
        await database.write(lambda t, r=record: insert_issuer(t, database.keyring, r))  # type: ignore[misc] # bound now


def count_opened(database: Database, connection: Connection) -> int:
    """Open everything, which must say what `fill` has stored; how much there is."""
    rows = connection.execute(select(sealed_values)).all()
    for row in rows:
        value = database.keyring.open(row.scope, row.name, row.sealed)
        if row.scope == "iss-a" and value != row.name.encode():
            raise ValueError("a value says something else")
    found = list_issuers(connection, database.keyring)
    if any(record.secrets != {"t": record.name} for record in found):
        raise ValueError("an issuer says something else")
    return len(rows) + len(found)


@asynccontextmanager
async def opened(
    data_dir: Path, environment: Mapping[str, str]
) -> AsyncIterator[tuple[Database, Secrets]]:
    """The database, with the keys of these settings, and what rotates them."""
    url = environment.get("CERTCTL_DATABASE_URL")
    keyring = load_keyring(
        environment.get("CERTCTL_CONFIG_ENCRYPTION_KEY"),
        data_dir,
        required=url is not None,
        further=environment.get("CERTCTL_CONFIG_DECRYPTION_KEYS"),
    )
    database = await open_database(url=url, data_dir=data_dir, clock=SystemClock(), keyring=keyring)
    try:
        yield database, Secrets(database, database.clock)
    finally:
        await database.close()


async def main(data_dir: Path, moment: str) -> None:
    """Rotate until it is time to die."""
    rotation.reseal.__defaults__ = (_BATCH,)
    async with opened(data_dir, os.environ) as (database, secrets):
        dying = _Dying(moment)
        dying.install()
        dying.watch(database)
        await secrets.rotate(SYSTEM)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
