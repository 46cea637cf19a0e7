"""`certctl keys`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli import known
from certctl.cli.listing import show_list, show_one
from certctl.cli.session import All, AsJson, Limit, Session, command_group, examples
from certctl.domain.access import Role

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.keys import KeyView

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The key: see certctl keys.", autocompletion=known.keys)
]

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "certctl keys",
        "certctl keys create 'deploy tool' --role operator --issuer iss-local",
        "certctl keys revoke 01k9...",
    ),
)
def list_all(
    context: typer.Context, limit: Limit = 50, everything: All = False, as_json: AsJson = False
) -> None:
    """List API keys; make, show or revoke one. The newest come first.

    A key itself is shown once, when it is made. A key with a scope sees the keys that it has made.
    """
    show_list(
        context,
        as_json,
        lambda client, size, cursor: client.keys(limit=size, cursor=cursor),
        _table,
        nothing="No such keys.",
        limit=limit,
        everything=everything,
    )


@app.command(
    epilog=examples(
        "certctl keys create 'deploy tool' --role operator --issuer iss-local \\",
        "    --name '*.shop.example.org' --days 90 --out deploy.key",
        "certctl keys create prometheus --role viewer --quiet",
        "certctl keys create 'head of operations' --role admin",
    )
)
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    *,
    role: Annotated[
        Role,
        typer.Option(
            help="viewer looks; operator also orders, renews and revokes; auditor looks, and reads "
            "the audit log; admin does everything."
        ),
    ],
    issuers: Annotated[
        list[str] | None,
        typer.Option(
            "--issuer",
            metavar="ID",
            help="Only this issuer. Repeatable.",
            autocompletion=known.issuers,
        ),
    ] = None,
    profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="ID",
            help="Only this profile. Repeatable.",
            autocompletion=known.profiles,
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="PATTERN",
            help="Only certificates of such names: www.example.org, *.example.org (any depth), "
            "ip:..., email:..., uri:... Repeatable.",
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, metavar="N", help="It expires. [default: never]"),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="It expires then: 2027-01-31, or with a time."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the key to a new file that only you can read."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print the key alone, on one line.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an API key. It is shown once: put it where it is needed.

    Without --issuer, --profile and --name it reaches everything that its role allows. With several
    of them, a certificate has to fit all: every name of it one of the names given.

    A key cannot make a key that may do, or reach, more than itself, or that outlives it.
    """
    session = Session(context, as_json)

    from certctl.cli import key_making

    key_making.make(
        session,
        key_making.Wanted(
            name=name,
            role=role,
            issuers=issuers,
            profiles=profiles,
            names=names,
            days=days,
            expires=expires,
        ),
        out=out,
        quiet=quiet,
    )


@app.command(epilog=examples("certctl keys show 01k9...", "certctl keys show admin"))
def show(context: typer.Context, key_id: Id, as_json: AsJson = False) -> None:
    """Show what a key may do, and when it was last used. The key itself cannot be shown again."""

    def describe(key: "KeyView", now: "datetime") -> str:
        from certctl.cli.key_words import key_text

        return key_text(key, now)

    show_one(context, as_json, lambda client: client.key(key_id), describe)


@app.command(epilog=examples("certctl keys revoke 01k9..."))
def revoke(context: typer.Context, key_id: Id, as_json: AsJson = False) -> None:
    """Refuse a key from now on. Every process of the server does so within a second.

    It cannot be taken back: make a new key instead. What was ordered with it goes on.
    """
    show_one(
        context,
        as_json,
        lambda client: client.revoke_key(key_id),
        lambda key, _: f"Key {key.id} ({key.name}) is {key.status}.",
    )


def _table(rows: "list[KeyView]", now: "datetime") -> "Table":
    from certctl.cli.key_words import scope_text
    from certctl.cli.tables import Column, Table
    from certctl.cli.times import relative

    columns = (
        Column("ID"),
        Column("NAME", least=8),
        Column("ROLE"),
        Column("STATUS", is_state=True),
        Column("SCOPE", least=6),
        Column("EXPIRES", extra=True),
        Column("LAST USED"),
    )
    return Table(
        columns,
        [
            (
                row.id,
                row.name,
                row.role,
                row.status,
                scope_text(row.scope),
                relative(row.expires_at, now) or "never",
                relative(row.last_used_at, now) or "never",
            )
            for row in rows
        ],
    )
