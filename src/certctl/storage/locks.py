"""One process at a time in a data directory that holds an embedded database."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from certctl.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_FILE = "certctl.lock"


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process, until the block ends or the process dies.

    Raises Misconfigured (`data-dir-in-use`) at once when another process holds it.
    """
    # The file stays when the lock goes: removing it would let two processes lock two files.
    descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            raise Misconfigured(
                "data-dir-in-use",
                f"another certctl process (pid {holder or 'unknown'}) uses {data_dir}",
                field="CERTCTL_DATA_DIR",
                hint="stop that process, or give this one a data directory of its own; several "
                "processes on one database need PostgreSQL (CERTCTL_DATABASE_URL)",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
