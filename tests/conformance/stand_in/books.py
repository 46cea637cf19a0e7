"""The stand-in's books: every request in the order of arrival, and what came of it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conformance.mischief import Mischief, Operation


@dataclass(frozen=True, slots=True)
class Entry:
    """One request. Times in milliseconds; serials in hex."""

    number: int
    at_ms: int
    operation: Operation | None
    client_serial: str | None
    api_key: str | None
    #: Generations of the API key and of the secret that came with it; None for unknown ones.
    key_generation: int | None
    secret_generation: int | None
    #: Whether both are ours and do not belong together.
    mixed: bool
    reference: str | None
    idempotency_key: str | None
    mischief: Mischief | None
    #: The order that this request made, and the certificate that it had issued or revoked.
    booked: str | None
    issued: str | None
    revoked: str | None
    reason: str | None
    #: What is answered; None where the connection is reset.
    status: int | None
    #: Generation of the login that a token came from, where there are tokens.
    token_generation: int | None = None


class Books:
    """Append-only, readable from any thread; with `journal` on disk before anything is answered."""

    def __init__(self, journal: Path | None = None) -> None:
        self._changed = threading.Condition()
        self._entries: list[Entry] = []
        self._journal = None if journal is None else journal.open("a", encoding="utf-8")

    def append(self, make: Callable[[int], Entry]) -> Entry:
        """Write an entry, made with its number."""
        with self._changed:
            entry = make(len(self._entries) + 1)
            self._entries.append(entry)
            if self._journal is not None:
                self._journal.write(json.dumps(asdict(entry)) + "\n")
                self._journal.flush()
            self._changed.notify_all()
            return entry

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def entries(
        self, operation: Operation | None = None, reference: str | None = None
    ) -> list[Entry]:
        """Every entry so far, or those of one operation, of one reference."""
        with self._changed:
            return [
                entry
                for entry in self._entries
                if operation in {None, entry.operation} and reference in {None, entry.reference}
            ]

    def orders(self) -> Counter[str]:
        """How often each reference was ordered."""
        with self._changed:
            return Counter(e.reference for e in self._entries if e.booked and e.reference)

    def ordered(self, reference: str) -> int:
        """How often one reference was ordered."""
        return self.orders()[reference]

    def doubled(self) -> dict[str, int]:
        """The references that were ordered more than once."""
        return {reference: count for reference, count in self.orders().items() if count > 1}

    def revoked(self) -> dict[str, str]:
        """The certificates that were revoked, by serial, with the last reason."""
        with self._changed:
            return {e.revoked: e.reason or "" for e in self._entries if e.revoked}

    def mixed(self) -> list[Entry]:
        """The requests whose key and secret did not belong together."""
        with self._changed:
            return [entry for entry in self._entries if entry.mixed]

    def wait_for(self, holds: Callable[[Books], bool], seconds: float = 10.0) -> None:
        """Block until something holds of the books; AssertionError when it takes too long."""
        with self._changed:
            # A Condition's lock is reentrant: `holds` may call the methods above.
            assert self._changed.wait_for(lambda: holds(self), seconds), "not in the books"
