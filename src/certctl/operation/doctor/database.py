"""Whether the database is there, is of this version, and is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.errors import CertctlError
from certctl.operation.doctor.findings import Finding, error, note, well
from certctl.storage.copying import check_file
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.migrate import HEAD

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.settings import Settings
    from certctl.storage.inspection import Inspection

CHECK = "database"


def check_database(settings: Settings, inspection: Inspection) -> tuple[list[Finding], bool]:
    """What is found, and whether its tables can be read by this version."""
    if inspection.dialect == "sqlite":
        found = _check_file(settings.data_dir / DATABASE_FILE)
        if found:
            return found, False
    try:
        revision = inspection.revision()
    except CertctlError as fault:
        hint = "look whether it runs, and at host, name and password in CERTCTL_DATABASE_URL"
        return [error(CHECK, fault.detail, hint)], False
    return judge_revision(revision, inspection.dialect), revision == HEAD


def _check_file(path: Path) -> list[Finding]:
    """What keeps an embedded database from being looked into."""
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        hint = "the first start of the server makes it; or name another --data-dir"
        return [note(CHECK, f"there is no {path}", hint)]
    except OSError as fault:
        hint = "run this as the server's user, or as root"
        return [error(CHECK, f"cannot read {path}: {fault.strerror}", hint)]
    return judge_structure(path, check_file(path, thorough=False))


def judge_revision(revision: str | None, dialect: str) -> list[Finding]:
    """What tables of this revision mean for this version of certctl."""
    if revision is None:
        return [note(CHECK, "it is empty", "the first start of the server makes its tables")]
    if revision > HEAD:
        return [
            error(
                CHECK,
                f"its tables are of revision {revision}, and this certctl knows them up to {HEAD}",
                "run the version of certctl that the server had, or a newer one",
            )
        ]
    if revision < HEAD:
        return [
            note(
                CHECK,
                f"its tables are of revision {revision}, older than this certctl's ({HEAD}): what "
                "is in them was not looked at",
                "take a backup; the next start of the server brings them up to date",
            )
        ]
    return [well(CHECK, f"{dialect}, tables of revision {revision}")]


def judge_structure(path: Path, problems: list[str]) -> list[Finding]:
    """What SQLite's own check means."""
    if not problems:
        return []
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return [
        error(
            CHECK,
            f"{path} is damaged: {problems[0]}{more}",
            "stop the server, keep a copy of the directory as it is, and restore the newest "
            "backup with `certctl restore`; look for what is wrong with the disk",
        )
    ]
