"""The commands and the global options, put together."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from certctl import __version__
from certctl.cli import audit, certs, exit_codes, issue, issuers, orders, profiles, server, status
from certctl.cli.errors import explain
from certctl.cli.session import Options, examples

_ORDER = ("issue", "certs", "orders", "issuers", "profiles", "audit", "status", "server")


class RootGroup(TyperGroup):
    """Turns failures of any command into words and an exit code."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except Exception as error:
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
    """Get TLS certificates from any certificate authority, and keep track of them.

    The API key is read from CERTCTL_API_KEY, or from admin.key in a local server's data directory.
    """
    del version
    context.obj = Options(as_json, server_url, data_dir, ca_bundle)


app.command(epilog=issue.EXAMPLES)(issue.issue)
app.add_typer(certs.app)
app.add_typer(orders.app)
app.add_typer(issuers.app)
app.add_typer(profiles.app)
app.add_typer(audit.app)
app.command(epilog=status.EXAMPLES)(status.status)
app.command(epilog=server.EXAMPLES)(server.server)
