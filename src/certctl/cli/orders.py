"""`certctl orders`."""

from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli import known
from certctl.cli.listing import show_list, show_one
from certctl.cli.session import All, AsJson, Limit, Session, command_group, examples
from certctl.domain.orders import OrderState

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.orders import OrderDetail, OrderStatus, OrderView

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The order: ord-...", autocompletion=known.orders)
]

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
    """List orders; show, cancel or resolve one. The newest come first."""
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


@app.command(epilog=examples("certctl orders show ord-...", "certctl orders show ord-... --all"))
def show(
    context: typer.Context,
    order_id: Id,
    everything: Annotated[bool, typer.Option("--all", help="Show every attempt.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an order: what it waits for, and each time the CA was asked.

    The newest twenty attempts are shown.
    """

    def describe(order: "OrderDetail", now: "datetime") -> str:
        from certctl.cli.order_words import order_text

        return order_text(order, now, everything=everything)

    show_one(context, as_json, lambda client: client.order(order_id), describe)


@app.command(epilog=examples("certctl orders cancel ord-..."))
def cancel(context: typer.Context, order_id: Id, as_json: AsJson = False) -> None:
    """Take an order back, while the CA has not been asked or nobody knows whether it was."""
    show_one(
        context,
        as_json,
        lambda client: client.cancel_order(order_id),
        lambda order, _: f"Order {order.id} is {order.state}.",
    )


@app.command(
    epilog=examples(
        "certctl orders --state uncertain                   which ones need you?",
        "certctl orders show ord-...                        what was sent, and when",
        "certctl orders resolve ord-... --not-ordered",
        "certctl orders resolve ord-... --pending --reference id=4711",
        "certctl orders resolve ord-... --issued www.pem --reason 'in the portal'",
    )
)
def resolve(
    context: typer.Context,
    order_id: Id,
    *,
    not_ordered: Annotated[
        bool,
        typer.Option("--not-ordered", help="The CA does not have it: it is asked again."),
    ] = False,
    pending: Annotated[
        bool,
        typer.Option(
            "--pending", help="The CA has it, and works on it: under --reference, it is followed."
        ),
    ] = False,
    issued: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The CA has issued it: here is the certificate, with its chain after it (PEM); - "
            "is standard input.",
        ),
    ] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="The CA has refused it.")] = False,
    cancelled: Annotated[
        bool,
        typer.Option("--cancelled", help="Nobody wants it any more, whatever the CA has."),
    ] = False,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What the CA calls it, named as other orders of the issuer have it (see "
            "CA's reference in certctl orders show). Repeatable.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for the order's history.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what you found at the CA about an order in `uncertain`.

    The CA was asked for a certificate, and no answer came back. This CA cannot be asked whether it
    has the order, and ordering again might make, and bill, a second certificate: so nothing happens
    until a person has looked.

    Look in the CA's portal, or ask its support, for an order with these names at about the time of
    the last attempt (certctl orders show). Then say which of these is so; exactly one.
    """
    session = Session(context, as_json)

    from certctl.cli import resolving

    found = resolving.Found.read(
        {
            "ready": not_ordered,
            "pending": pending,
            "issued": issued is not None,
            "rejected": rejected,
            "cancelled": cancelled,
        },
        reference or (),
        issued,
        reason,
    )
    resolving.resolve(session, order_id, found, ask_first=not yes)


def _table(rows: "list[OrderView]", now: "datetime") -> "Table":
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative

    columns = (
        Column("ID"),
        Column("STATE", is_state=True),
        Column("ISSUER", least=9),
        Column("CREATED"),
        Column("PROBLEM", least=7),
        Column("ASKED NEXT", extra=True),
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
                relative(row.due_at, now),
                row.certificate_id,
            )
            for row in rows
        ],
    )
