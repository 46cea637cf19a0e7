"""A line that moves while somebody waits."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def waiting(text: str, *, watched: bool) -> Iterator[Callable[[str], None]]:
    """Show `text` on standard error while the block runs, if a person watches.

    Yields a function that changes the text.
    """
    if not watched:
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)) as status:
        yield lambda changed: status.update(Text(changed))
