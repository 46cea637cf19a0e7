"""`certctl status`."""

import json
from typing import TYPE_CHECKING

import typer

from certctl.cli.exit_codes import ExitCode
from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from certctl.client import Client

EXAMPLES = examples(
    "certctl status", "certctl --server https://ca.example.org:8443 status && echo ready"
)


app = command_group()


@app.command(epilog=EXAMPLES)
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Ask whether the server is there, ready, and accepts the key."""
    from certctl import __version__

    session = Session(context, as_json)
    with session.connect(need_key=False) as client:
        client.health()
        is_ready = _is_ready(client)
        key = _key_state(client) if is_ready else "not tried"
        url = client.url
    if session.options.json:
        shown = {"url": url, "ready": is_ready, "api_key": key, "client_version": __version__}
        typer.echo(json.dumps(shown, indent=2))
    else:
        from certctl.cli.tables import fields

        ready = "yes" if is_ready else "no: its database does not answer or takes no writes"
        typer.echo(fields([("Server", url), ("Ready", ready), ("API key", key)]))
    if not is_ready:
        raise typer.Exit(ExitCode.NOT_REACHABLE)
    if key != "accepted":
        raise typer.Exit(ExitCode.NOT_AUTHORISED)


def _is_ready(client: "Client") -> bool:
    from certctl.client import ApiError

    try:
        client.ready()
    except ApiError as error:
        if error.status != 503:  # noqa: PLR2004 - what /readyz answers with
            raise
        return False
    return True


def _key_state(client: "Client") -> str:
    from certctl.cli.exit_codes import from_status
    from certctl.client import ApiError

    if not client.has_key:
        return "none found"
    try:
        client.profiles()
    except ApiError as error:
        if from_status(error.status) is not ExitCode.NOT_AUTHORISED:
            raise
        return "not accepted"
    return "accepted"
