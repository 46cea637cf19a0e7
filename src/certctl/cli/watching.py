"""`certctl certs --watch`: the list again and again, in place on a terminal, else its changes."""

from __future__ import annotations

import signal
import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import typer

from certctl.cli.errors import explain
from certctl.cli.inventory import names_of, table
from certctl.cli.listing import collect
from certctl.cli.tables import clean, cleaned_of, draw, fitted
from certctl.client import ClientError
from certctl.client.calls import may_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from certctl.cli.inventory import Wanted
    from certctl.cli.session import Session
    from certctl.schemas.certificates import CertificateSummary
    from certctl.schemas.common import Page

Kind = Literal["listed", "new", "changed", "gone"]

_LONGEST_PAUSE = 60.0
_TERMINATED = 128 + signal.SIGTERM


class View(Protocol):
    """Where the list is shown."""

    def show(self, page: Page[CertificateSummary], now: datetime) -> None:
        """Show how it is now."""

    def away(self, error: ClientError, pause: float) -> None:
        """Say that the server did not answer, and when it is asked again."""


def watch(session: Session, wanted: Wanted, *, limit: int, everything: bool, every: int) -> None:
    """Show the list until Ctrl-C. Raises ClientError for what trying again does not help."""
    with session.connect() as client:

        def look() -> Page[CertificateSummary]:
            return collect(partial(wanted.at(session.now).page, client), limit, everything)

        if sys.stdout.isatty() and not session.options.json:
            _on_screen(look, wanted.nothing, every)
        else:
            follow(look, Lines(as_json=session.options.json), every=every)


def follow(
    look: Callable[[], Page[CertificateSummary]],
    view: View,
    *,
    every: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Look and show without end. A server that goes away is waited for, ever longer; one that was
    never there is an error. Raises ClientError."""
    failures = 0
    was_there = False
    while True:
        try:
            page = look()
        except ClientError as error:
            if not (was_there and may_pass(error)):
                raise
            pause = max(every, min(every * 2.0**failures, _LONGEST_PAUSE))
            failures += 1
            view.away(error, pause)
        else:
            failures, was_there, pause = 0, True, every
            view.show(page, clock())
        sleep(pause)


def changes(
    before: dict[str, CertificateSummary] | None, now: Iterable[CertificateSummary]
) -> Iterator[tuple[Kind, CertificateSummary]]:
    """What became of the list; at the first look (`before` is None), what is there."""
    left = dict(before or {})
    for row in now:
        known = left.pop(row.id, None)
        if before is None:
            yield "listed", row
        elif known is None:
            yield "new", row
        elif known != row:
            yield "changed", row
    for row in left.values():
        yield "gone", row


class Lines:
    """For pipes and programs: a line for each change."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._seen: dict[str, CertificateSummary] | None = None

    def show(self, page: Page[CertificateSummary], now: datetime) -> None:
        line = _json_line if self._as_json else _line
        for kind, row in changes(self._seen, page.data):
            typer.echo(line(kind, row, now))
        self._seen = {row.id: row for row in page.data}

    def away(self, error: ClientError, pause: float) -> None:
        report = explain(error)
        if self._as_json and report is not None:
            typer.echo(report.as_json(indent=None), err=True)
        else:
            typer.echo(_away(error, pause), err=True)


def _line(kind: Kind, row: CertificateSummary, now: datetime) -> str:
    expires = f"{row.not_after.astimezone(UTC):%Y-%m-%d}" if row.not_after else "-"
    words = f"{now:%Y-%m-%d %H:%M:%S} UTC  {kind:<7}  {row.id}  {row.status:<8}  {expires:<10}"
    return f"{words}  {clean(names_of(row))}"


def _json_line(kind: Kind, row: CertificateSummary, now: datetime) -> str:
    return (
        f'{{"at":"{now:%Y-%m-%dT%H:%M:%SZ}","change":"{kind}",'
        f'"certificate":{row.model_dump_json()}}}'
    )


def _away(error: ClientError, pause: float) -> str:
    return f"{error.detail}. It is asked again in {pause:g} s."


class Screen:
    """For a person at a terminal: the list in place, on a screen of its own."""

    def __init__(self, console: Console, nothing: str, every: float) -> None:
        from rich.live import Live

        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._nothing = nothing
        self._every = every
        self._page: Page[CertificateSummary] | None = None

    def show(self, page: Page[CertificateSummary], now: datetime) -> None:
        self._page = page
        count = f"{len(page.data)}{' and more' if page.next else ''}"
        self._draw(f"Every {self._every:g} s: {count}, at {now:%H:%M:%S} UTC. Ctrl-C ends.", now)

    def away(self, error: ClientError, pause: float) -> None:
        self._draw(_away(error, pause), datetime.now(UTC), style="bold red")

    def leave(self) -> None:
        """Give the terminal its own screen back, with what was there last."""
        self._live.stop()
        if self._page is not None and self._page.data:
            draw(table(self._page.data, datetime.now(UTC)))

    def _draw(self, words: str, now: datetime, style: str = "dim") -> None:
        from rich.console import Group
        from rich.text import Text

        rows = self._page.data if self._page is not None else []
        body = fitted(cleaned_of(table(rows, now)), self._live.console.width) if rows else None
        # Started only now: a server that was never there leaves its error on the usual screen.
        self._live.start()
        self._live.update(
            Group(Text(words, style), Text(), body or Text(self._nothing)), refresh=True
        )


def _on_screen(look: Callable[[], Page[CertificateSummary]], nothing: str, every: float) -> None:
    from rich.console import Console

    screen = Screen(Console(highlight=False, markup=False, emoji=False), nothing, every)
    # However this ends, the terminal has its own screen back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    try:
        follow(look, screen, every=every)
    finally:
        for again in (signal.SIGINT, signal.SIGTERM):  # somebody has no patience
            signal.signal(again, signal.SIG_IGN)
        screen.leave()
