"""The listings under /stats: a window of at most 30 days, in pages, a little behind the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from tests.conformance.hvca.messages import Problem
from tests.conformance.hvca.register import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conformance.hvca.register import Order

LONGEST_WINDOW = 30 * 86_400
DEFAULT_WINDOW = 600


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a listing. `start` and `end` in seconds since 1970, both counted in."""

    page: int
    per_page: int
    start: int
    end: int


def read_query(query: str, now: float, page_cap: int) -> Query:
    """Read a listing's query; a page is never longer than the cap.

    Raises Problem (422) for what is no number, no page, and a window of more than 30 days.
    """
    asked = parse_qs(query)
    errors: dict[str, str] = {}

    def number(name: str, default: int, least: int) -> int:
        text = asked.get(name, [str(default)])[0]
        if not text.isascii() or not text.isdigit() or int(text) < least:
            errors[name] = f"is no whole number of at least {least}"
            return default
        return int(text)

    page, per_page = number("page", 1, 1), number("per_page", page_cap, 1)
    end = number("to", int(now), 0)
    start = number("from", max(end - DEFAULT_WINDOW, 0), 0)
    if not errors and not 0 <= end - start <= LONGEST_WINDOW:
        errors["from"] = "a window is at most 30 days long, and ends after it begins"
    if errors:
        raise Problem(422, "The query is not valid", errors)
    return Query(page, min(per_page, page_cap), start, end)


def moment(order: Order, kind: str, listed_by: str) -> float | None:
    """By which of an order's times a listing goes; None where it is not in it."""
    if order.state not in {State.ISSUED, State.REVOKED}:
        return None
    match kind:
        case "issued":
            return order.ready if listed_by == "issued" else float(order.wanted.not_before)
        case "revoked":
            return order.revoked
        case _:
            return float(order.wanted.not_after)


def select(
    orders: Iterable[Order], kind: str, query: Query, *, now: float, lag: float, listed_by: str
) -> list[Order]:
    """What a listing has in its window: nothing younger than `lag` seconds, by notBefore."""
    found = []
    for order in orders:
        when = moment(order, kind, listed_by)
        known = order.revoked if kind == "revoked" else order.ready
        if when is None or known is None or known + lag > now:
            continue
        if query.start <= int(when) <= query.end:
            found.append(order)
    return sorted(found, key=lambda order: (order.wanted.not_before, order.number))


def page_links(query: Query, total: int) -> str:
    """The `Links` header, with its literal `{status}` and its mixed separators."""
    last = max(1, -(-total // query.per_page))
    window = f"&from={query.start}&to={query.end}"
    pages = {"previous": query.page - 1, "next": query.page + 1, "last": last}
    links = []
    for rel, page in pages.items():
        if 1 <= page <= last:
            target = f"<stats/{{status}}?page={page}&per_page={query.per_page}{window}>"
            links.append(f'{target}{"," if rel == "last" else ";"}rel="{rel}"')
    return ";".join(links)
