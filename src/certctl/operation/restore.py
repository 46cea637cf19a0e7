"""Puts a backup into an empty data directory, all of it or nothing."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Misconfigured
from certctl.lifecycle.access import SYSTEM
from certctl.operation.bundle import Bundle, Manifest, open_bundle
from certctl.storage import audit_verification
from certctl.storage.copying import check_file
from certctl.storage.database import open_database
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.files import write_once
from certctl.storage.key_file import KEY_FILE, KeyFile
from certctl.storage.locks import LOCK_FILE, lock_data_dir
from certctl.storage.migrate import HEAD
from certctl.storage.restoring import restoring
from certctl.storage.sealing import SECRET_SETTING, Keyring, read_keyring

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.domain.clock import Clock
    from certctl.settings import Settings
    from certctl.storage.audit_verification import AuditReport

#: More problems than these are counted, not named.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored. `key_file` is the sealing key's new place, None where it has none."""

    data_dir: Path
    manifest: Manifest
    key_file: Path | None
    audit: AuditReport


def restore(
    path: Path,
    settings: Settings,
    *,
    key_from: Path | None,
    accept_audit_problems: bool,
    clock: Clock,
) -> RestoreReport:
    """Restore a backup into the settings' data directory, which is empty or not there.

    The sealing key is the one in `key_from`, else in the backup, else in
    CERTCTL_CONFIG_ENCRYPTION_KEY; the first two become the directory's `encryption.key`. Before
    anything has its place, the file's digest, the database's structure, the key and the audit
    chains are checked, and the tables brought up to date.

    Raises Misconfigured for whatever is refused, Unavailable, and OSError as it comes; then the
    directory is as empty as it was.
    """
    if settings.database_url is not None:
        raise Misconfigured(
            "backup-is-for-sqlite",
            "this installation is on PostgreSQL (CERTCTL_DATABASE_URL), which has tools of its own",
            hint='pg_restore --no-owner --dbname="$CERTCTL_DATABASE_URL" FILE puts a dump into an '
            "empty database. For a data directory: unset CERTCTL_DATABASE_URL",
        )
    with open_bundle(path) as bundle:
        _refuse_newer(bundle.manifest)
        keyring, key = _keyring(bundle, settings, key_from)
        data_dir = settings.data_dir
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock_data_dir(data_dir), restoring(data_dir) as staging:
            bundle.extract_database(staging / DATABASE_FILE)
            _check_structure(staging / DATABASE_FILE)
            if key is not None:
                write_once(staging / KEY_FILE, key, 0o600)
            audit = asyncio.run(
                _try_out(staging, keyring, bundle.manifest, accept_audit_problems, clock)
            )
            _give_to_owner(data_dir, staging)
    return RestoreReport(data_dir, bundle.manifest, data_dir / KEY_FILE if key else None, audit)


def _refuse_newer(manifest: Manifest) -> None:
    if manifest.schema_revision > HEAD:
        raise Misconfigured(
            "backup-too-new",
            f"the backup was made by certctl {manifest.certctl}, whose tables are of revision "
            f"{manifest.schema_revision}; this certctl knows them up to {HEAD}",
            hint="restore it with that version of certctl, or a newer one",
        )


def _keyring(
    bundle: Bundle, settings: Settings, key_from: Path | None
) -> tuple[Keyring, bytes | None]:
    """The keys that open the backup, and what `encryption.key` is to hold."""
    ids = ", ".join(bundle.manifest.keys)
    secret, further = settings.config_encryption_key, settings.config_decryption_keys
    content = None
    if key_from is not None or bundle.key is not None:
        if key_from is not None:
            secrets = KeyFile(key_from).read()
        else:
            secrets = (bundle.key or b"").decode("ascii").split()
        keyring = Keyring(*secrets)
        content = "".join(f"{each}\n" for each in secrets).encode("ascii")
    elif secret is not None:
        keyring = read_keyring(
            secret.get_secret_value(),
            settings.data_dir,
            required=True,
            further=further.get_secret_value() if further else None,
        )
    else:
        raise Misconfigured(
            "sealing-key-missing",
            "the backup was taken without the sealing key, and can be opened with nothing else",
            hint=f"name a copy of {KEY_FILE} with --key-file, or set {SECRET_SETTING}; the ids of "
            f"the keys that it needs: {ids}",
        )
    if not all(keyring.opens(each) for each in bundle.manifest.keys):
        raise Misconfigured(
            "sealing-key-wrong",
            "the sealing key is not the one that the backup was taken under",
            hint=f"name the {KEY_FILE} of that time with --key-file, or set {SECRET_SETTING} to "
            f"what it was; the ids of the keys that it needs: {ids}",
        )
    return keyring, content


def _check_structure(database: Path) -> None:
    problems = check_file(database, thorough=True)
    if problems:
        raise Misconfigured(
            "backup-damaged",
            f"the database in the backup is damaged: {_some(problems)}",
            hint="use another backup; this one was damaged before it was taken",
        )


async def _try_out(
    staging: Path,
    keyring: Keyring,
    manifest: Manifest,
    accept_audit_problems: bool,
    clock: Clock,
) -> AuditReport:
    """Open the database as a server does, verify it, and write down that it was restored."""
    database = await open_database(url=None, data_dir=staging, clock=clock, keyring=keyring)
    try:
        key = database.audit_key
        report = await database.read(lambda each: audit_verification.verify(each, key))
        if report.problems and not accept_audit_problems:
            raise Misconfigured(
                "audit-not-verified",
                f"the audit log in the backup does not verify: {_some(report.problems)}",
                hint="use another backup; or, if you know why this is so, restore it all the same "
                "with --accept-audit-problems",
            )
        event = AuditEvent(
            clock.now_ms(),
            SYSTEM.id,
            "database.restored",
            "database",
            DATABASE_FILE,
            {
                "created_at": manifest.created_at,
                "certctl": manifest.certctl,
                "problems": len(report.problems),
            },
        )
        await database.write(lambda transaction: transaction.audit(event))
    finally:
        await database.close()
    return report


def _give_to_owner(data_dir: Path, staging: Path) -> None:
    """What root has put there belongs to whom the directory belongs to: the service's user."""
    if os.geteuid() != 0:
        return
    owner = data_dir.stat()
    for path in (data_dir / LOCK_FILE, *staging.iterdir()):
        os.chown(path, owner.st_uid, owner.st_gid)


def _some(problems: list[str]) -> str:
    words = "; ".join(problems[:_NAMED])
    return words if len(problems) <= _NAMED else f"{words}; and {len(problems) - _NAMED} more"
