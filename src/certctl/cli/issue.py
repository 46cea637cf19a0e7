"""`certctl issue`."""

from pathlib import Path
from typing import Annotated

import typer

from certctl.cli.requests import KeyChoice
from certctl.cli.session import AsJson, Session, command_group, examples

EXAMPLES = examples(
    "certctl issue www.example.org",
    "certctl issue www.example.org 10.0.0.1 --days 30 --out /etc/tls/",
    "certctl issue www.example.org --out /etc/tls/web      writes web.crt, ...",
    "certctl issue www.example.org --key www.key           with a key you have",
    "certctl issue --csr www.csr                           with a CSR you have",
    "certctl issue spiffe://example.org/api --profile prof-mtls",
)


app = command_group()


@app.command(epilog=EXAMPLES)
def issue(
    context: typer.Context,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Names to certify: www.example.org, *.example.org, 10.0.0.1, user@example.org, "
            "spiffe://...",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(metavar="ID", help="Rules to follow: see certctl profiles.")
    ] = "prof-tls-server",
    issuer: Annotated[
        str, typer.Option(metavar="ID", help="Issuer to ask: see certctl issuers.")
    ] = "iss-local",
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, metavar="N", help="Lifetime. [default: the profile's]"),
    ] = None,
    key_type: Annotated[
        KeyChoice | None,
        typer.Option(help="Kind of key to make. [default: ecdsa-p256]", show_default=False),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Use this private key; make none.")
    ] = None,
    csr: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Send this CSR; make no key.")
    ] = None,
    common_name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Common name in the subject; names do without."),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Who looks after the certificate.")
    ] = None,
    out: Annotated[
        str,
        typer.Option(metavar="PATH", help="Folder for the files, or the beginning of their names."),
    ] = ".",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    wait: Annotated[
        int, typer.Option(min=0, metavar="SECONDS", help="How long to wait for a slow CA.")
    ] = 60,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait: --wait 0.")] = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Repeat an earlier request that was not answered."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Get a certificate.

    The private key is made on this machine, for you alone to read, and stays here: only a request
    (CSR) is sent. Writes NAME.key, NAME.crt and NAME.chain.crt (with the CA's certificates, for
    servers). No file is replaced without --force.
    """
    if csr is not None and (key or key_type or common_name is not None):
        raise typer.BadParameter(
            "a CSR has its key and common name already: leave out --key, --key-type, --common-name",
            param_hint="'--csr'",
        )
    if key is not None and key_type is not None:
        raise typer.BadParameter("the key is there: leave out --key-type", param_hint="'--key'")
    if not names and csr is None and common_name is None:
        raise typer.BadParameter("name what is to be certified", param_hint="'NAME'")

    from certctl.cli import issuance, requests

    if csr is not None:
        prepared = requests.from_file(csr)
    else:
        prepared = requests.from_names(
            names or [], common_name, choice=key_type or KeyChoice.P256, key_file=key
        )
    issuance.issue(
        Session(context, as_json),
        prepared,
        issuance.Wanted(
            issuer=issuer,
            profile=profile,
            names=names if csr is not None else None,
            days=days,
            owner=owner,
            out=out,
            force=force,
            wait=0 if no_wait else wait,
            idempotency_key=idempotency_key,
        ),
    )
