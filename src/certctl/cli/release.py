"""`certctl release`."""

from typing import Annotated

import typer

from certctl.cli import known
from certctl.cli.options import NoWait, Wait
from certctl.cli.session import AsJson, Session, command_group, examples

app = command_group()


@app.command(
    epilog=examples("certctl release cert-...", "certctl release cert-... --version ver-...")
)
def release(
    context: typer.Context,
    *,
    certificate_id: Annotated[
        str,
        typer.Argument(
            metavar="CERT-ID",
            help="The certificate: see certctl certs.",
            autocompletion=known.certificates,
        ),
    ],
    version: Annotated[
        str | None,
        typer.Option(
            metavar="VER-ID",
            help="Only this version: see certctl certs show.",
            autocompletion=known.versions,
        ),
    ] = None,
    wait: Wait = 60,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Take back the hold of a certificate.

    What was revoked with the reason certificateHold is valid again. No other revocation can be
    taken back.
    """
    from certctl.cli import revoking

    meant = revoking.Meant(certificate_id, version)
    revoking.release(Session(context, as_json), meant, wait=0 if no_wait else wait)
