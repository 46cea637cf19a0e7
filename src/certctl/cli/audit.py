"""`certctl audit`."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli import known
from certctl.cli.exit_codes import ExitCode
from certctl.cli.listing import show_list
from certctl.cli.options import Force, OutFile
from certctl.cli.session import All, AsJson, Limit, Session, command_group, examples
from certctl.cli.times import moment

if TYPE_CHECKING:
    from certctl.cli.tables import Table
    from certctl.schemas.audit import AuditEventView, AuditVerification

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "certctl audit --limit 20",
        "certctl audit --object cert-...",
        "certctl audit --action certificate.revoked --from 2026-01-01",
        "certctl audit --action issuer. --actor admin",
        "certctl audit --all --json > audit.json",
        "certctl audit verify",
    ),
)
def list_all(
    context: typer.Context,
    *,
    actor: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Only of this API key, or system.", autocompletion=known.keys
        ),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            metavar="ACTION",
            help="Only this action, or all that begin so: certificate.",
            autocompletion=known.actions,
        ),
    ] = None,
    object_type: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Only about this kind: issuer, profile, ...",
            autocompletion=known.kinds,
        ),
    ] = None,
    object_id: Annotated[
        str | None, typer.Option("--object", metavar="ID", help="Only about this object: cert-...")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=moment,
            metavar="TIME",
            help="Only from this on: 2026-01-31, 2026-01-31T12:00 (UTC).",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--to", parser=moment, metavar="TIME", help="Only before this."),
    ] = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Read the audit log; export it; verify it. The newest events come first."""
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.audit_events(
            actor=actor,
            action=action,
            object_type=object_type,
            object_id=object_id,
            since=since,
            until=until,
            limit=size,
            cursor=cursor,
        ),
        _table,
        nothing="No such events.",
        limit=limit,
        everything=everything,
    )


@app.command(
    epilog=examples(
        "certctl audit verify && echo unaltered",
        "certctl audit verify audit.jsonl --key-file audit.pub     needs no server",
    )
)
def verify(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="An export. Without: the server's log.")
    ] = None,
    *,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key of exports: certctl audit key --out FILE."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every chain of the log; exit code 9 if anything was altered.

    Without FILE the server checks what it has. With FILE, an export is checked here, without the
    server: lines that were altered, removed, put in or moved, and a cut end.
    """
    session = Session(context, as_json)
    if file is not None:
        from certctl.cli.audit_verification import verify_file

        is_unaltered = verify_file(session, file, key_file)
    elif key_file is not None:
        raise typer.BadParameter(
            "the key is for an export: name its file too", param_hint="'--key-file'"
        )
    else:
        with session.connect() as client:
            result = client.verify_audit()
        session.answer(result, lambda: _told(result))
        is_unaltered = not result.problems
    if not is_unaltered:
        raise typer.Exit(ExitCode.AUDIT_PROBLEMS)


@app.command(
    epilog=examples(
        "certctl audit export --out audit.jsonl",
        "certctl audit export --out audit.jsonl --resume     after a break",
        "certctl audit export | gzip > audit.jsonl.gz",
    )
)
def export(
    context: typer.Context,
    *,
    out: OutFile = "-",
    resume: Annotated[
        bool, typer.Option("--resume", help="Carry on in a file that an export did not finish.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write the whole log to a file that proves itself, as JSON lines.

    It holds every event of every chain. Check it with `certctl audit verify FILE`, wherever you
    take it.
    """
    if resume and (out == "-" or force):
        raise typer.BadParameter(
            "name the file with --out, and leave out --force", param_hint="'--resume'"
        )

    from certctl.cli.audit_export import export_log

    export_log(Session(context, as_json), out, resume=resume, force=force)


@app.command(epilog=examples("certctl audit key --out audit.pub"))
def key(
    context: typer.Context, out: OutFile = "-", force: Force = False, as_json: AsJson = False
) -> None:
    """Show the public key that exports are verified with, as PEM.

    Fetch it once, from the server itself, and keep it apart from the exports: whoever can replace
    both can replace what they prove. It is no secret, and nobody can sign with it.
    """
    session = Session(context, as_json)
    with session.connect() as client:
        found = client.audit_export_key()
    if session.options.json:
        session.answer(found, lambda: found.public_key)
        return

    from certctl.cli.files import save

    save(session, found.public_key.encode(), out, force=force)


def _table(rows: "list[AuditEventView]", now: datetime) -> "Table":
    from certctl.cli.audit_words import changes_of
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative

    columns = (
        Column("WHEN"),
        Column("ACTION", least=10),
        Column("OBJECT"),
        Column("ACTOR", least=8),
        Column("CHANGED", least=7, extra=True),
        Column("UTC", extra=True),
    )
    return Table(
        columns,
        [
            (
                relative(row.at, now),
                row.action,
                row.object_id,
                row.actor,
                changes_of(row.detail),
                f"{row.at:%Y-%m-%d %H:%M:%S}",
            )
            for row in rows
        ],
    )


def _told(result: "AuditVerification") -> str:
    from certctl.cli.audit_words import verdict

    return verdict("audit log", result.events, result.chains, result.problems)
