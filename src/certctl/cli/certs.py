"""`certctl certs`."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli import cert_download, cert_import, cert_records, known
from certctl.cli.inventory import Sort, Status, Wanted, table
from certctl.cli.listing import show_list
from certctl.cli.options import CertificateId
from certctl.cli.session import All, AsJson, Limit, Session, command_group, examples
from certctl.cli.times import moment, span

if TYPE_CHECKING:
    from certctl.cli.tables import Table
    from certctl.schemas.certificates import VersionView

app = command_group()

_EXAMPLES = examples(
    "certctl certs --limit 10",
    "certctl certs list --status issued --expires-in 30d --sort not_after",
    "certctl certs --name '*.example.org' --owner 'web team'",
    "certctl certs --status pending --watch",
    "certctl certs --all --json | jq -r '.data[].names[]'",
    "certctl certs show cert-...",
)


@app.callback(invoke_without_command=True, epilog=_EXAMPLES)
def list_all(
    context: typer.Context,
    *,
    status: Annotated[Status | None, typer.Option(help="Only those that stand so.")] = None,
    issuer: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only of this issuer.", autocompletion=known.issuers),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only of this profile.", autocompletion=known.profiles),
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only of this owner.", autocompletion=known.owners),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only with this name: www.example.org, shop* (begins so), *.example.org (all "
            "below it).",
        ),
    ] = None,
    expires_after: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="Only that expire after this: 2026-01-31, 2026-01-31T12:00 (UTC).",
        ),
    ] = None,
    expires_before: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Only that expire before this."),
    ] = None,
    expires_in: Annotated[
        timedelta | None,
        typer.Option(
            parser=span, metavar="SPAN", help="Only that expire from now on until: 30d, 12h."
        ),
    ] = None,
    sort: Annotated[
        Sort | None, typer.Option(help="What comes first. [default: -created_at]")
    ] = None,
    limit: Limit = 50,
    everything: All = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Look again and again, until Ctrl-C. In a pipe, and with --json, a line for each "
            "change.",
        ),
    ] = False,
    every: Annotated[
        int, typer.Option(min=1, max=3600, metavar="SECONDS", help="How often --watch looks.")
    ] = 5,
    as_json: AsJson = False,
) -> None:
    """List certificates; show, edit, archive, download or import one. The newest come first.

    Only those are listed that fit every option that is given.
    """
    wanted = Wanted(
        status=status,
        issuer_id=issuer,
        profile_id=profile,
        owner=owner,
        name=name,
        expires_after=expires_after,
        expires_before=expires_before,
        expires_in=expires_in,
        sort=sort,
    )
    if watch and context.invoked_subcommand is None:
        from certctl.cli import watching

        watching.watch(
            Session(context, as_json), wanted, limit=limit, everything=everything, every=every
        )
        return
    show_list(
        context,
        as_json,
        wanted.at(datetime.now(UTC)).page,
        table,
        nothing=wanted.nothing,
        limit=limit,
        everything=everything,
    )


# `certctl certs list` is `certctl certs`.
app.command("list", epilog=_EXAMPLES)(list_all)


@app.command(
    epilog=examples(
        "certctl certs versions cert-...",
        "certctl certs versions cert-... --json | jq -r '.data[].serial'",
    )
)
def versions(
    context: typer.Context,
    certificate_id: CertificateId,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """List a certificate's versions: the newest, and those that it replaced."""
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.versions(certificate_id, limit=size, cursor=cursor),
        _version_table,
        nothing="The CA has not issued it yet.",
        limit=limit,
        everything=everything,
    )


app.registered_commands += [
    *cert_records.app.registered_commands,
    *cert_download.app.registered_commands,
    *cert_import.app.registered_commands,
]


def _version_table(rows: "list[VersionView]", now: "datetime") -> "Table":
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative
    from certctl.cli.versions import state_of

    columns = (
        Column("ID"),
        Column("EXPIRES"),
        Column("REVOCATION", is_state=True),
        Column("REASON", least=8),
        Column("SERIAL", least=10),
    )
    return Table(
        columns,
        [
            (
                row.id,
                relative(row.not_after, now),
                state_of(row.revocation) if row.revocation else "",
                row.revocation.reason if row.revocation else "",
                row.serial,
            )
            for row in rows
        ],
    )
