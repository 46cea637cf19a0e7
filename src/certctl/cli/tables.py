"""Tables that fit: for a terminal of any width, and whole where a program reads them."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

_GAP = 2

_STYLES = {
    "issued": "green",
    "active": "green",
    "ready": "green",
    "pending": "yellow",
    "submitting": "yellow",
    "awaiting_csr": "yellow",
    "uncertain": "bold red",
    "failed": "red",
    "rejected": "red",
    "expired": "red",
    "revoked": "red",
    "requested": "yellow",
    "told": "yellow",
    "running": "yellow",
    "confirmed": "green",
    "done": "green",
    "imported": "green",
    "version added": "green",
    "refused": "bold red",
    "cancelled": "dim",
    "archived": "dim",
    "disabled": "dim",
    "circuit open": "bold red",
    "quota used up": "yellow",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `least` is the width it may be cut to (None: it is always whole), `extra` marks one
    that a terminal shows only where every column fits, `may_go` one that is left out where the
    others would not fit otherwise, `wraps` one that goes on in the next line instead of being
    cut."""

    title: str
    least: int | None = None
    extra: bool = False
    may_go: bool = False
    is_state: bool = False
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text."""

    columns: tuple[Column, ...]
    rows: Sequence[tuple[str, ...]]


def clean(text: str) -> str:
    """Text from elsewhere, without what would move a terminal's cursor or break a line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def fields(pairs: Sequence[tuple[str, str | None]]) -> str:
    """Labels and values below each other; what has no value is left out."""
    shown = [(label, clean(value)) for label, value in pairs if value]
    width = max(len(label) for label, _ in shown)
    return "\n".join(hanging(value, f"{label:<{width}}  ") for label, value in shown)


def hanging(text: str, start: str) -> str:
    """Text after its beginning; on a terminal that is too narrow it goes on below itself."""
    line = start + text
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else "\n".join(_wrapped(text, width, start))


def draw(table: Table, *, err: bool = False) -> None:
    """Print a table on standard output (or error): fitted to a terminal, else whole and plain."""
    cleaned = cleaned_of(table)
    if not (sys.stderr if err else sys.stdout).isatty():
        typer.echo(as_text(cleaned), err=err)
        return
    from rich.console import Console

    width = shutil.get_terminal_size().columns
    draw_on(Console(stderr=err, width=width, highlight=False, markup=False, emoji=False), cleaned)


def cleaned_of(table: Table) -> Table:
    """The same table, with every cell `clean`."""
    return Table(table.columns, [tuple(clean(cell) for cell in row) for row in table.rows])


def as_text(table: Table) -> str:
    """Every column, nothing cut."""
    widths = _natural(table)
    lines = [tuple(column.title for column in table.columns), *table.rows]
    return "\n".join(_line(line, widths).rstrip() for line in lines)


def draw_on(console: Console, table: Table) -> None:
    """Print a table that fits the console's width; a list of records where no table does."""
    from rich.text import Text

    shown = fitted(table, console.width)
    console.print(shown, soft_wrap=isinstance(shown, Text))


def fitted(table: Table, width: int) -> RichTable | Text:
    """A table that fits a width, for Rich; a list of records where no table does."""
    from rich.table import Table as RichTable
    from rich.text import Text

    table = _without_empty_columns(table)
    plan = fit(table, width)
    if plan is None:
        records = "\n".join(_record(table, row, width) for row in table.rows)
        return Text(records, no_wrap=True, overflow="ignore")
    shown = RichTable(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for index, wide in plan:
        column = table.columns[index]
        shown.add_column(
            Text(column.title),
            width=wide,
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
        )
    for row in table.rows:
        cells = [
            Text(row[index], _STYLES.get(row[index], "") if table.columns[index].is_state else "")
            for index, _ in plan
        ]
        shown.add_row(*cells)
    return shown


def _without_empty_columns(table: Table) -> Table:
    kept = [
        index
        for index in range(len(table.columns))
        if index == 0 or any(row[index] for row in table.rows)
    ]
    columns = tuple(table.columns[index] for index in kept)
    return Table(columns, [tuple(row[index] for index in kept) for row in table.rows])


def fit(table: Table, width: int) -> list[tuple[int, int]] | None:
    """Which columns are shown, each with its width; None where the least of them is too wide."""
    natural = _natural(table)
    plan = dict(enumerate(natural))

    def surplus() -> int:
        return sum(plan.values()) + _GAP * (len(plan) - 1) - width

    if surplus() > 0:
        for index, column in enumerate(table.columns):
            if column.extra:
                del plan[index]
    dispensable = [index for index in plan if table.columns[index].may_go]
    while dispensable and _least(table, plan) > width:
        del plan[dispensable.pop()]  # the last one first
    while (over := surplus()) > 0:
        shrinkable = {
            index: wide
            for index, wide in plan.items()
            if (least := table.columns[index].least) is not None and wide > least
        }
        if not shrinkable:
            return None
        # The widest gives way, down to the next widest, so that none is cut for another's sake.
        widest = max(shrinkable, key=lambda index: shrinkable[index])
        others = [wide for index, wide in shrinkable.items() if index != widest]
        floor = max(table.columns[widest].least or 0, min(max(others, default=0), plan[widest] - 1))
        plan[widest] = max(floor, plan[widest] - over)
    return list(plan.items())


def _least(table: Table, plan: dict[int, int]) -> int:
    """The least width that these columns take, with what is between them."""
    columns = table.columns
    widths = [min(wide, columns[index].least or wide) for index, wide in plan.items()]
    return sum(widths) + _GAP * (len(plan) - 1)


def _natural(table: Table) -> list[int]:
    from rich.cells import cell_len

    return [
        max([cell_len(column.title), *(cell_len(row[index]) for row in table.rows)])
        for index, column in enumerate(table.columns)
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    from rich.cells import cell_len

    gap = " " * _GAP
    pairs = zip(cells, widths, strict=True)
    return gap.join(cell + " " * (width - cell_len(cell)) for cell, width in pairs)


def _record(table: Table, row: tuple[str, ...], width: int) -> str:
    """A row as lines: the first value, then the others with their labels. No word is broken, so
    that an id can be copied."""
    label_width = max(len(column.title) for column in table.columns)
    lines = _wrapped(row[0], width, "")
    for column, cell in list(zip(table.columns, row, strict=True))[1:]:
        label = f"  {column.title:<{label_width}}  "
        beside = _wrapped(cell, width, label)
        if all(len(line) <= width for line in beside):
            lines += beside
        else:
            lines += [label.rstrip(), *_wrapped(cell, width, "    ")]
    return "\n".join(lines)


def _wrapped(text: str, width: int, start: str) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, len(start) + 1),
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
