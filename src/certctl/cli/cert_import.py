"""`certctl certs import`."""

from typing import Annotated

import typer

from certctl.cli.exit_codes import ExitCode
from certctl.cli.options import Label, read_labels
from certctl.cli.session import AsJson, Session, command_group, examples

app = command_group()


@app.command(
    "import",
    epilog=examples(
        "certctl certs import www.pem",
        "certctl certs import /etc/ssl/certs/internal /etc/letsencrypt/live --dry-run",
        "certctl certs import *.pem --owner 'web team' --label from=old-ca",
        "certctl certs import www-2027.pem --replaces cert-...     its next version",
    ),
)
def import_files(
    context: typer.Context,
    *,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="Files with certificates (PEM, also bundles; DER), and folders of such files.",
            show_default=False,
        ),
    ],
    owner: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Who looks after the certificates.")
    ] = None,
    label: Label = None,
    replaces: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The imported certificate whose next version it is."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come of it, and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Keep and watch certificates that certctl did not issue.

    They are listed and expire like others, are never renewed, and only their own CA can revoke
    them. A certificate that issued another one of those read is taken as its chain. Private keys
    in the files are not looked at, and never sent. A bad file does not keep the others back; the
    exit code is 3 then.
    """
    labels = read_labels(label)

    from certctl.cli import importing

    session = Session(context, as_json)
    report = importing.ImportReport(dry_run=dry_run)
    with session.connect() as client:
        try:
            importing.carry_out(
                client, paths, report, owner=owner, labels=labels, replaces=replaces
            )
        finally:
            if report.data:
                session.answer(report, lambda: importing.table(report))
    if not report.data:
        session.note("No certificates in there.")
    elif report.passed_over:
        session.note(f"Besides: {report.passed_over} that are chains of these, or there twice.")
    if dry_run:
        session.note("Nothing was done: it was a dry run.")
    if report.has_failures:
        raise typer.Exit(ExitCode.REFUSED)
