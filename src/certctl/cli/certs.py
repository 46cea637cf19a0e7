"""`certctl certs`."""

import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli import known
from certctl.cli.inventory import Sort, Status, Wanted, table
from certctl.cli.listing import show_list
from certctl.cli.options import Force, OutFile
from certctl.cli.session import All, AsJson, Limit, Session, command_group, examples
from certctl.cli.times import moment, span

if TYPE_CHECKING:
    from certctl.cli.tables import Table
    from certctl.schemas.certificates import CertificateView, VersionView
    from certctl.schemas.common import Page

Id = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The certificate: cert-...", autocompletion=known.certificates
    ),
]

_SHOWN_VERSIONS = 10


class FileFormat(StrEnum):
    """Forms of a certificate as a file."""

    PEM = "pem"
    CHAIN = "chain"
    DER = "der"


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
    """List certificates; show or download one. The newest come first.

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


@app.command(epilog=examples("certctl certs show cert-..."))
def show(context: typer.Context, certificate_id: Id, as_json: AsJson = False) -> None:
    """Show a certificate with its versions and their revocation."""
    session = Session(context, as_json)
    with session.connect() as client:
        certificate = client.certificate(certificate_id)
        versions = None
        if certificate.version is not None and not session.options.json:
            versions = client.versions(certificate_id, limit=_SHOWN_VERSIONS)
    session.answer(certificate, lambda: _described(certificate, versions, session.now))


@app.command(
    epilog=examples(
        "certctl certs versions cert-...",
        "certctl certs versions cert-... --json | jq -r '.data[].serial'",
    )
)
def versions(
    context: typer.Context,
    certificate_id: Id,
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


@app.command(
    epilog=examples(
        "certctl certs download cert-... --format chain --out www.chain.crt",
        "certctl certs download cert-... | openssl x509 -noout -text",
        "certctl certs download cert-... --version ver-...     an older one",
    )
)
def download(
    context: typer.Context,
    certificate_id: Id,
    *,
    file_format: Annotated[
        FileFormat,
        typer.Option("--format", help="pem: the certificate; chain: with its CAs; der: binary."),
    ] = FileFormat.PEM,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="One of its versions: ver-... [default: the newest]",
            autocompletion=known.versions,
        ),
    ] = None,
    out: OutFile = "-",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Download a version as a file: the newest, or the one that you name."""
    if out == "-" and file_format is FileFormat.DER and sys.stdout.isatty():
        raise typer.BadParameter("DER is binary: name a file with --out", param_hint="'--format'")

    from certctl.cli.files import save

    session = Session(context, as_json)
    with session.connect() as client:
        content = client.download(certificate_id, file_format.value, version_id=version)
    save(session, content, out, force=force)


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


def _described(
    certificate: "CertificateView", versions: "Page[VersionView] | None", now: "datetime"
) -> str:
    from certctl.cli.tables import fields
    from certctl.cli.times import full
    from certctl.cli.versions import described

    text = fields(
        [
            ("Certificate", certificate.id),
            ("Status", certificate.status),
            ("Names", ", ".join(certificate.names)),
            ("Common name", certificate.common_name),
            ("Issuer", certificate.issuer_id),
            ("Profile", certificate.profile_id),
            ("Owner", certificate.owner),
            ("Order", certificate.order_id),
            ("Renew at", full(certificate.renew_at, now)),
            ("Created", full(certificate.created_at, now)),
        ]
    )
    if versions is None:
        return text
    text += described(versions.data, now)
    if versions.next is not None:
        text += f"\n\nThere are older versions: certctl certs versions {certificate.id}"
    return text
