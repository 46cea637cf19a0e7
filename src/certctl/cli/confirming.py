"""Asking a person before something is done that cannot be undone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from certctl.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from certctl.cli.session import Session


def need_somebody(session: Session, *, yes: bool) -> None:
    """Raise typer.BadParameter where a question is due and nobody is there to answer it."""
    if yes:
        return
    if session.options.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise typer.BadParameter(
            "there is nobody to ask (no terminal, or --json): add --yes to do it without a "
            "question, or look first with --dry-run",
            param_hint="'--yes'",
        )


def ask(question: str, *, otherwise: str) -> None:
    """Ask on standard error; after a no, say `otherwise` and end the command."""
    if not typer.confirm(question, err=True):
        typer.echo(otherwise, err=True)
        raise typer.Exit(ExitCode.REFUSED)
