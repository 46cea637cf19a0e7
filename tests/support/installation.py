"""A data directory as a server leaves it: seeded, stopped, its sealing key in a file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from certctl.domain.clock import SystemClock
from certctl.lifecycle.seeding import seed, seed_admin_key
from certctl.storage.database import open_database
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.sealing import load_keyring

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from certctl.storage.database import Database

T = TypeVar("T")


def make_installation(data_dir: Path, *, secret: str | None = None) -> None:
    """Make one; with a `secret`, there is no file for the key."""
    data_dir.mkdir(mode=0o700)

    async def fill(database: Database) -> None:
        await seed(database, {})
        await seed_admin_key(database, data_dir)

    with_database(data_dir, fill, secret=secret)
    (data_dir / DATABASE_FILE).chmod(0o600)  # as under the server's umask


def with_database(
    data_dir: Path, work: Callable[[Database], Awaitable[T]], *, secret: str | None = None
) -> T:
    """What `work` makes of the database, opened as the server opens it."""

    async def run() -> T:
        database = await open_database(
            url=None,
            data_dir=data_dir,
            clock=SystemClock(),
            keyring=load_keyring(secret, data_dir, required=False),
        )
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())
