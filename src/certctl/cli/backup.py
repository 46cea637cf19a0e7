"""`certctl backup`: works on the data directory itself, beside the server or without one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certctl.cli.installations import DataDir, which
from certctl.cli.progress import waiting
from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from certctl.operation.backup import BackupReport

app = command_group()


@app.command(
    epilog=examples(
        "certctl backup /srv/backup/certctl.tar",
        "certctl backup certctl.tar --data-dir /var/lib/certctl --force",
        "certctl backup certctl-with-key.tar --with-key",
    )
)
def backup(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to.")],
    with_key: Annotated[
        bool,
        typer.Option(
            "--with-key", help="Put encryption.key in as well: guard the file like the key."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a backup of the embedded database, while the server runs.

    The file holds one state of the database, with everything that was acknowledged before. Only
    you can read it (mode 0600). It goes back with certctl restore.

    The key that seals secrets is left out unless you say --with-key. Without it the backup is of no
    use, and with it the file gives away every secret: keep a copy of encryption.key in another
    place than the backups.

    With PostgreSQL, use pg_dump.
    """
    session = Session(context, as_json)

    from certctl.domain.clock import SystemClock
    from certctl.operation.backup import take_backup
    from certctl.operation.installation import find_settings

    settings = find_settings(which(session, data_dir))
    with waiting("Copying the database", watched=session.is_watched()):
        report = take_backup(settings, file, with_key=with_key, replace=force, clock=SystemClock())
    if session.options.json:
        typer.echo(json.dumps(_as_json(report), indent=2))
        return
    typer.echo(_told(report))
    if not report.manifest.has_key:
        session.note(
            f"The sealing key is not in it. Keep a copy of {report.key_file} apart."
            if report.key_file is not None
            else "The sealing key is not in it. Keep CERTCTL_CONFIG_ENCRYPTION_KEY apart."
        )


def _as_json(report: "BackupReport") -> dict[str, Any]:
    return {
        "file": str(report.path),
        "bytes": report.bytes,
        **report.manifest.model_dump(mode="json"),
    }


def _told(report: "BackupReport") -> str:
    from certctl.cli.tables import fields

    manifest = report.manifest
    return fields(
        [
            ("Backup", f"{report.path} ({report.bytes:,} bytes, mode 0600)"),
            ("Taken", manifest.created_at),
            ("By", f"certctl {manifest.certctl}, tables of revision {manifest.schema_revision}"),
            ("Sealing key", "in it: guard the file" if manifest.has_key else "not in it"),
            ("Its id", ", ".join(manifest.keys)),
        ]
    )
