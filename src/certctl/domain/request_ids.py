"""The id of a request: one for its answer, its log lines and its audit events.

It goes along with the task that answers the request, and with what that task calls; work in the
background has none.
"""

from __future__ import annotations

import re
from contextvars import ContextVar

from certctl.domain.randomness import random_bytes

#: The longest id that a client may choose.
LONGEST = 64

_WELL_FORMED = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

#: The id of the request that is being answered here; None where there is no request.
current_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def choose_request_id(sent: bytes | None) -> str:
    """What the client sent, where it is well-formed, else a new id."""
    if sent is not None and _WELL_FORMED.fullmatch(sent):
        return sent.decode("ascii")
    return random_bytes(8).hex()
