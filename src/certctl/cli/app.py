"""The commands and the global options, put together."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from certctl import __version__
from certctl.cli import exit_codes
from certctl.cli.session import Options, examples

#: The commands in the order of the help, each with the first sentence of its own help. A command's
#: module (of the same name) is loaded when it is called: `certctl --help` needs none of them.
COMMANDS = {
    "issue": "Get a certificate.",
    "renew": "Get the next version of a certificate, for the same names.",
    "revoke": "Revoke a certificate, or all that fit a filter.",
    "release": "Take back the hold of a certificate.",
    "certs": "List certificates; show, edit, archive, download or import one.",
    "revocations": "List revocations; follow or cancel many at once.",
    "orders": "List orders; show, cancel or resolve one.",
    "issuers": "List issuers; add, change, test or delete one.",
    "profiles": "List profiles; make, change or delete one.",
    "keys": "List API keys; make, show or revoke one.",
    "secrets": "Show the keys that seal what is stored; rotate them.",
    "audit": "Read the audit log; export it; verify it.",
    "status": "Ask whether the server is there, ready, and accepts the key.",
    "completion": "Print the script that completes commands in your shell.",
    "doctor": "Say what is wrong with this installation, and what to do.",
    "backup": "Write a backup of the embedded database, while the server runs.",
    "restore": "Put a backup into an empty data directory.",
    "server": "Run the server until it is told to stop (Ctrl-C).",
}


class RootGroup(TyperGroup):
    """Loads commands late, and turns their failures into words and an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update(
            {
                name: TyperCommand(name, help=sentence, rich_markup_mode=None)
                for name, sentence in COMMANDS.items()
            }
        )
        self._loaded: set[str] = set()

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        name = args[0]
        if name in COMMANDS and name not in self._loaded:
            module = import_module(f"certctl.cli.{name}")
            self.commands[name] = typer.main.get_command(module.app)
            self._loaded.add(name)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except Exception as error:
            from certctl.cli.errors import explain

            report = explain(error)
            if report is None:
                raise
            options = ctx.find_object(Options)
            as_json = options is not None and options.json
            typer.echo(report.as_json() if as_json else report.as_text(), err=True)
            raise typer.Exit(report.exit_code) from error


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"certctl {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=RootGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,  # `certctl completion` has what Typer's own lacks: see `completing`
    no_args_is_help=True,
    epilog=examples(
        "certctl server                       start the server",
        "certctl issue www.example.org        get a certificate",
        "certctl certs                        list them",
        "certctl --json certs | jq .data      for programs",
    )
    + "\n\n\b\nExit codes:\n"
    + exit_codes.table(),
)


@app.callback()
def root(
    context: typer.Context,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the API's JSON; errors are JSON on stderr.")
    ] = False,
    server_url: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="The server. [env: CERTCTL_SERVER_URL]"),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A local server's data directory: address, key and CA are read from it. "
            "[env: CERTCTL_DATA_DIR; default: ./data, /var/lib/certctl]",
        ),
    ] = None,
    ca_bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The CA that signed the server's certificate. [env: CERTCTL_CA_BUNDLE]",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Get TLS certificates, and keep track of them.

    The API key is read from CERTCTL_API_KEY, or from admin.key in a local server's data directory.
    """
    del version
    context.obj = Options(as_json, server_url, data_dir, ca_bundle)
