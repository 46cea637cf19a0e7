"""Random numbers from the operating system, fetched by the page.

Each system call lets go of the interpreter, which a busy thread may then keep for half a
millisecond; issuing one certificate takes half a dozen random numbers.
"""

from __future__ import annotations

import os
import threading

_PAGE = 4096


class _Pool:
    """Bytes that nobody has used yet. A forked child starts empty, so that none is used twice."""

    def __init__(self) -> None:
        self._start_empty()
        os.register_at_fork(after_in_child=self._start_empty)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._bytes = b""
        self._used = 0

    def take(self, count: int) -> bytes:
        with self._lock:
            if self._used + count > len(self._bytes):
                self._bytes, self._used = os.urandom(_PAGE), 0
            taken = self._bytes[self._used : self._used + count]
            self._used += count
            return taken


_pool = _Pool()


def random_bytes(count: int) -> bytes:
    """Up to 64 random bytes, as good as `secrets` gives."""
    return _pool.take(count)


def random_int(byte_count: int) -> int:
    """A random number of that many bytes."""
    return int.from_bytes(_pool.take(byte_count))
