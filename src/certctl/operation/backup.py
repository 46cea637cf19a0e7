"""Takes a backup of the embedded database, beside the server that writes it."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from certctl import __version__
from certctl.domain.clock import from_ms
from certctl.domain.errors import Conflict, Misconfigured, Unavailable
from certctl.operation.bundle import FORMAT, Manifest, write_bundle
from certctl.storage.copying import copy_database
from certctl.storage.engine import DATABASE_FILE, database_url, looking_engine
from certctl.storage.files import sync_directory
from certctl.storage.key_file import KEY_FILE, KeyFile
from certctl.storage.migrate import HEAD, current_revision
from certctl.storage.rotation import count_by_header
from certctl.storage.sealing import SECRET_SETTING, key_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certctl.domain.clock import Clock
    from certctl.settings import Settings


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that was taken. `key_file` is the sealing key's, if it is in a file."""

    path: Path
    bytes: int
    manifest: Manifest
    key_file: Path | None


def take_backup(
    settings: Settings, target: Path, *, with_key: bool, replace: bool, clock: Clock
) -> BackupReport:
    """Write a backup to `target`, mode 0600; it is there whole, or not at all.

    `with_key` puts the file of the sealing key into it; `replace` lets it take the place of a file
    that is there. Makes two temporary files beside `target`, each as big as the database.

    Raises Misconfigured, Conflict, Unavailable; OSError, with the file's name, as it comes.
    """
    _refuse_postgresql(settings)
    source = settings.data_dir / DATABASE_FILE
    _be_sure_it_can_be_read(source)
    if not replace and (target.exists() or target.is_symlink()):
        raise _exists(target)
    key_file = KeyFile(settings.data_dir / KEY_FILE)
    has_file = key_file.path.exists()
    if with_key and not has_file:
        raise Misconfigured(
            "key-not-in-a-file",
            f"there is no {KEY_FILE} in {settings.data_dir}: the sealing key is in "
            f"{SECRET_SETTING}",
            hint="leave --with-key out, and keep that value apart",
        )
    before = key_file.read() if with_key else []
    with _temporary(target) as copy:
        created = from_ms(clock.now_ms())  # whatever was acknowledged before is in the copy
        copy_database(source, copy)
        # A rotation may end, or begin, while the copy is made: what sealed anything in it was in
        # the file before or is now.
        secrets = list(dict.fromkeys([*key_file.read(), *before])) if with_key else []
        revision, keys = _look_into(copy)
        if with_key and not keys.keys() <= {key_id(secret) for secret in secrets}:
            raise Misconfigured(
                "key-file-not-this",
                f"{KEY_FILE} in {settings.data_dir} does not open all that is stored",
                hint="leave --with-key out, and keep the secrets apart that do: `certctl secrets` "
                "lists their ids",
            )
        manifest = Manifest(
            format=FORMAT,
            certctl=__version__,
            schema_revision=revision,
            created_at=created.isoformat(timespec="seconds").replace("+00:00", "Z"),
            keys=keys,
            has_key=with_key,
        )
        content = "".join(f"{secret}\n" for secret in secrets).encode("ascii")
        size = _write(target, manifest, copy, content if with_key else None, replace=replace)
    return BackupReport(target, size, manifest, key_file.path if has_file else None)


def _refuse_postgresql(settings: Settings) -> None:
    if settings.database_url is not None:
        raise Misconfigured(
            "backup-is-for-sqlite",
            "this installation is on PostgreSQL (CERTCTL_DATABASE_URL), which has tools of its own",
            hint='pg_dump --format=custom --file=FILE "$CERTCTL_DATABASE_URL" while certctl runs; '
            f"keep the value of {SECRET_SETTING} apart. For the database in a data directory: "
            "unset CERTCTL_DATABASE_URL",
        )


def _be_sure_it_can_be_read(source: Path) -> None:
    """Raise Misconfigured where there is no database; OSError, with its name, for one unreadable.

    SQLite would say of both no more than that it cannot open the file.
    """
    try:
        with source.open("rb"):
            pass
    except FileNotFoundError:
        raise Misconfigured(
            "database-not-found",
            f"there is no {DATABASE_FILE} in {source.parent}",
            field="CERTCTL_DATA_DIR",
            hint="name the server's data directory: --data-dir, or CERTCTL_DATA_DIR",
        ) from None


def _look_into(copy: Path) -> tuple[str, dict[str, int]]:
    """The revision of the tables, and how many values are under which key."""
    engine = looking_engine(database_url(None, copy.parent).set(database=str(copy)))
    try:
        revision = current_revision(engine)
        if revision is None:
            raise Misconfigured(
                "database-empty",
                f"there is a {DATABASE_FILE}, and it has no tables of certctl's",
                hint="start the server once, or name the right data directory: --data-dir",
            )
        if revision > HEAD:
            raise Misconfigured(
                "database-too-new",
                "the database is of a newer version of certctl than this command",
                hint="use that version's `certctl backup`",
            )
        with engine.connect() as connection:
            counts = count_by_header(connection)
    finally:
        engine.dispose()
    return revision, {header[1:].hex(): number for header, number in sorted(counts.items())}


def _write(
    target: Path, manifest: Manifest, copy: Path, key: bytes | None, *, replace: bool
) -> int:
    """Write the file beside its place, and put it there; its size in bytes."""
    with _temporary(target) as made:
        try:
            with made.open("r+b") as file:
                write_bundle(file, manifest, copy, key)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
        except OSError as error:
            raise Unavailable(
                "backup-not-written",
                f"the backup cannot be written: {error.strerror}",
                hint="make room, or choose another place: it needs twice the database's size",
            ) from error
        if replace:
            made.replace(target)
        else:
            try:  # a link, because renaming would replace a file that came meanwhile
                os.link(made, target)
            except FileExistsError:
                raise _exists(target) from None
        sync_directory(target.parent)
    return size


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """An empty file beside the target, mode 0600, that is gone when the block ends."""
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    except OSError as error:
        error.filename = str(target)  # not a name that nobody has chosen
        raise
    os.close(descriptor)
    path = Path(name)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        # What SQLite has beside a file that it is writing.
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)


def _exists(target: Path) -> Conflict:
    return Conflict(
        "backup-exists",
        f"{target} is there already",
        hint="choose another name, or replace it with --force",
    )
