"""`certctl server`: the only module of the command line that knows the server's side."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from certctl.cli.session import Options, command_group, examples

EXAMPLES = examples(
    "certctl server",
    "certctl server --data-dir /var/lib/certctl --host 0.0.0.0",
    "CERTCTL_DATABASE_URL=postgresql://... certctl server --workers 4",
)


class LogLevel(StrEnum):
    """Least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


app = command_group()


@app.command(epilog=EXAMPLES)
def server(
    context: typer.Context,
    *,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="Address to listen on. [env: CERTCTL_SERVER_HOST; default: 127.0.0.1]",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            metavar="PORT",
            help="Port. [env: CERTCTL_SERVER_PORT; default: 8443]",
        ),
    ] = None,
    status_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            metavar="PORT",
            help="Port of the plain HTTP for CRLs and OCSP. "
            "[env: CERTCTL_STATUS_PORT; default: 8080]",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where database, first key and CA file are. "
            "[env: CERTCTL_DATA_DIR; default: ./data]",
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="PostgreSQL instead of SQLite. A password is safer in the variable. "
            "[env: CERTCTL_DATABASE_URL]",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Processes; PostgreSQL only. [env: CERTCTL_WORKERS; default: 1]",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(help="[env: CERTCTL_LOG_LEVEL; default: info]", show_default=False),
    ] = None,
) -> None:
    """Run the server until it is told to stop (Ctrl-C).

    The first start makes a Local CA, profiles and an admin key; the key is in the file admin.key
    of the data directory. Further settings are environment variables.
    """
    options = context.find_object(Options) or Options()
    wanted: dict[str, object] = {
        "server_host": host,
        "server_port": port,
        "status_port": status_port,
        "data_dir": data_dir or options.data_dir,
        "database_url": database_url,
        "workers": workers,
        "log_level": log_level.value if log_level is not None else None,
    }

    from certctl.server import serve

    given = {name: value for name, value in wanted.items() if value is not None}
    raise typer.Exit(serve(given))
