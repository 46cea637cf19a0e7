"""A data directory that a backup is being put into: whole, or known not to be.

Everything is made in a folder inside it, which marks the directory as unfinished until the last
file has its place. Whatever dies in between, no server starts on a half, and the next restore
begins again.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from certctl.domain.errors import Misconfigured
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.files import sync_directory, sync_file
from certctl.storage.key_file import KEY_FILE
from certctl.storage.locks import LOCK_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESTORING = ".restoring"
#: In the order in which they are put in place.
_PLACED = (KEY_FILE, DATABASE_FILE)


def refuse_unfinished(data_dir: Path) -> None:
    """Raise Misconfigured (`restore-unfinished`) where a restore did not come to its end."""
    if (data_dir / RESTORING).exists():
        raise Misconfigured(
            "restore-unfinished",
            f"a backup was being restored into {data_dir}, and that did not come to its end",
            field="CERTCTL_DATA_DIR",
            hint="run that `certctl restore` again; it begins anew",
        )


@contextmanager
def restoring(data_dir: Path) -> Iterator[Path]:
    """A folder to make `certctl.db`, and `encryption.key` if it is to be one, in.

    They are in the data directory when the block ends; when it raises, the directory is as empty as
    it was. The caller holds the directory's lock. Raises Misconfigured (`data-dir-not-empty`).
    """
    staging = data_dir / RESTORING
    if staging.exists():  # an earlier one died: the directory was empty before it
        _take_back(data_dir)
    others = sorted(path.name for path in data_dir.iterdir() if path.name != LOCK_FILE)
    if others:
        raise Misconfigured(
            "data-dir-not-empty",
            f"{data_dir} is not empty: there is {others[0]}"
            + (f", and {len(others) - 1} more" if len(others) > 1 else ""),
            field="CERTCTL_DATA_DIR",
            hint="restore into an empty directory, or one that is not there yet; move what is "
            "here away first if this is the place",
        )
    staging.mkdir(mode=0o700)
    sync_directory(data_dir)
    try:
        yield staging
        _finish(staging)
    except BaseException:
        _take_back(data_dir)
        raise
    for name in _PLACED:
        if (staging / name).exists():
            (staging / name).rename(data_dir / name)
    sync_directory(data_dir)
    shutil.rmtree(staging)
    sync_directory(data_dir)


def _finish(staging: Path) -> None:
    if any(staging.glob("*-wal")):  # what is in it would be left behind
        raise RuntimeError("the database in the staging folder was not closed")
    for name in _PLACED:
        if (staging / name).exists():
            sync_file(staging / name)
    sync_directory(staging)


def _take_back(data_dir: Path) -> None:
    for name in _PLACED:
        (data_dir / name).unlink(missing_ok=True)
    sync_directory(data_dir)
    shutil.rmtree(data_dir / RESTORING)
    sync_directory(data_dir)
