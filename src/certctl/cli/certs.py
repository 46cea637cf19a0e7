"""`certctl certs`."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli.listing import show_list
from certctl.cli.options import Force, OutFile
from certctl.cli.session import All, AsJson, Limit, Session, command_group, examples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.certificates import CertificateSummary, CertificateView, VersionView
    from certctl.schemas.common import Page

Id = Annotated[str, typer.Argument(metavar="ID", help="The certificate: cert-...")]

_SHOWN_VERSIONS = 10


class FileFormat(StrEnum):
    """Forms of a certificate as a file."""

    PEM = "pem"
    CHAIN = "chain"
    DER = "der"


app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "certctl certs --limit 10",
        "certctl certs --all --json | jq -r '.data[].names[]'",
        "certctl certs show cert-...",
    ),
)
def list_all(
    context: typer.Context, limit: Limit = 50, everything: All = False, as_json: AsJson = False
) -> None:
    """List certificates; show or download one. The newest come first."""
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.certificates(limit=size, cursor=cursor),
        table,
        nothing="No certificates yet. Get one: certctl issue www.example.org",
        limit=limit,
        everything=everything,
    )


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
        typer.Option(metavar="ID", help="One of its versions: ver-... [default: the newest]"),
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


def table(rows: "Sequence[CertificateSummary]", now: "datetime") -> "Table":
    """Rows of the inventory."""
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative

    columns = (
        Column("ID"),
        Column("STATUS", is_state=True),
        Column("NAMES", least=12),
        Column("ISSUER", least=9),
        Column("EXPIRES"),
        Column("OWNER", least=8, extra=True),
    )
    return Table(
        columns,
        [
            (
                row.id,
                row.status,
                ", ".join(row.names) or row.common_name or "",
                row.issuer_id,
                relative(row.not_after, now),
                row.owner or "",
            )
            for row in rows
        ],
    )


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
