"""`certctl completion`."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from certctl.cli import completion_scripts
from certctl.cli.session import AsJson, Session, command_group, examples


class Shell(StrEnum):
    """Shells that ask."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


SCRIPTS = {
    Shell.BASH: completion_scripts.BASH,
    Shell.ZSH: completion_scripts.ZSH,
    Shell.FISH: completion_scripts.FISH,
}

app = command_group()


@app.command(
    epilog=examples(
        "certctl completion bash --install",
        "source <(certctl completion bash)          in this shell, or in ~/.bashrc",
        "certctl completion fish --install",
        "certctl completion zsh --install           says what ~/.zshrc needs",
    )
)
def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.", show_default=False)],
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Write it where the shell looks for it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the script that completes commands in your shell.

    With it, Tab completes commands, options and values. Ids of issuers, profiles, certificates,
    orders and keys come from the server, as far as your key may see them. When the server does not
    answer within a second, nothing is offered.
    """
    session = Session(context, as_json)
    script = SCRIPTS[shell].lstrip("\n")
    if not install:
        as_program = json.dumps({"shell": shell.value, "script": script}, indent=2)
        typer.echo(as_program if session.options.json else script, nl=session.options.json)
        return

    from certctl.cli.files import write_file

    path, then = _place(shell)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, script.encode(), force=True)
    if session.options.json:
        typer.echo(json.dumps({"shell": shell.value, "file": str(path)}, indent=2))
    else:
        typer.echo(f"Written: {path}\n{then}")


def _place(shell: Shell) -> tuple[Path, str]:
    """Where the shell looks, and what is left to do."""
    match shell:
        case Shell.BASH:
            base = _base("XDG_DATA_HOME", ".local/share")
            path = base / "bash-completion/completions/certctl"
            then = (
                "New shells have it, where the package bash-completion is installed. Where it is "
                "not, add to ~/.bashrc: source <(certctl completion bash)"
            )
        case Shell.ZSH:
            path = Path.home() / ".zfunc/_certctl"
            then = (
                "Add to ~/.zshrc, if it is not there: "
                "fpath+=(~/.zfunc); autoload -Uz compinit; compinit"
            )
        case Shell.FISH:
            path = _base("XDG_CONFIG_HOME", ".config") / "fish/completions/certctl.fish"
            then = "New shells have it."
    return path, then


def _base(variable: str, usual: str) -> Path:
    """A folder of the XDG Base Directory Specification."""
    given = os.environ.get(variable, "")
    return Path(given) if given.startswith("/") else Path.home() / usual
