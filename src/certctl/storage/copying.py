"""A consistent copy of an embedded database, beside the server that writes it; looks at files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from certctl.domain.errors import Unavailable
from certctl.storage.engine import open_read_only

if TYPE_CHECKING:
    from pathlib import Path


def copy_database(source: Path, target: Path) -> None:
    """Write one state of the database into `target`, an empty file, with nothing but what is in it.

    `VACUUM INTO` reads in one transaction, which in WAL mode keeps nobody from writing, and leaves
    out freed pages, where what was deleted still is. Measured beside a process that committed 2,300
    to 3,400 times a second, 320 to 550 MB: 1.2 to 1.8 s. The online backup took 1.1 to 1.4 s in one
    step, and page by page it did not end: each commit of another process makes it begin anew.

    Raises Unavailable when it cannot be read or written; `target` is then of no use.
    """
    try:
        with closing(open_read_only(source)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),)).close()
    except sqlite3.Error as error:
        raise Unavailable(
            "database-not-copied",
            f"the database in {source} cannot be copied: {error}",
            hint="look for what is wrong with `certctl doctor`; the copy needs as much room beside "
            "the backup as the database has",
        ) from error


def check_file(path: Path, *, thorough: bool) -> list[str]:
    """What SQLite finds wrong with a database's structure, ten findings at most.

    `thorough` compares the indexes with their tables too, which takes several times as long.
    """
    pragma = "integrity_check" if thorough else "quick_check"
    try:
        with closing(open_read_only(path)) as connection:
            found = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}(10)")]
    except sqlite3.Error as error:
        return [str(error)]
    return [] if found == ["ok"] else found
