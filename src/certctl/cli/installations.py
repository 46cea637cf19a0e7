"""What the commands share that work on an installation itself, and not through its API."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from certctl.cli.session import Session

DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The server's data directory. [env: CERTCTL_DATA_DIR; default: ./data, "
        "/var/lib/certctl]",
    ),
]


def which(session: "Session", data_dir: Path | None) -> Path | None:
    """The data directory that was named after the command, or before it."""
    return data_dir or session.options.data_dir
