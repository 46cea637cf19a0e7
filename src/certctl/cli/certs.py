"""`certctl certs`."""

from typing import TYPE_CHECKING

import typer

from certctl.cli import cert_download, cert_import, cert_records
from certctl.cli.listing import show_list
from certctl.cli.options import CertificateId
from certctl.cli.session import All, AsJson, Limit, command_group, examples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.certificates import CertificateSummary, VersionView

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
    """List certificates; show, edit, archive, download or import one. The newest come first."""
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.certificates(limit=size, cursor=cursor),
        table,
        nothing="No certificates yet. Get one: certctl issue www.example.org",
        limit=limit,
        everything=everything,
    )


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
