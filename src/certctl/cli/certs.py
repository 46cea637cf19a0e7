"""`certctl certs`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli.session import All, AsJson, Limit, Session, collect, command_group, examples

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.certificates import CertificateSummary, CertificateView

Id = Annotated[str, typer.Argument(metavar="ID", help="The certificate: cert-...")]


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
    session = Session(context, as_json)
    if context.invoked_subcommand is not None:
        return
    with session.connect() as client:
        page = collect(
            lambda size, cursor: client.certificates(limit=size, cursor=cursor), limit, everything
        )
    session.answer_page(
        page,
        lambda: _table(page.data, session.now),
        nothing="No certificates yet. Get one: certctl issue www.example.org",
    )


@app.command(epilog=examples("certctl certs show cert-..."))
def show(context: typer.Context, certificate_id: Id, as_json: AsJson = False) -> None:
    """Show a certificate with its newest version."""
    session = Session(context, as_json)
    with session.connect() as client:
        certificate = client.certificate(certificate_id)
    session.answer(certificate, lambda: _described(certificate, session.now))


@app.command(
    epilog=examples(
        "certctl certs download cert-... --format chain --out www.chain.crt",
        "certctl certs download cert-... | openssl x509 -noout -text",
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
    out: Annotated[str, typer.Option(metavar="FILE", help="Where to; - is standard output.")] = "-",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download the newest version as a file."""
    if out == "-" and file_format is FileFormat.DER and sys.stdout.isatty():
        raise typer.BadParameter("DER is binary: name a file with --out", param_hint="'--format'")
    session = Session(context, as_json)
    with session.connect() as client:
        content = client.download(certificate_id, file_format.value)
    save(session, content, out, force=force)


def save(session: Session, content: bytes, out: str, *, force: bool) -> None:
    """Write a download to a file or to standard output."""
    if out == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    from certctl.cli.files import write_file

    write_file(Path(out), content, force=force)
    session.note(f"Wrote {out}")


def _table(rows: "list[CertificateSummary]", now: "datetime") -> "Table":
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


def _described(certificate: "CertificateView", now: "datetime") -> str:
    from certctl.cli.tables import fields
    from certctl.cli.times import full

    version = certificate.version
    return fields(
        [
            ("Certificate", certificate.id),
            ("Status", certificate.status),
            ("Names", ", ".join(certificate.names)),
            ("Common name", certificate.common_name),
            ("Issuer", certificate.issuer_id),
            ("Profile", certificate.profile_id),
            ("Owner", certificate.owner),
            ("Order", certificate.order_id),
            ("Version", version.id if version else None),
            ("Serial", version.serial if version else None),
            ("Valid from", full(version.not_before, now) if version else None),
            ("Valid until", full(version.not_after, now) if version else None),
            ("Created", full(certificate.created_at, now)),
        ]
    )
