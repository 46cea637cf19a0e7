"""Identifiers: a prefix that says what it is, then 26 characters that sort by time.

The time comes first so that new rows land on the same index pages; 80 random bits after it make
ids unguessable enough to be unique across processes without asking anybody (the ULID layout,
Crockford's base 32 in lower case).
"""

from __future__ import annotations

from certctl.domain.randomness import random_int

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def sibling_id(prefix: str, other: str) -> str:
    """The id with the same 26 characters as another: for what is made together with it."""
    return f"{prefix}-{other[-26:]}"


def new_id(prefix: str, now_ms: int) -> str:
    """Return `prefix-` and 26 characters; ids made later sort later (to the millisecond)."""
    value = (now_ms << 80) | random_int(10)
    pairs = _PAIRS
    return f"{prefix}-" + "".join([pairs[(value >> shift) & 1023] for shift in range(120, -1, -10)])
