"""Cursors of lists: opaque to clients, the key of the last row to us."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any

from fastapi import Query

from certctl.domain.errors import InvalidInput

Limit = Annotated[int, Query(ge=1, le=500, description="Rows in one page")]
Cursor = Annotated[str | None, Query(max_length=400, description="`next` of the page before")]


_LONGEST_ID = 100


def encode_cursor(*key: str | int) -> str:
    """The cursor that starts after the row of this key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The key in a cursor, whose parts must be of these kinds; raises InvalidInput."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        key = None
    fits = (
        isinstance(key, list)
        and len(key) == len(kinds)
        and all(type(part) is kind for part, kind in zip(key, kinds, strict=True))
        and all(_is_plausible(part) for part in key)
    )
    if not fits:
        raise not_ours()
    return tuple(key)


def not_ours() -> InvalidInput:
    """The cursor is somebody's own idea."""
    return InvalidInput(
        "cursor-invalid",
        "the cursor is not one that this list gave",
        field="cursor",
        hint="pass `next` of the page before unchanged, or leave it out for the first page",
    )


def _is_plausible(part: str | int) -> bool:
    if isinstance(part, str):
        return len(part) <= _LONGEST_ID and "\x00" not in part
    return 0 <= part < 2**63
