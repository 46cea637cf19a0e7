"""Modes and owners of the data directory, and of the files with secrets in it and named by it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from certctl.operation.doctor.findings import Finding, error, warning, well
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.key_file import KEY_FILE
from certctl.storage.locks import LOCK_FILE
from certctl.storage.restoring import RESTORING

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.settings import Settings

CHECK = "files"

#: What belongs to the server's user alone.
_SECRET = (KEY_FILE, "admin.key", DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm")
_OTHERS = (LOCK_FILE, "ca.pem", "server.json")


def check_files(settings: Settings) -> list[Finding]:
    """The data directory, what certctl keeps in it, and the key of the operator's own HTTPS."""
    data_dir = settings.data_dir
    try:
        folder = data_dir.stat()
        listed = {path.name for path in data_dir.iterdir()}
    except FileNotFoundError:
        return [
            error(
                CHECK,
                f"there is no data directory {data_dir}",
                "name it with --data-dir or CERTCTL_DATA_DIR; the server makes it at its first "
                "start",
            )
        ]
    except OSError as fault:
        return [_unreadable(data_dir, fault)]
    found = judge_folder(data_dir, stat.S_IMODE(folder.st_mode))
    for name in (*_SECRET, *_OTHERS):
        if name in listed:
            found += _look_at(data_dir / name, folder.st_uid, is_secret=name in _SECRET)
    if RESTORING in listed:
        found.append(
            error(
                CHECK,
                f"a backup was being restored into {data_dir}, and that did not come to its end",
                "run that `certctl restore` again; it begins anew",
            )
        )
    if settings.server_tls_key_path is not None:
        found += _look_at(settings.server_tls_key_path, None, is_secret=True)
    return found or [well(CHECK, f"{data_dir} and what is in it are for their owner alone")]


def _look_at(path: Path, owner: int | None, *, is_secret: bool) -> list[Finding]:
    try:
        its = path.stat()
        readable = os.access(path, os.R_OK)
    except OSError as fault:
        return [_unreadable(path, fault)]
    found = judge_file(path, stat.S_IMODE(its.st_mode), is_secret=is_secret)
    if owner is not None and its.st_uid != owner:
        found.append(
            error(
                CHECK,
                f"{path} belongs to user {its.st_uid}, and its directory to user {owner}: the "
                "server, which runs as one of them, may not get at both",
                f"chown --reference={path.parent} {path}",
            )
        )
    if not readable:
        found.append(_unreadable(path, PermissionError(13, "Permission denied")))
    return found


def judge_folder(path: Path, mode: int) -> list[Finding]:
    """What is wrong with a data directory of this mode."""
    hint = f"chmod 700 {path}"
    if mode & 0o022:
        return [
            error(
                CHECK, f"others can put files into {path}, and take any away (mode {mode:o})", hint
            )
        ]
    if mode & 0o077:
        return [warning(CHECK, f"others can look into {path} (mode {mode:o})", hint)]
    return []


def judge_file(path: Path, mode: int, *, is_secret: bool) -> list[Finding]:
    """What is wrong with a file of this mode."""
    if is_secret and mode & 0o077:
        words = f"{path} holds secrets, and its mode lets in others than its owner ({mode:o})"
        return [error(CHECK, words, f"chmod 600 {path}")]
    if mode & 0o022:
        return [error(CHECK, f"others can change {path} (mode {mode:o})", f"chmod 644 {path}")]
    return []


def _unreadable(path: Path, fault: OSError) -> Finding:
    return error(
        CHECK,
        f"cannot look at {path}: {fault.strerror}",
        "run this as the server's user, or as root",
    )
