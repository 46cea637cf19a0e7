"""What the commands of all nouns share: the list, and the look at one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from certctl.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import typer
    from pydantic import BaseModel

    from certctl.cli.tables import Table
    from certctl.client import Client
    from certctl.schemas.common import Page

    B = TypeVar("B", bound=BaseModel)
    P = TypeVar("P", bound=Page[Any])

M = TypeVar("M")

_LARGEST_PAGE = 500
_USUAL = 50


def show_list(
    context: typer.Context,
    as_json: bool,
    ask: Callable[[Client, int, str | None], Page[M]],
    table: Callable[[list[M], datetime], Table],
    *,
    nothing: str,
    limit: int = _USUAL,
    everything: bool = False,
) -> None:
    """Print a list, unless a command below it was called; `nothing` is said when it is empty.

    `ask` gets one page: so many rows, from a cursor on.
    """
    session = Session(context, as_json)
    if context.invoked_subcommand is not None:
        return
    with session.connect() as client:
        page = collect(partial(ask, client), limit, everything)
    session.answer_page(page, lambda: table(page.data, session.now), nothing=nothing)


def show_one(
    context: typer.Context,
    as_json: bool,
    ask: Callable[[Client], B],
    describe: Callable[[B, datetime], str],
) -> None:
    """Print one answer of the server."""
    session = Session(context, as_json)
    with session.connect() as client:
        answer = ask(client)
    session.answer(answer, lambda: describe(answer, session.now))


def collect(fetch: Callable[[int, str | None], P], limit: int, everything: bool) -> P:
    """Ask for pages until there are `limit` rows, or all of them, and join them."""
    rows: list[Any] = []
    cursor: str | None = None
    while True:
        size = _LARGEST_PAGE if everything else min(_LARGEST_PAGE, limit - len(rows))
        page = fetch(size, cursor)
        rows += page.data
        cursor = page.next
        if cursor is None or (not everything and len(rows) >= limit):
            return page.model_copy(update={"data": rows})
