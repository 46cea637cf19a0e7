"""`certctl revocations`."""

from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli import known
from certctl.cli.listing import show_list, show_one
from certctl.cli.options import NoWait
from certctl.cli.session import All, AsJson, Limit, Session, command_group, examples
from certctl.domain.revocations import RevocationState

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.revocations import BulkRevocationView, RevocationLine, RevocationStatus

Id = Annotated[
    str,
    typer.Argument(
        metavar="BULK-ID",
        help="The bulk revocation: bulk-...",
        autocompletion=known.bulk_revocations,
    ),
]

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "certctl revocations",
        "certctl revocations --state refused",
        "certctl revocations --bulk bulk-... --all",
        "certctl revocations follow bulk-...",
    ),
)
def list_all(
    context: typer.Context,
    *,
    state: Annotated[
        RevocationState | None,
        typer.Option(
            metavar="STATE", help="Only those in this state: requested, told, confirmed, refused."
        ),
    ] = None,
    bulk_id: Annotated[
        str | None,
        typer.Option(
            "--bulk",
            metavar="BULK-ID",
            help="Only those of this bulk revocation.",
            autocompletion=known.bulk_revocations,
        ),
    ] = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """List revocations; follow or cancel many at once. The newest come first."""
    wanted: RevocationStatus | None = None if state is None else state.value
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.revocations(
            state=wanted, bulk_id=bulk_id, limit=size, cursor=cursor
        ),
        _table,
        nothing="No such revocations.",
        limit=limit,
        everything=everything,
    )


@app.command(epilog=examples("certctl revocations bulk", "certctl revocations bulk --json"))
def bulk(
    context: typer.Context, limit: Limit = 50, everything: All = False, as_json: AsJson = False
) -> None:
    """List bulk revocations, and how far they are."""
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.bulk_revocations(limit=size, cursor=cursor),
        _bulk_table,
        nothing="No bulk revocations yet.",
        limit=limit,
        everything=everything,
    )


@app.command(
    epilog=examples(
        "certctl revocations follow bulk-...",
        "certctl revocations follow bulk-... --no-wait     how far is it now?",
    )
)
def follow(
    context: typer.Context,
    bulk_id: Id,
    wait: Annotated[
        int,
        typer.Option(
            min=0, metavar="SECONDS", help="Stop looking when nothing happens for so long."
        ),
    ] = 60,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Follow a bulk revocation until it is done.

    It is done when each CA has answered. Ctrl-C only ends the following: the server goes on.
    """
    from certctl.cli import bulk as steps

    session = Session(context, as_json)
    with session.connect() as client:
        steps.follow(session, client, client.bulk_revocation(bulk_id), 0 if no_wait else wait)


@app.command(epilog=examples("certctl revocations cancel bulk-..."))
def cancel(context: typer.Context, bulk_id: Id, as_json: AsJson = False) -> None:
    """Stop a bulk revocation where it is.

    What it has revoked stays revoked.
    """

    def describe(stopped: "BulkRevocationView", now: "datetime") -> str:
        from certctl.cli.bulk import described

        return described(stopped, now)

    show_one(context, as_json, lambda client: client.cancel_bulk_revocation(bulk_id), describe)


def _table(rows: "list[RevocationLine]", now: "datetime") -> "Table":
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative
    from certctl.cli.versions import state_of

    columns = (
        Column("CERTIFICATE"),
        Column("STATE", is_state=True),
        Column("REASON", least=8),
        Column("REVOKED"),
        Column("PROBLEM", least=7),
        Column("ISSUER", least=9, extra=True),
        Column("VERSION", extra=True),
        Column("SERIAL", least=10, extra=True),
        Column("BULK", extra=True),
    )
    return Table(
        columns,
        [
            (
                row.certificate_id,
                state_of(row),
                row.reason,
                relative(row.revoked_at, now),
                row.problem or "",
                row.issuer_id,
                row.version_id,
                row.serial,
                row.bulk_id or "",
            )
            for row in rows
        ],
    )


def _bulk_table(rows: "list[BulkRevocationView]", now: "datetime") -> "Table":
    from certctl.cli.bulk import filter_words
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative

    columns = (
        Column("ID"),
        Column("STATE", is_state=True),
        Column("REVOKED"),
        Column("REFUSED"),
        Column("FILTER", least=8),
        Column("CREATED", extra=True),
        Column("REASON", least=8, extra=True),
        Column("BY", least=8, extra=True),
    )
    return Table(
        columns,
        [
            (
                row.id,
                row.state,
                f"{row.done} of {row.total}",
                str(row.revocations.get("refused", 0) or ""),
                filter_words(row.filter),
                relative(row.created_at, now),
                row.reason,
                row.actor,
            )
            for row in rows
        ],
    )
