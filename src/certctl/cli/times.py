"""Times for people."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_MONTH, _YEAR = 30.44 * _DAY, 365.25 * _DAY
#: Each unit begins at two of it, so that no plural is ever wrong.
_UNITS = ((_YEAR, "years"), (_MONTH, "months"), (_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min"))


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
    for size, unit in _UNITS:
        # Days stay days for two months: that is how lifetimes are spoken of.
        if seconds >= 2 * size or (unit in {"h", "min"} and seconds >= size):
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s" if seconds >= 1 else None


def full(moment: datetime | None, now: datetime) -> str:
    """The moment in UTC, and how far away it is."""
    if moment is None:
        return ""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({relative(moment, now)})"
