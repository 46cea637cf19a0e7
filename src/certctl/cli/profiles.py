"""`certctl profiles`."""

from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli import known
from certctl.cli.listing import show_list, show_one
from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.tables import Table
    from certctl.schemas.profiles import ProfileView

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The profile: prof-...", autocompletion=known.profiles)
]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A rule; lists with commas, lifetimes as 90d. Repeatable.",
    ),
]
File = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="A JSON object with all rules; - is standard input."),
]

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "certctl profiles",
        "certctl profiles show prof-tls-server",
        "certctl profiles rules                    what can be set?",
        "certctl profiles create 'Web servers' --like prof-tls-server",
        "certctl profiles edit prof-web-servers    opens your editor",
    ),
)
def list_all(
    context: typer.Context,
    archived: Annotated[
        bool, typer.Option("--archived", help="Also those that were archived.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List profiles; make, change or delete one."""

    def table(rows: "list[ProfileView]", now: "datetime") -> "Table":
        from certctl.cli.profile_words import profiles_table

        return profiles_table(rows, now)

    show_list(
        context,
        as_json,
        lambda client, *_: client.profiles(archived=archived),
        table,
        nothing="No profiles.",
    )


@app.command(epilog=examples("certctl profiles show prof-tls-server"))
def show(context: typer.Context, profile_id: Id, as_json: AsJson = False) -> None:
    """Show a profile's rules."""
    show_one(context, as_json, lambda client: client.profile(profile_id), _described)


@app.command(epilog=examples("certctl profiles rules"))
def rules(context: typer.Context, as_json: AsJson = False) -> None:
    """Explain the rules that a profile has: what each takes, and its default."""
    session = Session(context, as_json)

    from certctl.cli import profile_words
    from certctl.cli.tables import draw

    if session.options.json:
        import json

        from certctl.schemas.profiles import ProfileRules

        typer.echo(json.dumps(ProfileRules.model_json_schema(), indent=2))
        return
    draw(profile_words.rules_table(profile_words.rules()))


@app.command(
    epilog=examples(
        "certctl profiles create 'Shop' --like prof-tls-server \\",
        "    --set name_kinds=dns --set name_patterns='*.shop.example.org'",
        "certctl profiles create Mail --set usages=emailProtection \\",
        "    --set name_kinds=email --set name_patterns=@example.org \\",
        "    --set default_validity=90d --set max_validity=1095d",
        "certctl profiles create --file profile.json --disabled",
    )
)
def create(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="What to call it. [default: the file's name]"),
    ] = None,
    *,
    profile_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Its id, prof-... [default: made from the name]"),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Start from the rules of this profile.",
            autocompletion=known.profiles,
        ),
    ] = None,
    values: Values = None,
    file: File = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Do not let it be used for now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a profile: rules for a class of certificates.

    `certctl profiles rules` explains what can be set.
    """
    session = Session(context, as_json)

    from certctl.cli import profile_changes

    if like is not None and file is not None:
        raise typer.BadParameter(
            "rules come from a profile or from a file, not from both", param_hint="'--like'"
        )
    given = profile_changes.Given.read(values or (), file=file)
    profile_changes.create(
        session, given, name=name, profile_id=profile_id, like=like, disabled=disabled
    )


@app.command(
    epilog=examples(
        "certctl profiles edit prof-shop           opens your editor",
        "certctl profiles edit prof-shop --set max_validity=47d",
        "certctl profiles edit prof-shop --unset allowed_issuers",
        "certctl profiles edit prof-shop --file profile.json",
    )
)
def edit(
    context: typer.Context,
    profile_id: Id,
    *,
    values: Values = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Back to the rule's default. Repeatable."),
    ] = None,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Change a profile: what is named, or in an editor.

    Without options, its rules are opened as JSON in your editor (VISUAL or EDITOR). With options,
    what they do not name stays as it is; --file replaces all rules.

    A change is for what comes next: what was issued or ordered stays as it is.
    """
    session = Session(context, as_json)

    from certctl.cli import profile_changes

    given = profile_changes.Given.read(values or (), unset or (), file)
    profile_changes.edit(session, profile_id, given)


@app.command(epilog=examples("certctl profiles enable prof-shop"))
def enable(context: typer.Context, profile_id: Id, as_json: AsJson = False) -> None:
    """Let a profile be used."""
    show_one(context, as_json, lambda client: client.enable_profile(profile_id), _described)


@app.command(epilog=examples("certctl profiles disable prof-shop"))
def disable(context: typer.Context, profile_id: Id, as_json: AsJson = False) -> None:
    """Keep a profile from being used, renewals included, until it is enabled again."""
    show_one(context, as_json, lambda client: client.disable_profile(profile_id), _described)


@app.command(
    epilog=examples(
        "certctl profiles delete prof-shop", "certctl profiles delete prof-shop --archive --yes"
    )
)
def delete(
    context: typer.Context,
    profile_id: Id,
    *,
    archive: Annotated[
        bool,
        typer.Option("--archive", help="Keep it for what was ordered with it; it is used no more."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a profile that no certificate uses, or archive one.

    You see it, and are asked first.
    """
    session = Session(context, as_json)

    from certctl.cli import profile_changes
    from certctl.cli.confirming import need_somebody

    look = f"look first with certctl profiles show {profile_id}"
    need_somebody(session, yes=yes, otherwise=look)
    profile_changes.delete(session, profile_id, archive=archive, ask_first=not yes)


def _described(profile: "ProfileView", now: "datetime") -> str:
    from certctl.cli.profile_words import profile_fields

    return profile_fields(profile, now)
