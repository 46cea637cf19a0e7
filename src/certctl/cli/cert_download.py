"""`certctl certs download`."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from certctl.cli import known
from certctl.cli.options import CertificateId, Force, OutFile
from certctl.cli.session import AsJson, Session, command_group, examples

_DEFAULT_PASSWORD = "changeit"  # noqa: S105 - what the server takes; it guards nothing


class FileFormat(StrEnum):
    """Forms of a certificate as a file."""

    PEM = "pem"
    CHAIN = "chain"
    DER = "der"
    PKCS7 = "pkcs7"
    PKCS12 = "pkcs12"
    JKS = "jks"


_TEXT = frozenset({FileFormat.PEM, FileFormat.CHAIN})
_STORES = frozenset({FileFormat.PKCS12, FileFormat.JKS})

app = command_group()


@app.command(
    epilog=examples(
        "certctl certs download cert-... --format chain --out www.chain.crt",
        "certctl certs download cert-... | openssl x509 -noout -text",
        "certctl certs download cert-... --version ver-...     an older one",
        "certctl certs download cert-... --format pkcs12 --out trust.p12",
        "keytool -list -keystore trust.p12 -storepass changeit",
    )
)
def download(
    context: typer.Context,
    certificate_id: CertificateId,
    *,
    file_format: Annotated[
        FileFormat,
        typer.Option(
            "--format",
            help="pem: the certificate; chain: with its CAs; der: binary; pkcs7: with its CAs, "
            "binary; pkcs12, jks: a trust store for Java, with its CAs.",
        ),
    ] = FileFormat.PEM,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="One of its versions: ver-... [default: the newest]",
            autocompletion=known.versions,
        ),
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The trust store's password is the file's first line; - is standard input. "
            f"[default: {_DEFAULT_PASSWORD}]",
        ),
    ] = None,
    out: OutFile = "-",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Download a version as a file: the newest, or the one that you name.

    A trust store has the certificates of the CAs in it, and no private key: certctl has none. Its
    password guards nothing that is secret.
    """
    if out == "-" and file_format not in _TEXT and sys.stdout.isatty():
        raise typer.BadParameter(
            f"{file_format.value} is binary: name a file with --out", param_hint="'--format'"
        )
    if password_file is not None and file_format not in _STORES:
        raise typer.BadParameter(
            "only pkcs12 and jks have a password", param_hint="'--password-file'"
        )

    from certctl.cli.files import read_text, save

    password = None
    if password_file is not None:
        password = read_text(password_file, "--password-file").partition("\n")[0].rstrip("\r")
    session = Session(context, as_json)
    with session.connect() as client:
        content = client.download(
            certificate_id, file_format.value, version_id=version, store_password=password
        )
    save(session, content, out, force=force)
    if file_format in _STORES and password is None:
        session.note(f"Its password is {_DEFAULT_PASSWORD}.")
