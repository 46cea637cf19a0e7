"""Which installation is meant: its settings, with the data directory that was named or found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from certctl.domain.errors import Misconfigured
from certctl.settings import load_settings
from certctl.storage.engine import DATABASE_FILE

if TYPE_CHECKING:
    from certctl.settings import Settings

#: Where the service of the unit file keeps its data.
_SERVICE_DATA_DIR = Path("/var/lib/certctl")
_FILES = (DATABASE_FILE, "server.json", "admin.key", "ca.pem")


def find_settings(data_dir: Path | None) -> Settings:
    """The settings of the installation on this machine, from the environment of this process.

    `data_dir` wins over CERTCTL_DATA_DIR; where nobody names one, it is `./data`, or else
    /var/lib/certctl where a server was there. Raises Misconfigured.
    """
    settings = load_settings({"data_dir": data_dir} if data_dir is not None else None)
    named = "data_dir" in settings.model_fields_set
    if not named and not _was_here(settings.data_dir) and _was_here(_SERVICE_DATA_DIR):
        return load_settings({"data_dir": _SERVICE_DATA_DIR})
    return settings


def named_settings(data_dir: Path | None) -> Settings:
    """The settings with the data directory that was named: one is made there, so none is guessed.

    Raises Misconfigured where neither `data_dir` nor CERTCTL_DATA_DIR names one.
    """
    settings = load_settings({"data_dir": data_dir} if data_dir is not None else None)
    if "data_dir" not in settings.model_fields_set:
        raise Misconfigured(
            "data-dir-not-named",
            "it is not said which data directory to restore into",
            field="CERTCTL_DATA_DIR",
            hint="name it: --data-dir DIR, or CERTCTL_DATA_DIR",
        )
    return settings


def _was_here(data_dir: Path) -> bool:
    try:
        return any((data_dir / name).exists() for name in _FILES)
    except PermissionError:  # then it is somebody's, and looking at it finds the words
        return True
