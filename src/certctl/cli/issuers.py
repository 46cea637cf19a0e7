"""`certctl issuers`."""

from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli import known
from certctl.cli.listing import show_list, show_one
from certctl.cli.options import Force, OutFile
from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.issuer_changes import Limits
    from certctl.cli.tables import Table
    from certctl.schemas.issuers import IssuerView

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The issuer: iss-...", autocompletion=known.issuers)
]
Values = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting; lists with commas. Repeatable."),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="NAME", help="Be asked for a secret setting. Repeatable."),
]
SecretFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--secret-file",
        metavar="NAME=FILE",
        help="Read a secret setting; - is standard input. Repeatable.",
    ),
]
MaxConcurrency = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="At most so many calls to the CA at a time; 0: any."),
]
MaxCallsPerMinute = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="At most so many calls to the CA a minute; 0: any."),
]

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "certctl issuers",
        "certctl issuers types                     which CAs are there?",
        "certctl issuers create TYPE               add one; you are asked",
        "certctl issuers test iss-local            does the CA let us in?",
        "certctl issuers ca iss-local --out root.pem",
    ),
)
def list_all(
    context: typer.Context,
    archived: Annotated[
        bool, typer.Option("--archived", help="Also those that were archived.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List issuers; add, change, test or delete one."""

    def table(rows: "list[IssuerView]", now: "datetime") -> "Table":
        from certctl.cli.issuer_words import issuers_table

        return issuers_table(rows, now)

    show_list(
        context,
        as_json,
        lambda client, *_: client.issuers(archived=archived),
        table,
        nothing="No issuers. Add one: certctl issuers create TYPE (see certctl issuers types)",
    )


@app.command(epilog=examples("certctl issuers show iss-local"))
def show(context: typer.Context, issuer_id: Id, as_json: AsJson = False) -> None:
    """Show an issuer: its settings, its limits, how it stands with the CA.

    Secrets are never shown: stars say that one is set.
    """
    show_one(context, as_json, lambda client: client.issuer(issuer_id), _described)


@app.command(
    epilog=examples(
        "certctl issuers types", "certctl issuers types GenericCA     its settings, explained"
    )
)
def types(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="A type, to see its settings.", autocompletion=known.issuer_types
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the types of CA that the server knows, or the settings of one."""
    from certctl.cli.issuer_settings import find_type, settings_of
    from certctl.cli.issuer_words import settings_table, types_table

    session = Session(context, as_json)
    with session.connect() as client:
        page = client.issuer_types()
    if name is None:
        session.answer_page(page, lambda: types_table(page.data, session.now), nothing="No types.")
        return
    kind = find_type(page.data, name)
    settings = settings_of(kind)
    if not settings and not session.options.json:
        session.note(f"{kind.name} has no settings.")
        return
    session.answer(kind, lambda: settings_table(settings))


@app.command(
    epilog=examples(
        "certctl issuers create GenericCA          you are asked for the rest",
        "certctl issuers create GenericCA --id iss-lab --set common_name='Lab CA'",
        "certctl issuers create GenericCA --config settings.json --disabled",
        "certctl issuers create GenericCA --set cert_path=/etc/ca.pem \\",
        "    --set key_path=/etc/ca.key --secret-file key_password=password.txt",
    )
)
def create(
    context: typer.Context,
    type_name: Annotated[
        str,
        typer.Argument(
            metavar="TYPE",
            help="The type of CA: see certctl issuers types.",
            autocompletion=known.issuer_types,
        ),
    ],
    *,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What to call it. [default: the type's]")
    ] = None,
    issuer_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Its id, iss-... [default: made from the name]"),
    ] = None,
    values: Values = None,
    secrets: Secrets = None,
    secret_files: SecretFiles = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="FILE", help="A JSON object with settings; - is standard input."
        ),
    ] = None,
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Do not let it issue for now.")
    ] = False,
    max_concurrency: MaxConcurrency = None,
    max_calls_per_minute: MaxCallsPerMinute = None,
    as_json: AsJson = False,
) -> None:
    """Add an issuer: an account at a CA.

    On a terminal you are asked for the settings that it cannot do without; with none given at all,
    for the others as well if you like. `certctl issuers types TYPE` explains them.

    A secret is typed at a hidden prompt or read from a file, never written on the command line,
    where others on this machine could see it.
    """
    session = Session(context, as_json)

    from certctl.cli import issuer_changes
    from certctl.cli.issuer_forms import Given

    given = Given.read(
        values=values or (), secrets=secrets or (), secret_files=secret_files or (), file=file
    )
    issuer_changes.create(
        session,
        type_name,
        given,
        _limits(max_concurrency, max_calls_per_minute),
        name=name,
        issuer_id=issuer_id,
        enabled=not disabled,
    )


@app.command(
    epilog=examples(
        "certctl issuers update iss-lab --set crl_validity_hours=48",
        "certctl issuers update iss-lab --secret key_password",
        "certctl issuers update iss-lab --unset crl_validity_hours --name 'Lab CA'",
        "certctl issuers update iss-lab --max-concurrency 4 --max-calls-per-minute 0",
        "certctl issuers update iss-lab --from-environment",
    )
)
def update(
    context: typer.Context,
    issuer_id: Id,
    *,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="What to call it.")] = None,
    values: Values = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Back to the default; forget a secret. Repeatable."),
    ] = None,
    secrets: Secrets = None,
    secret_files: SecretFiles = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="A JSON object that replaces all settings; secrets it leaves out stay.",
        ),
    ] = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Let it issue, or not.")
    ] = None,
    max_concurrency: MaxConcurrency = None,
    max_calls_per_minute: MaxCallsPerMinute = None,
    from_environment: Annotated[
        bool,
        typer.Option(
            "--from-environment", help="Take the settings in the server's environment instead."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change an issuer; what is not named stays as it is.

    The change is in effect at once, without a restart. Orders that wait go on with it.

    The settings of an issuer come either from the server's environment or from the API, whichever
    was used last: changing one of the environment's makes it the API's, and --from-environment
    makes it the environment's again.
    """
    session = Session(context, as_json)

    from certctl.cli import issuer_changes
    from certctl.cli.issuer_forms import Given

    given = Given.read(
        values=values or (),
        secrets=secrets or (),
        secret_files=secret_files or (),
        unset=unset or (),
        file=file,
    )
    limits = _limits(max_concurrency, max_calls_per_minute)
    says_something = bool(given or limits or name is not None or enable is not None)
    if says_something and from_environment:
        raise typer.BadParameter(
            "the environment's settings are taken as they are: change nothing else with it",
            param_hint="'--from-environment'",
        )
    if from_environment:
        issuer_changes.take_from_environment(session, issuer_id)
        return
    if not says_something:
        raise typer.BadParameter(
            "say what is to change: --name, --set, --unset, --secret, --secret-file, --config, "
            "--enable, --disable, --max-concurrency, --max-calls-per-minute, or "
            "--from-environment"
        )
    issuer_changes.update(session, issuer_id, given, limits, name=name, enabled=enable)


@app.command(epilog=examples("certctl issuers enable iss-lab"))
def enable(context: typer.Context, issuer_id: Id, as_json: AsJson = False) -> None:
    """Let an issuer issue."""
    show_one(context, as_json, lambda client: client.enable_issuer(issuer_id), _described)


@app.command(epilog=examples("certctl issuers disable iss-lab"))
def disable(context: typer.Context, issuer_id: Id, as_json: AsJson = False) -> None:
    """Keep an issuer from issuing, until it is enabled again."""
    show_one(context, as_json, lambda client: client.disable_issuer(issuer_id), _described)


@app.command(
    "test",
    epilog=examples("certctl issuers test iss-lab", "certctl issuers test iss-lab && echo let in"),
)
def call_the_ca(context: typer.Context, issuer_id: Id, as_json: AsJson = False) -> None:
    """Have the server call the CA with the issuer's settings; exit code 10 if that fails.

    Nothing is ordered. What comes of it is kept: certctl issuers show.
    """
    from certctl.cli import issuer_changes

    issuer_changes.check(Session(context, as_json), issuer_id)


@app.command(
    epilog=examples(
        "certctl issuers delete iss-lab", "certctl issuers delete iss-lab --archive --yes"
    )
)
def delete(
    context: typer.Context,
    issuer_id: Id,
    *,
    archive: Annotated[
        bool,
        typer.Option("--archive", help="Keep it for what it issued; it issues nothing any more."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete an issuer that no certificate depends on, or archive one.

    You see it, and are asked first.
    """
    session = Session(context, as_json)

    from certctl.cli import issuer_changes
    from certctl.cli.confirming import need_somebody

    look = f"look first with certctl issuers show {issuer_id}"
    need_somebody(session, yes=yes, otherwise=look)
    issuer_changes.delete(session, issuer_id, archive=archive, ask_first=not yes)


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


def _limits(concurrency: int | None, calls_per_minute: int | None) -> "Limits":
    from certctl.cli.issuer_changes import Limits

    return Limits(concurrency, calls_per_minute)


def _described(issuer: "IssuerView", now: "datetime") -> str:
    from certctl.cli.issuer_words import issuer_fields

    return issuer_fields(issuer, now)
