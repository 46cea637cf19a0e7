"""`certctl profiles`."""

from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli.listing import show_list, show_one
from certctl.cli.session import AsJson, command_group, examples

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.issuers import ProfileView

_DAY = 86_400

Id = Annotated[str, typer.Argument(metavar="ID", help="The profile: prof-...")]

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples("certctl profiles", "certctl profiles show prof-tls-server"),
)
def list_all(context: typer.Context, as_json: AsJson = False) -> None:
    """List profiles; show the rules of one."""
    show_list(
        context, as_json, lambda client, *_: client.profiles(), _table, nothing="No profiles."
    )


@app.command(epilog=examples("certctl profiles show prof-tls-server"))
def show(context: typer.Context, profile_id: Id, as_json: AsJson = False) -> None:
    """Show a profile's rules."""
    show_one(context, as_json, lambda client: client.profile(profile_id), _described)


def _days(seconds: int) -> str:
    if seconds < _DAY:
        return f"{seconds / 60:g} min"
    return f"{seconds / _DAY:g} d"


def _table(rows: "list[ProfileView]", _now: "datetime") -> "Table":
    from certctl.cli.tables import Column, Table

    columns = (
        Column("ID"),
        Column("NAME", least=8),
        Column("NAMES", least=6),
        Column("USUAL"),
        Column("LONGEST"),
        Column("USAGES", least=8),
    )
    return Table(
        columns,
        [
            (
                row.id,
                row.name,
                " ".join(row.name_kinds),
                _days(row.default_validity_seconds),
                _days(row.max_validity_seconds),
                " ".join(row.usages),
            )
            for row in rows
        ],
    )


def _described(profile: "ProfileView", _now: "datetime") -> str:
    from certctl.cli.tables import fields

    return fields(
        [
            ("Profile", profile.id),
            ("Name", profile.name),
            ("For", profile.description),
            ("Key types", ", ".join(profile.key_types)),
            ("RSA", f"{profile.rsa_min_bits} bits or more" if "rsa" in profile.key_types else None),
            ("Usages", ", ".join(profile.usages)),
            ("Kinds of names", ", ".join(profile.name_kinds)),
            ("Usual lifetime", _days(profile.default_validity_seconds)),
            ("Longest lifetime", _days(profile.max_validity_seconds)),
            ("Must-staple", "yes" if profile.must_staple else "no"),
            ("New key on renewal", "yes" if profile.new_key_on_renewal else "no"),
            ("Enabled", "yes" if profile.enabled else "no"),
        ]
    )
