"""What an HTTP answer of a CA means, for every connector alike."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING

from certctl.connectors.errors import (
    BadAnswer,
    IssuerError,
    NoAnswer,
    QuotaExhausted,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnknownOrder,
)
from certctl.connectors.words import Words, usual_words
from certctl.domain.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from certctl.connectors.transport import Reply

__all__ = [
    "MAX_RETRY_AFTER",
    "Step",
    "Words",
    "parse_retry_after",
    "raise_for_status",
    "retry_after",
]

#: A CA that asks for more patience is asked again after this many seconds all the same.
MAX_RETRY_AFTER = 86_400.0

_SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


class Step(Enum):
    """What was asked, because the same answer can mean different things."""

    SUBMIT = "submit"
    POLL = "poll"
    REVOKE = "revoke"
    READ = "read"


def raise_for_status(
    reply: Reply,
    step: Step,
    *,
    words: Callable[[Reply], Words | None] | None = None,
    final: Collection[int] = (),
    quota: Collection[str] = (),
) -> None:
    """Raise what a reply that is no success means; a 2xx passes.

    `words` reads the vendor's error body (None: nothing in it; problem documents and the usual JSON
    shapes are read without it). `final` are statuses that end a pending order, as the vendor
    documents. `quota` are vendor codes that mean an exhausted account.

    What a `READ` that failed at the CA (5xx) means is Unavailable: nothing happened there.
    """
    if 200 <= reply.status < 300:  # noqa: PLR2004 # the class of a status is its first digit
        return
    said = (words or usual_words)(reply) or Words("")
    code = reply.shown(said.code) if said.code else None
    detail = _detail(reply, said)
    is_quota = reply.status >= HTTPStatus.BAD_REQUEST and said.code is not None
    if reply.status == HTTPStatus.PAYMENT_REQUIRED or (is_quota and said.code in quota):
        raise QuotaExhausted(detail, code=code, retry_after=retry_after(reply))
    kind = _meaning(reply.status, step, final)
    raise kind(detail, code=code, retry_after=retry_after(reply))


def _meaning(status: int, step: Step, final: Collection[int]) -> type[IssuerError]:  # noqa: PLR0911 # a table
    if step is Step.POLL and status in final:
        return Refused
    match status:
        case 408 | 429:
            return RateLimited
        case 401 | 403:
            return Unauthorized
        case 404 | 410 if step is Step.POLL:
            return UnknownOrder
        case _ if 400 <= status < 500:  # noqa: PLR2004
            # Of a pending order only what the vendor documents as final is taken as its end.
            return BadAnswer if step is Step.POLL else Refused
        case _ if 500 <= status < 600:  # noqa: PLR2004
            return Unavailable if step is Step.READ else NoAnswer
        case _:
            return BadAnswer


def _detail(reply: Reply, said: Words) -> str:
    status = _status_words(reply.status)
    if 300 <= reply.status < 400:  # noqa: PLR2004
        return f"{status}: redirects are not followed; check the CA's URL"
    text = reply.shown(said.detail)
    if text:
        return f"{text} (HTTP {reply.status})"
    if said.code:
        return f"{status}: {reply.shown(said.code)}"
    return status


def _status_words(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def retry_after(reply: Reply) -> float | None:
    """How long the CA asks to wait (RFC 9110 §10.2.3), in seconds, at most a day; or None."""
    asked = reply.headers.get("retry-after")
    if asked is None:
        return None
    # A date is compared with the CA's own clock where it shows it.
    its_date = _date_ms(reply.headers.get("date", ""))
    return parse_retry_after(asked, SystemClock().now_ms() if its_date is None else its_date)


def parse_retry_after(value: str, now_ms: int) -> float | None:
    """Seconds to wait, between 0 and a day; None for what is neither seconds nor a date."""
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), MAX_RETRY_AFTER)
    until_ms = _date_ms(value)
    if until_ms is None:
        return None
    return min(max(0.0, (until_ms - now_ms) / 1000), MAX_RETRY_AFTER)


def _date_ms(value: str) -> int | None:
    try:
        moment = parsedate_to_datetime(value)
        # "-0000" gives none; HTTP's dates are UTC (RFC 9110 §5.6.7).
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
