"""Identifiers: a prefix that says what it is, then 26 characters that sort by time.

The time comes first so that new rows land on the same index pages; 80 random bits after it make
ids unguessable enough to be unique across processes without asking anybody (the ULID layout,
Crockford's base 32 in lower case).
"""

from __future__ import annotations

import re
import unicodedata

from certctl.domain.randomness import random_int

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_LONGEST_SLUG = 60


def id_after_name(prefix: str, name: str, otherwise: str) -> str:
    """The id `prefix-…` after a name that a person gave; `otherwise` where it has no letters.

    For what people make a few of, and write down; it may be taken.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST_SLUG].strip("-")
    return f"{prefix}-{slug or otherwise}"


def sibling_id(prefix: str, other: str) -> str:
    """The id with the same 26 characters as another: for what is made together with it."""
    return f"{prefix}-{other[-26:]}"


def new_id(prefix: str, now_ms: int) -> str:
    """Return `prefix-` and 26 characters; ids made later sort later (to the millisecond)."""
    value = (now_ms << 80) | random_int(10)
    pairs = _PAIRS
    return f"{prefix}-" + "".join([pairs[(value >> shift) & 1023] for shift in range(120, -1, -10)])
