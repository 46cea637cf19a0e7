"""What the shell is told when somebody presses Tab.

The scripts of `certctl completion` run `certctl` with the shell's name in `_CERTCTL_COMPLETE` and
the line up to the cursor in `_CERTCTL_LINE`. The answer is a line for each offer: the word, and
after a tab what it is.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, cast

import typer

from certctl.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typer.core import TyperGroup

VARIABLE, LINE = "_CERTCTL_COMPLETE", "_CERTCTL_LINE"


def complete(environ: Mapping[str, str] = os.environ) -> None:
    """Answer the shell on standard output."""
    args, incomplete = _words(environ.get(LINE, ""))
    root = cast("TyperGroup", typer.main.get_command(app))
    items = _items(root, args, incomplete)
    # In bash, `=` ends a word: only what comes after it is replaced.
    option, equals, _ = incomplete.partition("=")
    is_joined = equals and option.startswith("--") and environ[VARIABLE] != "bash"
    start = option + equals if is_joined else ""
    for item in items:
        words = " ".join((item.help or "").split())
        sys.stdout.write(f"{start}{item.value}\t{words}\n")


def _words(line: str) -> tuple[list[str], str]:
    """The whole words after the command's name, and the one that is being written."""
    from typer._click.shell_completion import split_arg_string

    _, *words = split_arg_string(line) or [""]
    if words and not line[-1:].isspace():
        return words[:-1], words[-1]
    return words, ""


def _items(root: TyperGroup, args: list[str], incomplete: str) -> Sequence[Any]:
    if not args:  # nothing to parse, which would load what parses
        return root.shell_complete(typer.Context(root, resilient_parsing=True), incomplete)
    from typer._completion_classes import FishComplete

    # Any shell's class will do: what it is used for is the same in all.
    return FishComplete(root, {}, "certctl", VARIABLE).get_completions(args, incomplete)
