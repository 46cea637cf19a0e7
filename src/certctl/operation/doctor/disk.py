"""Room on the disk, and the size of the database's log."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from certctl.operation.doctor.findings import Finding, error, warning, well
from certctl.storage.engine import DATABASE_FILE

if TYPE_CHECKING:
    from pathlib import Path

CHECK = "disk"

_MIB = 1024 * 1024
#: Below this a burst of orders may find the disk full.
LEAST_FREE = 100 * _MIB
USUAL_FREE = 1024 * _MIB
#: The server takes its log over at 16 MiB and cuts it to 64.
GREATEST_LOG = 256 * _MIB


def check_disk(data_dir: Path) -> list[Finding]:
    """Both, for a data directory that is there. Raises OSError."""
    free = shutil.disk_usage(data_dir).free
    database = _size(data_dir / DATABASE_FILE)
    return [
        judge_room(data_dir, free, database),
        *judge_log(_size(data_dir / f"{DATABASE_FILE}-wal")),
    ]


def judge_room(data_dir: Path, free: int, database: int) -> Finding:
    """Whether so many free bytes are enough beside a database of so many."""
    room = f"{free // _MIB:,} MiB are free for {data_dir}"
    hint = "make room there, or move the data directory to a larger disk"
    if free < LEAST_FREE:
        return error(CHECK, f"{room}: when the disk is full, nothing is issued or revoked", hint)
    if free < max(USUAL_FREE, 2 * database):
        return warning(
            CHECK, f"{room}, and the database has {database // _MIB:,} MiB and grows", hint
        )
    return well(CHECK, room)


def judge_log(size: int) -> list[Finding]:
    """What is wrong with a write-ahead log of so many bytes."""
    if size <= GREATEST_LOG:
        return []
    return [
        warning(
            CHECK,
            f"the database's log has grown to {size // _MIB:,} MiB: something reads in one "
            "transaction that does not end",
            "end what has certctl.db open beside the server (`lsof`), or restart the server",
        )
    ]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
