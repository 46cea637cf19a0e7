"""Options that several commands have, with the same words."""

from pathlib import Path
from typing import Annotated

import typer

from certctl.cli import known

CertificateId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The certificate: cert-...", autocompletion=known.certificates
    ),
]

# Of what people hang on certificates

Label = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=TEXT", help="A label; give it again for another one."),
]


def read_labels(texts: list[str] | None) -> dict[str, str] | None:
    """Labels as they are written on the command line. Raises BadParameter."""
    if not texts:
        return None
    found: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or key in found:
            raise typer.BadParameter(
                "write KEY=TEXT, each key once: --label env=prod", param_hint="'--label'"
            )
        found[key] = value
    return found


# Of `issue` and `renew`

Days = Annotated[
    int | None,
    typer.Option(min=1, max=36_500, metavar="N", help="Lifetime. [default: the profile's]"),
]
KeyFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Use this private key; make none.")
]
CsrFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Send this CSR; make no key.")]
KeySignature = Annotated[
    bool,
    typer.Option(
        "--key-signature",
        help="Also sign the bare public key, for CA accounts that take it in place of a CSR.",
    ),
]
KeySignatureFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Send this signature over the public key in --csr."),
]
Out = Annotated[
    str, typer.Option(metavar="PATH", help="Folder for the files, or the beginning of their names.")
]
ForceAll = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Repeat an earlier request that was not answered."),
]


def check_signature_options(
    *, sign: bool, signature: Path | None, csr: Path | None, same_key: bool = False
) -> None:
    """Raise BadParameter where a signature is wanted that cannot be made, or be sent."""
    if same_key and (sign or signature is not None):
        raise typer.BadParameter(
            "the server has the signature that came with its CSR: leave out --key-signature and "
            "--key-signature-file, or bring the key with --key",
            param_hint="'--same-key'",
        )
    if sign and csr is not None:
        raise typer.BadParameter(
            "the private key is not here: sign with the tool that has it, and use "
            "--key-signature-file",
            param_hint="'--key-signature'",
        )
    if signature is not None and csr is None:
        raise typer.BadParameter(
            "a signature is sent with the CSR of its key: add --csr, or use --key-signature",
            param_hint="'--key-signature-file'",
        )


# Of what a CA may be slow with

Wait = Annotated[
    int, typer.Option(min=0, metavar="SECONDS", help="How long to wait for a slow CA.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait: --wait 0.")]

# Of downloads

OutFile = Annotated[str, typer.Option(metavar="FILE", help="Where to; - is standard output.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
