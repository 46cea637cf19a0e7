"""What is said about the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certctl.cli.tables import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = 2


def changes_of(detail: Mapping[str, Any]) -> str:
    """The fields that an event says have changed: two of them, and how many more."""
    changes = detail.get("changes")
    if not isinstance(changes, dict):
        return ""
    names = list(changes)
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def verdict(what: str, events: int, chains: int, problems: Sequence[str]) -> str:
    """Whether a log verifies, and what is wrong with it."""
    checked = f"{_count(events, 'event')} in {_count(chains, 'chain')}"
    if not problems:
        return f"The {what} is unaltered: {checked} checked."
    lines = "\n".join(f"  {clean(problem)}" for problem in problems)
    return f"The {what} does not verify ({checked} checked):\n{lines}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
