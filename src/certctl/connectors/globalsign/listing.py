"""An order whose answer was lost is found among the certificates that the account issued.

Nothing that an order says comes back with it but its times and its key. So each order begins at a
second of its own, made from what was stored before it was sent, and the key decides.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from certctl.connectors.errors import BadAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certctl.connectors.transport import Reply

PER_PAGE = 100
#: The longest time that one question may be about, in seconds; 30 days, less a margin.
LONGEST_WINDOW = 29 * 86_400
#: The most pages of one question: a listing that goes on and on is no answer.
MOST_PAGES = 500
#: Beside the time of the order, for clocks that differ and for what is listed by another time.
_MARGIN = 600
#: Orders begin at most so long before they are sent, in seconds.
EARLIEST = 120


class Row(NamedTuple):
    """One certificate of a listing; times in seconds since 1970."""

    serial: str
    not_before: int


def begins_at(order_id: str, submitted_at: int, early_skew: int) -> int:
    """When an order's certificate is to begin, in seconds since 1970.

    The same for the same submission in every process, and as good as never the same for two of one
    moment: they lie apart within half of what the policy allows before the present.
    """
    room = min(early_skew // 2, EARLIEST)
    number = int.from_bytes(hashlib.sha256(order_id.encode()).digest()[:8], "big")
    return submitted_at // 1000 - number % (room + 1)


def windows(submitted_at: int, now_ms: int) -> Iterator[tuple[int, int]]:
    """The times to ask about, as (from, to) in seconds, each short enough for one question."""
    begin, end = submitted_at // 1000 - EARLIEST - _MARGIN, now_ms // 1000 + _MARGIN
    while begin < end:
        yield begin, min(begin + LONGEST_WINDOW, end)
        begin += LONGEST_WINDOW


def rows_in(reply: Reply) -> list[Row]:
    """The certificates of one page; raises BadAnswer."""
    body = reply.json()
    if not isinstance(body, list):
        raise BadAnswer("the CA's list of certificates cannot be read")
    return [_row(item) for item in body]


def is_last(reply: Reply, seen: int, rows: int) -> bool:
    """Whether no page comes after this one, of `rows`, `seen` with those before it.

    The header that should name the next page is not to be relied on; the total is.
    """
    total = reply.headers.get("total-count", "")
    if total.isdecimal():
        return seen >= int(total) or not rows
    return rows < PER_PAGE and 'rel="next"' not in reply.headers.get("links", "")


def by_likeness(rows: list[Row], expected: int) -> list[Row]:
    """The rows once each, those first that begin closest to when the order was to begin."""
    distinct = {row.serial: row for row in rows}
    return sorted(distinct.values(), key=lambda row: (abs(row.not_before - expected), row.serial))


def _row(item: Any) -> Row:
    serial = item.get("serial_number") if isinstance(item, dict) else None
    begins = item.get("not_before") if isinstance(item, dict) else None
    if not isinstance(serial, str) or not isinstance(begins, int):
        raise BadAnswer("the CA's list of certificates has a line that cannot be read")
    return Row(serial, begins)
