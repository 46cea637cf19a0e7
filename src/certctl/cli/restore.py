"""`certctl restore`: works on a data directory in which nothing runs yet."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli.exit_codes import ExitCode
from certctl.cli.installations import which
from certctl.cli.progress import waiting
from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from certctl.operation.restore import RestoreReport

app = command_group()


@app.command(
    epilog=examples(
        "certctl restore certctl-with-key.tar --data-dir /var/lib/certctl",
        "certctl restore certctl.tar --key-file encryption.key --data-dir /tmp/trial",
    )
)
def restore(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What certctl backup wrote.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where to: an empty directory, or one that is not there yet. "
            "[env: CERTCTL_DATA_DIR]",
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The encryption.key of that time; it becomes the directory's. [default: the one "
            "in the backup, else CERTCTL_CONFIG_ENCRYPTION_KEY]",
        ),
    ] = None,
    accept_audit_problems: Annotated[
        bool,
        typer.Option(
            "--accept-audit-problems", help="Restore it although its audit log does not verify."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup into an empty data directory.

    Every byte of the file is checked first, then the database, the key and the audit log. All of
    it has its place at the end, or nothing: if this is cut off, run it again.

    What came after the backup is forgotten. REVOKE AGAIN what was revoked since: it is valid again
    for everybody who asks.

    With PostgreSQL, use pg_restore.
    """
    session = Session(context, as_json)

    from certctl.domain.clock import SystemClock
    from certctl.operation.installation import named_settings
    from certctl.operation.restore import restore as put_back

    settings = named_settings(which(session, data_dir))
    with waiting("Restoring, and checking what is restored", watched=session.is_watched()):
        report = put_back(
            file,
            settings,
            key_from=key_file,
            accept_audit_problems=accept_audit_problems,
            clock=SystemClock(),
        )
    if session.options.json:
        typer.echo(json.dumps(_as_json(report), indent=2))
    else:
        typer.echo(_told(report))
        session.note(
            f"What came after {report.manifest.created_at} is forgotten: revoke again what was "
            "revoked since. Then start the server."
        )
    if report.audit.problems:
        raise typer.Exit(ExitCode.AUDIT_PROBLEMS)


def _as_json(report: "RestoreReport") -> dict[str, object]:
    return {
        "data_dir": str(report.data_dir),
        **report.manifest.model_dump(mode="json"),
        "audit": {
            "chains": report.audit.chains,
            "events": report.audit.events,
            "problems": report.audit.problems,
        },
    }


def _told(report: "RestoreReport") -> str:
    from certctl.cli.tables import fields

    audit = report.audit
    checked = f"{audit.events} events in {audit.chains} chains"
    return fields(
        [
            ("Restored to", str(report.data_dir)),
            ("Taken", f"{report.manifest.created_at} by certctl {report.manifest.certctl}"),
            (
                "Audit log",
                f"does not verify: {'; '.join(audit.problems)}"
                if audit.problems
                else f"unaltered: {checked} checked",
            ),
            (
                "Sealing key",
                f"{report.key_file} (mode 0600)"
                if report.key_file is not None
                else "stays in CERTCTL_CONFIG_ENCRYPTION_KEY",
            ),
        ]
    )
