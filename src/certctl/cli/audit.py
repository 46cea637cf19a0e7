"""`certctl audit`."""

from typing import TYPE_CHECKING

import typer

from certctl.cli.exit_codes import ExitCode
from certctl.cli.listing import show_list
from certctl.cli.session import All, AsJson, Limit, Session, command_group, examples

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.audit import AuditEventView, AuditVerification

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "certctl audit --limit 20",
        "certctl audit --all --json > audit.json",
        "certctl audit verify",
    ),
)
def list_all(
    context: typer.Context, limit: Limit = 50, everything: All = False, as_json: AsJson = False
) -> None:
    """Read the audit log; verify it. The newest events come first."""
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.audit_events(limit=size, cursor=cursor),
        _table,
        nothing="No events yet.",
        limit=limit,
        everything=everything,
    )


@app.command(epilog=examples("certctl audit verify && echo unaltered"))
def verify(context: typer.Context, as_json: AsJson = False) -> None:
    """Have the server check every chain of the log; exit code 9 if anything was altered."""
    session = Session(context, as_json)
    with session.connect() as client:
        result = client.verify_audit()
    session.answer(result, lambda: _told(result))
    if result.problems:
        raise typer.Exit(ExitCode.AUDIT_PROBLEMS)


def _table(rows: "list[AuditEventView]", now: "datetime") -> "Table":
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative

    columns = (
        Column("WHEN"),
        Column("ACTION", least=10),
        Column("OBJECT"),
        Column("ACTOR", least=8),
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
                f"{row.at:%Y-%m-%d %H:%M:%S}",
            )
            for row in rows
        ],
    )


def _told(result: "AuditVerification") -> str:
    from certctl.cli.tables import clean

    events = "1 event" if result.events == 1 else f"{result.events} events"
    chains = "1 chain" if result.chains == 1 else f"{result.chains} chains"
    checked = f"{events} in {chains}"
    if not result.problems:
        return f"The audit log is unaltered: {checked} checked."
    lines = "\n".join(f"  {clean(problem)}" for problem in result.problems)
    return f"The audit log does not verify ({checked} checked):\n{lines}"
