"""What is archived keeps a name, and gives the one that it had to whoever wants it next."""

from __future__ import annotations

from certctl.domain.randomness import random_bytes

_LONGEST_NAME = 120


def archived_suffix() -> str:
    """What no other archived thing has. Chosen before a write, which may run twice."""
    return f" (archived {random_bytes(4).hex()})"


def archived_name(name: str, suffix: str) -> str:
    """A name with the suffix, cut to what a name may be."""
    return name[: _LONGEST_NAME - len(suffix)] + suffix
