"""`certctl renew`."""

from dataclasses import replace
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
    NoWait,
    Out,
    Wait,
    check_signature_options,
)
from certctl.cli.requests import KeyChoice
from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from certctl.schemas.certificates import CertificateView, VersionView

EXAMPLES = examples(
    "certctl renew cert-...                           a new key, files here",
    "certctl renew cert-... --force --out /etc/tls/   replace the files there",
    "certctl renew cert-... --same-key --force        no new key",
    "certctl renew cert-... --csr www.csr             with a CSR you have",
)


app = command_group()


@app.command(epilog=EXAMPLES)
def renew(
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
    key_type: Annotated[
        KeyChoice | None,
        typer.Option(
            help="Kind of key to make. [default: that of the present one]", show_default=False
        ),
    ] = None,
    key: KeyFile = None,
    csr: CsrFile = None,
    key_signature: KeySignature = False,
    key_signature_file: KeySignatureFile = None,
    same_key: Annotated[
        bool,
        typer.Option(
            "--same-key",
            help="Keep the key, where the profile allows it: the server takes the CSR it has.",
        ),
    ] = False,
    days: Days = None,
    out: Out = ".",
    force: ForceAll = False,
    wait: Wait = 60,
    no_wait: NoWait = False,
    idempotency_key: IdempotencyKey = None,
    as_json: AsJson = False,
) -> None:
    """Get the next version of a certificate, for the same names.

    A new private key is made on this machine, for you alone to read, and stays here: only a
    request (CSR) is sent. Writes NAME.key, NAME.crt and NAME.chain.crt like certctl issue. No
    file is replaced without --force; with it, the old key is replaced only when its new
    certificate is there. The old version stays valid until it ends or is revoked.
    """
    chosen = [key_type is not None, key is not None, csr is not None, same_key]
    if sum(chosen) > 1:
        raise typer.BadParameter(
            "choose one of --key-type, --key, --csr and --same-key", param_hint="'--key'"
        )
    check_signature_options(
        sign=key_signature, signature=key_signature_file, csr=csr, same_key=same_key
    )

    from certctl.cli import bodies, issuance, requests
    from certctl.schemas.certificates import RenewRequest

    session = Session(context, as_json)
    given = None if csr is None else requests.from_file(csr, key_signature_file)
    with session.connect() as client:
        certificate = client.certificate(certificate_id)
        version = _newest(certificate)
        stem = requests.stem_of(certificate)
        if given is not None:
            prepared = replace(given, stem=stem)
        elif same_key:
            prepared = requests.Prepared(None, stem)
        else:
            prepared = requests.for_renewal(
                certificate, version, choice=key_type, key_file=key, sign=key_signature
            )
        body = bodies.make(
            RenewRequest,
            csr=prepared.csr,
            key_signature=prepared.key_signature,
            validity_days=days,
        )
        command = ["certctl", "renew", certificate_id]
        if days is not None:
            command += ["--days", str(days)]
        if same_key:
            command.append("--same-key")
        issuance.carry_out(
            session,
            client,
            prepared,
            issuance.Ordering(
                send=lambda key, seconds: client.renew(
                    certificate_id, body, idempotency_key=key, wait=seconds
                ),
                repetition=command,
                issuer=certificate.issuer_id,
                done="Renewed",
                present=version.id,
            ),
            issuance.Delivery(out, force, 0 if no_wait else wait, idempotency_key),
        )


def _newest(certificate: "CertificateView") -> "VersionView":
    from certctl.cli.errors import CommandFailed
    from certctl.cli.exit_codes import ExitCode

    if certificate.version is None:
        raise CommandFailed(
            "certificate-not-issued",
            "the CA has not issued this certificate yet: there is nothing to renew",
            exit_code=ExitCode.REFUSED,
            hint=f"look at its order: certctl orders show {certificate.order_id}",
        )
    return certificate.version
