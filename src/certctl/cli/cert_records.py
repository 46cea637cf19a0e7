"""`certctl certs show`, `orders`, `edit`, `archive`, `unarchive`."""

from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli.listing import show_list, show_one
from certctl.cli.options import CertificateId, Label, read_labels
from certctl.cli.session import All, AsJson, Limit, Session, command_group, examples

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.client import Client
    from certctl.schemas.audit import AuditEventView
    from certctl.schemas.certificates import CertificateView
    from certctl.schemas.common import Page
    from certctl.schemas.orders import OrderView

_SHOWN_VERSIONS = 10
_SHOWN_ORDERS = 5
_SHOWN_EVENTS = 5
_FORBIDDEN = 403

app = command_group()


@app.command(
    epilog=examples(
        "certctl certs show cert-...", "certctl certs show cert-... --json | jq .version.serial"
    )
)
def show(context: typer.Context, certificate_id: CertificateId, as_json: AsJson = False) -> None:
    """Show a certificate with its versions, its orders, and what happened to it.

    The events are shown to keys that may read the audit log. With --json: the certificate.
    """
    from certctl.cli.cert_words import certificate_text, events_text, orders_text, versions_text

    session = Session(context, as_json)
    with session.connect() as client:
        certificate = client.certificate(certificate_id)
        if session.options.json:
            session.answer(certificate, lambda: "")
            return
        versions = orders = None
        if certificate.version is not None:
            versions = client.versions(certificate_id, limit=_SHOWN_VERSIONS)
        if certificate.order_id is not None:
            orders = client.certificate_orders(certificate_id, limit=_SHOWN_ORDERS)
        events = _events(client, certificate_id)
    now = session.now
    text = certificate_text(certificate, now)
    if versions is not None:
        text += versions_text(certificate_id, versions, now)
    if orders is not None:
        text += orders_text(certificate_id, orders, now)
    if events is not None:
        text += events_text(certificate_id, events, now)
    session.answer(certificate, lambda: text)


@app.command(
    epilog=examples("certctl certs orders cert-...", "certctl certs orders cert-... --all")
)
def orders(
    context: typer.Context,
    certificate_id: CertificateId,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """List a certificate's orders: the first one, and each renewal."""
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.certificate_orders(
            certificate_id, limit=size, cursor=cursor
        ),
        _order_table,
        nothing="No orders: it was imported.",
        limit=limit,
        everything=everything,
    )


@app.command(
    epilog=examples(
        "certctl certs edit cert-... --owner 'web team'",
        "certctl certs edit cert-... --label env=prod --label team=shop",
        "certctl certs edit cert-... --remove-label env --no-owner",
    )
)
def edit(
    context: typer.Context,
    certificate_id: CertificateId,
    *,
    owner: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Who looks after the certificate.")
    ] = None,
    no_owner: Annotated[
        bool, typer.Option("--no-owner", help="Nobody looks after it any more.")
    ] = False,
    label: Label = None,
    remove_label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Take a label away; give it again for another one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change who looks after a certificate, and its labels. All else stays as it is."""
    if owner is not None and no_owner:
        raise typer.BadParameter("one or the other", param_hint="'--owner', '--no-owner'")
    labels: dict[str, str | None] = {**(read_labels(label) or {})}
    for key in remove_label or ():
        if key in labels:
            raise typer.BadParameter(
                "a label cannot be given and taken away at once", param_hint="'--remove-label'"
            )
        labels[key] = None
    changes: dict[str, object] = {"labels": labels} if labels else {}
    if owner is not None or no_owner:
        changes["owner"] = owner
    if not changes:
        raise typer.BadParameter(
            "say what is to be changed", param_hint="'--owner', '--label', '--remove-label'"
        )

    from certctl.cli import bodies
    from certctl.schemas.records import CertificateEdit

    body = bodies.make(CertificateEdit, **changes)
    show_one(
        context,
        as_json,
        lambda client: client.edit_certificate(certificate_id, body),
        _described,
    )


@app.command(
    epilog=examples(
        "certctl certs archive cert-...",
        "certctl certs archive cert-... --although-valid     nobody uses it any more",
    )
)
def archive(
    context: typer.Context,
    certificate_id: CertificateId,
    *,
    although_valid: Annotated[
        bool,
        typer.Option("--although-valid", help="Even if it is neither expired nor revoked."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take a certificate out of the list, and renew it no more.

    It can still be shown and revoked, and CRL and OCSP tell its status. An order that is open is
    in the way.
    """
    from certctl.cli.errors import advise
    from certctl.client import ApiError

    def ask(client: "Client") -> "CertificateView":
        try:
            return client.archive_certificate(certificate_id, although_valid=although_valid)
        except ApiError as error:
            if error.code != "certificate-valid":
                raise
            words = f"revoke it first (certctl revoke {certificate_id}), or add --although-valid"
            raise advise(error, words) from None

    show_one(context, as_json, ask, lambda archived, _: f"Certificate {archived.id} is archived.")


@app.command(epilog=examples("certctl certs unarchive cert-..."))
def unarchive(
    context: typer.Context, certificate_id: CertificateId, as_json: AsJson = False
) -> None:
    """Put an archived certificate back into the list, to be renewed as before."""
    show_one(
        context,
        as_json,
        lambda client: client.unarchive_certificate(certificate_id),
        _described,
    )


def _described(certificate: "CertificateView", now: "datetime") -> str:
    from certctl.cli.cert_words import certificate_text

    return certificate_text(certificate, now)


def _events(client: "Client", certificate_id: str) -> "Page[AuditEventView] | None":
    """The last events; None for a key that may not read them."""
    from certctl.client import ApiError

    try:
        return client.certificate_events(certificate_id, limit=_SHOWN_EVENTS)
    except ApiError as error:
        if error.status != _FORBIDDEN:
            raise
        return None


def _order_table(rows: "list[OrderView]", now: "datetime") -> "Table":
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative

    columns = (
        Column("ID"),
        Column("STATE", is_state=True),
        Column("CREATED"),
        Column("CHANGED", extra=True),
        Column("PROBLEM", least=12),
    )
    return Table(
        columns,
        [
            (
                row.id,
                row.state,
                relative(row.created_at, now),
                relative(row.updated_at, now),
                row.problem or "",
            )
            for row in rows
        ],
    )
