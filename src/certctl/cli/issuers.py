"""`certctl issuers`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli.listing import show_list, show_one
from certctl.cli.options import Force, OutFile
from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.issuers import IssuerView

Id = Annotated[str, typer.Argument(metavar="ID", help="The issuer: iss-...")]

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "certctl issuers", "certctl issuers show iss-local", "certctl issuers ca iss-local"
    ),
)
def list_all(context: typer.Context, as_json: AsJson = False) -> None:
    """List issuers; show one, get its CA certificates."""
    show_list(context, as_json, lambda client, *_: client.issuers(), _table, nothing="No issuers.")


@app.command(epilog=examples("certctl issuers show iss-local"))
def show(context: typer.Context, issuer_id: Id, as_json: AsJson = False) -> None:
    """Show an issuer and its settings; secrets are never shown."""
    show_one(context, as_json, lambda client: client.issuer(issuer_id), _described)


@app.command(
    epilog=examples(
        "certctl issuers ca iss-local --out root.pem",
        "certctl issuers ca iss-local | openssl x509 -noout -subject -dates",
    )
)
def ca(
    context: typer.Context,
    issuer_id: Id,
    out: OutFile = "-",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Get the issuer's own certificates as PEM: the signing CA first, the root last."""
    from certctl.cli.files import save

    session = Session(context, as_json)
    with session.connect() as client:
        pem = client.issuer_ca(issuer_id)
    save(session, pem.encode(), out, force=force)


def _table(rows: "list[IssuerView]", _now: "datetime") -> "Table":
    from certctl.cli.tables import Column, Table

    columns = (
        Column("ID"),
        Column("STATUS", is_state=True),
        Column("TYPE", least=4),
        Column("NAME", least=8),
        Column("PROBLEM", least=7),
    )
    return Table(
        columns, [(row.id, row.status, row.type, row.name, row.problem or "") for row in rows]
    )


def _described(issuer: "IssuerView", now: "datetime") -> str:
    from certctl.cli.tables import fields
    from certctl.cli.times import full

    origin = "environment" if issuer.source == "env" else "API"
    return fields(
        [
            ("Issuer", issuer.id),
            ("Name", issuer.name),
            ("Type", issuer.type),
            ("Status", issuer.status),
            ("Problem", issuer.problem),
            ("Settings from", origin),
            *[
                (f"  {name}", value if isinstance(value, str) else json.dumps(value))
                for name, value in issuer.config.items()
                if value is not None
            ],
            ("Created", full(issuer.created_at, now)),
            ("Changed", full(issuer.updated_at, now)),
        ]
    )
