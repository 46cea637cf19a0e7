"""The lines of a file that may be of any size, and of any content."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A proof of five hundred lines takes some 35,000 bytes, an event far less.
LONGEST_LINE = 1024 * 1024


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Each line with its end; one that is too long for an export comes in pieces."""
    while line := file.readline(LONGEST_LINE):
        yield line
