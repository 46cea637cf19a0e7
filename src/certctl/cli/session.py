"""What every command shares: the global options, the client, and how answers are shown."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from certctl.cli.tables import Table
    from certctl.client import Client
    from certctl.schemas.common import Page

M = TypeVar("M")

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many rows.")]
All = Annotated[bool, typer.Option("--all", help="Show every row.")]


def examples(*lines: str) -> str:
    """Lines for the end of a command's help, kept as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def command_group() -> typer.Typer:
    """An app for one noun, or for one command; `certctl.cli.app` loads it when it is called."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@dataclass(slots=True)
class Options:
    """The options that stand before the command."""

    json: bool = False
    server: str | None = None
    data_dir: Path | None = None
    ca_bundle: Path | None = None


class Session:
    """One command's view of the world."""

    def __init__(self, context: typer.Context, as_json: bool) -> None:
        options = context.find_object(Options) or Options()
        # Kept with the options, because errors are shown where the command is left.
        options.json = options.json or as_json
        self.options = options

    @property
    def now(self) -> datetime:
        """The present, which what is shown is told from: questions and CAs take their time."""
        return datetime.now(UTC)

    def connect(self, *, need_key: bool = True) -> "Client":
        """A client for the server that options, environment or data directory name."""
        from certctl.client import Client, find_server

        options = self.options
        return Client(
            find_server(
                url=options.server,
                data_dir=options.data_dir,
                ca_bundle=options.ca_bundle,
                need_key=need_key,
            )
        )

    def answer(self, body: "BaseModel", show: "Callable[[], Table | str]") -> None:
        """Print an answer: the API's JSON, or what `show` makes of it for people."""
        if self.options.json:
            typer.echo(body.model_dump_json(indent=2))
            return
        shown = show()
        if isinstance(shown, str):
            typer.echo(shown)
        else:
            from certctl.cli.tables import draw

            draw(shown)

    def answer_page(self, page: "Page[M]", show: "Callable[[], Table]", *, nothing: str) -> None:
        """Print a list; `nothing` is for people when it is empty."""
        if not page.data and not self.options.json:
            self.note(nothing)
            return
        self.answer(page, show)
        if page.next is not None:
            self.note("There are more: add --all, or a greater --limit.")

    def note(self, text: str) -> None:
        """Tell a person something that is not the answer."""
        if not self.options.json:
            typer.echo(text, err=True)

    def is_watched(self) -> bool:
        """Whether a person looks at standard error, so that a line may move."""
        return sys.stderr.isatty() and not self.options.json
