"""Making an API key: what was asked for becomes a request, and the key goes where it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from certctl.cli import bodies
from certctl.cli.errors import maybe_done
from certctl.cli.files import refuse_existing, write_private
from certctl.cli.key_words import key_text
from certctl.cli.times import moment
from certctl.client import ClientError
from certctl.schemas.keys import KeyCreate, KeyScope, KeyView

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.cli.session import Session
    from certctl.domain.access import Role
    from certctl.schemas.keys import KeyCreated


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say."""

    name: str
    role: Role
    issuers: list[str] | None
    profiles: list[str] | None
    names: list[str] | None
    days: int | None
    expires: str | None

    def body(self) -> KeyCreate:
        """The request; raises typer.BadParameter or InvalidInput for what cannot be."""
        if self.days is not None and self.expires is not None:
            raise typer.BadParameter("choose one of --days and --expires", param_hint="'--days'")
        parts = {"issuers": self.issuers, "profiles": self.profiles, "names": self.names}
        given = {name: values for name, values in parts.items() if values}
        return bodies.make(
            KeyCreate,
            name=self.name,
            role=self.role.value,
            scope=bodies.make(KeyScope, **given) if given else None,
            days=self.days,
            expires_at=None if self.expires is None else moment(self.expires),
        )


def make(session: Session, wanted: Wanted, *, out: Path | None, quiet: bool) -> None:
    """Make a key and show it, or write it to a file."""
    body = wanted.body()
    if out is not None:
        refuse_existing(out)
    with session.connect() as client:
        try:
            made = client.create_key(body)
        except ClientError as error:
            if not error.uncertain:
                raise
            raise maybe_done(
                error,
                "There may be a key now that nobody has",
                hint="look for it: certctl keys; then revoke it, and try again",
            ) from error
        if out is not None:
            try:
                write_private(out, f"{made.key}\n".encode())
            except Exception:
                client.revoke_key(made.id)  # nobody has it
                raise
    _tell(session, made, out, quiet=quiet)


def _tell(session: Session, made: KeyCreated, out: Path | None, *, quiet: bool) -> None:
    without = KeyView.model_validate(made.model_dump(exclude={"key"}))
    if out is not None:
        if not quiet:
            session.answer(without, lambda: key_text(without, session.now))
            session.note(f"The key is in {out}")
    elif quiet and not session.options.json:
        typer.echo(made.key)
    else:
        session.answer(made, lambda: f"{key_text(without, session.now)}\n\n{made.key}")
        session.note("This is the only time that the key is shown.")
