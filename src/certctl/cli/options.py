"""Options that several commands have, with the same words."""

from pathlib import Path
from typing import Annotated

import typer

# Of `issue` and `renew`

Days = Annotated[
    int | None,
    typer.Option(min=1, max=36_500, metavar="N", help="Lifetime. [default: the profile's]"),
]
KeyFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Use this private key; make none.")
]
CsrFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Send this CSR; make no key.")]
Out = Annotated[
    str, typer.Option(metavar="PATH", help="Folder for the files, or the beginning of their names.")
]
ForceAll = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Repeat an earlier request that was not answered."),
]

# Of what a CA may be slow with

Wait = Annotated[
    int, typer.Option(min=0, metavar="SECONDS", help="How long to wait for a slow CA.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait: --wait 0.")]

# Of downloads

OutFile = Annotated[str, typer.Option(metavar="FILE", help="Where to; - is standard output.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
