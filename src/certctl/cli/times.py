"""Times for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
#: Units, each with what it begins at: two of it where it has a plural. Lifetimes are spoken of in
#: days, so days last for two years.
_UNITS = (
    (365.25 * _DAY, 2 * 365.25 * _DAY, "years"),
    (_DAY, 2 * _DAY, "days"),
    (_HOUR, _HOUR, "h"),
    (_MINUTE, _MINUTE, "min"),
)

_SPELLINGS = {"s": 1, "m": _MINUTE, "min": _MINUTE, "h": _HOUR, "d": _DAY}
_SPAN = re.compile(r"([0-9]{1,10}) *([a-z]*)")
_LONGEST_SPAN = 100 * 366 * _DAY


def relative(moment: datetime | None, now: datetime) -> str:
    """`in 29 days`, `3 min ago`; empty for no moment."""
    if moment is None:
        return ""
    seconds = (moment - now).total_seconds()
    distance = _distance(abs(seconds))
    if distance is None:
        return "now"
    return f"in {distance}" if seconds > 0 else f"{distance} ago"


def _distance(seconds: float) -> str | None:
    for size, least, unit in _UNITS:
        if seconds >= least:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s" if seconds >= 1 else None


def full(moment: datetime | None, now: datetime) -> str:
    """The moment in UTC, and how far away it is."""
    if moment is None:
        return ""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({relative(moment, now)})"


def moment(text: str) -> datetime:
    """Read a date or time in ISO 8601; without a zone it is UTC, as in all that is shown.

    A date is its first second. Raises typer.BadParameter.
    """
    try:
        read = datetime.fromisoformat(text.strip().removesuffix(" UTC"))
    except ValueError:
        raise typer.BadParameter(
            "write it as 2026-01-31, 2026-01-31T12:00 (UTC) or 2026-01-31T12:00+01:00"
        ) from None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def seconds_in(text: str) -> int | None:
    """The seconds in `90d`, `12h`, `30min` or a number alone; None for anything else."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        return None
    size = 1 if not found[2] else _SPELLINGS.get(found[2])
    return None if size is None else int(found[1]) * size


def span(text: str) -> timedelta:
    """Read how long something is, with its unit. Raises typer.BadParameter."""
    seconds = None if text.strip().isdecimal() else seconds_in(text)
    if not seconds or seconds > _LONGEST_SPAN:
        raise typer.BadParameter("write it as 30d, 12h or 30min, at most a hundred years")
    return timedelta(seconds=seconds)
