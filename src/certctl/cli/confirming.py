"""Asking a person before something is done that cannot be undone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from certctl.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from certctl.cli.session import Session


def is_somebody_there(session: Session) -> bool:
    """Whether a person can be asked: there is a terminal, and no program reads along."""
    return not session.options.json and sys.stdin.isatty() and sys.stderr.isatty()


def need_somebody(
    session: Session, *, yes: bool, otherwise: str = "look first with --dry-run"
) -> None:
    """Raise typer.BadParameter where a question is due and nobody is there to answer it."""
    if yes or is_somebody_there(session):
        return
    raise typer.BadParameter(
        "there is nobody to ask (no terminal, or --json): add --yes to do it without a "
        f"question, or {otherwise}",
        param_hint="'--yes'",
    )


def ask(question: str, *, otherwise: str) -> None:
    """Ask on standard error; after a no, say `otherwise` and end the command."""
    if not typer.confirm(question, err=True):
        typer.echo(otherwise, err=True)
        raise typer.Exit(ExitCode.REFUSED)
