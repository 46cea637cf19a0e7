"""`certctl orders`."""

from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli.listing import show_list, show_one
from certctl.cli.session import All, AsJson, Limit, command_group, examples
from certctl.domain.orders import OrderState

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.certificates import OrderDetail, OrderStatus, OrderView

Id = Annotated[str, typer.Argument(metavar="ID", help="The order: ord-...")]

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "certctl orders --state pending", "certctl orders show ord-...", "certctl orders --all"
    ),
)
def list_all(
    context: typer.Context,
    state: Annotated[
        OrderState | None,
        typer.Option(
            metavar="STATE", help="Only orders in this state: pending, uncertain, rejected, ..."
        ),
    ] = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """List orders; show or cancel one. The newest come first."""
    wanted: OrderStatus | None = None if state is None else state.value
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.orders(state=wanted, limit=size, cursor=cursor),
        _table,
        nothing="No such orders.",
        limit=limit,
        everything=everything,
    )


@app.command(epilog=examples("certctl orders show ord-..."))
def show(context: typer.Context, order_id: Id, as_json: AsJson = False) -> None:
    """Show an order: what it waits for, and each time the CA was asked."""
    show_one(context, as_json, lambda client: client.order(order_id), _described)


@app.command(epilog=examples("certctl orders cancel ord-..."))
def cancel(context: typer.Context, order_id: Id, as_json: AsJson = False) -> None:
    """Take an order back, while the CA has not been asked or nobody knows whether it was."""
    show_one(
        context,
        as_json,
        lambda client: client.cancel_order(order_id),
        lambda order, _: f"Order {order.id} is {order.state}.",
    )


def _table(rows: "list[OrderView]", now: "datetime") -> "Table":
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative

    columns = (
        Column("ID"),
        Column("STATE", is_state=True),
        Column("ISSUER", least=9),
        Column("CREATED"),
        Column("PROBLEM", least=7),
        Column("CERTIFICATE", extra=True),
    )
    return Table(
        columns,
        [
            (
                row.id,
                row.state,
                row.issuer_id,
                relative(row.created_at, now),
                row.problem or "",
                row.certificate_id,
            )
            for row in rows
        ],
    )


def _described(order: "OrderDetail", now: "datetime") -> str:
    from certctl.cli.tables import clean, fields
    from certctl.cli.times import full, relative

    reference = ", ".join(f"{name} {value}" for name, value in (order.reference or {}).items())
    text = fields(
        [
            ("Order", order.id),
            ("State", order.state),
            ("Problem", order.problem),
            ("Certificate", order.certificate_id),
            ("Issuer", order.issuer_id),
            ("Version", order.version_id),
            ("CA's reference", reference),
            ("Asked next", full(order.due_at, now)),
            ("Created", full(order.created_at, now)),
            ("Changed", full(order.updated_at, now)),
            ("Attempts", str(order.attempts)),
        ]
    )
    for attempt in order.history:
        when = f"{relative(attempt.started_at, now)}, took {attempt.duration_ms} ms"
        text += f"\n\n{attempt.number}. {attempt.action}: {attempt.outcome} ({when})"
        if attempt.detail:
            text += f"\n   {clean(attempt.detail)}"
    return text
