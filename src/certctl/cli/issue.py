"""`certctl issue`."""

from typing import TYPE_CHECKING, Annotated

import typer

from certctl.cli import known
from certctl.cli.options import (
    CsrFile,
    Days,
    ForceAll,
    IdempotencyKey,
    KeyFile,
    KeySignature,
    KeySignatureFile,
    Label,
    NoWait,
    Out,
    Wait,
    check_signature_options,
    read_labels,
)
from certctl.cli.requests import KeyChoice
from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from certctl.schemas.certificates import CertificateCreate

EXAMPLES = examples(
    "certctl issue www.example.org",
    "certctl issue www.example.org 10.0.0.1 --days 30 --out /etc/tls/",
    "certctl issue www.example.org --out /etc/tls/web      writes web.crt, ...",
    "certctl issue www.example.org --key www.key           with a key you have",
    "certctl issue www.example.org --owner web --label env=prod",
    "certctl issue --csr www.csr                           with a CSR you have",
    "certctl issue www.example.org --key-signature         if the CA wants one",
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
        str,
        typer.Option(
            metavar="ID",
            help="Rules to follow: see certctl profiles.",
            autocompletion=known.profiles,
        ),
    ] = "prof-tls-server",
    issuer: Annotated[
        str,
        typer.Option(
            metavar="ID", help="Issuer to ask: see certctl issuers.", autocompletion=known.issuers
        ),
    ] = "iss-local",
    days: Days = None,
    key_type: Annotated[
        KeyChoice | None,
        typer.Option(help="Kind of key to make. [default: ecdsa-p256]", show_default=False),
    ] = None,
    key: KeyFile = None,
    csr: CsrFile = None,
    key_signature: KeySignature = False,
    key_signature_file: KeySignatureFile = None,
    common_name: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Common name in the subject; names do without."),
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Who looks after the certificate.", autocompletion=known.owners
        ),
    ] = None,
    label: Label = None,
    out: Out = ".",
    force: ForceAll = False,
    wait: Wait = 60,
    no_wait: NoWait = False,
    idempotency_key: IdempotencyKey = None,
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
    check_signature_options(sign=key_signature, signature=key_signature_file, csr=csr)
    if not names and csr is None and common_name is None:
        raise typer.BadParameter("name what is to be certified", param_hint="'NAME'")

    from certctl.cli import bodies, issuance, requests
    from certctl.schemas.certificates import CertificateCreate

    session = Session(context, as_json)
    if csr is not None:
        prepared = requests.from_file(csr, key_signature_file)
    else:
        prepared = requests.from_names(
            names or [],
            common_name,
            choice=key_type or KeyChoice.P256,
            key_file=key,
            sign=key_signature,
        )
    body = bodies.make(
        CertificateCreate,
        issuer_id=issuer,
        profile_id=profile,
        csr=prepared.csr,
        key_signature=prepared.key_signature,
        names=names if csr is not None else None,
        validity_days=days,
        owner=owner,
        labels=read_labels(label),
    )
    with session.connect() as client:
        issuance.carry_out(
            session,
            client,
            prepared,
            issuance.Ordering(
                send=lambda key, seconds: client.issue(body, idempotency_key=key, wait=seconds),
                repetition=_repetition(body),
                issuer=issuer,
                done="Issued",
            ),
            issuance.Delivery(out, force, 0 if no_wait else wait, idempotency_key),
        )


def _repetition(body: "CertificateCreate") -> list[str]:
    command = ["certctl", "issue", *(body.names or ())]
    command += ["--issuer", body.issuer_id, "--profile", body.profile_id]
    if body.validity_days is not None:
        command += ["--days", str(body.validity_days)]
    if body.owner is not None:
        command += ["--owner", body.owner]
    for key, text in (body.labels or {}).items():
        command += ["--label", f"{key}={text}"]
    return command
