"""Checks every audit chain from its first event to its last, in one pass and little memory.

What cannot be seen: a chain that is removed altogether before any other one named it, and a
database that was put back whole to an earlier state.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from certctl.domain.audit_actions import CHAIN_OPENED
from certctl.storage.macs import EncodedEvent, Head, event_mac, head_mac, opening_mac
from certctl.storage.tables import audit_chains, audit_events

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy import Row as SqlRow

#: More problems than these are counted, not listed.
MAX_PROBLEMS = 1000

_ROWS_AT_ONCE = 500
_HEADS = select(audit_chains).order_by(audit_chains.c.id)
_EVENTS = select(audit_events).order_by(audit_events.c.chain_id, audit_events.c.seq)


@dataclass(frozen=True, slots=True)
class AuditReport:
    """How much was checked, and what is wrong, in words. Nothing is wrong without problems."""

    chains: int
    events: int
    problems: list[str]


def verify(connection: Connection, audit_key: bytes) -> AuditReport:
    """Check all chains. The connection's transaction must see one state of the database.

    Finds altered, removed, added and moved events, cut ends, altered or removed rows of chains, and
    chains that are missing although a later one names them.
    """
    verification = _Verification(audit_key, {row.id: row for row in connection.execute(_HEADS)})
    events = connection.execute(_EVENTS, execution_options={"yield_per": _ROWS_AT_ONCE})
    for row in events:
        verification.take(row)
    return verification.report()


class ChainWalk:
    """The way along one chain, event by event; every step says in words what is wrong.

    `head` is the chain's row, None where there is none. `seq` is the number of the event before,
    and the next one's is one higher. The walk may begin behind an event, of which `previous` is the
    MAC (None: it is not known).
    """

    def __init__(
        self,
        key: bytes,
        chain_id: str,
        head: SqlRow[Any] | None,
        *,
        behind: int | None = None,
        previous: bytes | None = None,
    ) -> None:
        self._key = key
        self.chain_id = chain_id
        self._head = head
        if behind is not None:
            self.seq, self.mac = behind, previous
        elif head is None:
            self.seq, self.mac = 0, opening_mac(key, chain_id)
        else:
            self.seq, self.mac = head.base_seq, head.base_mac
        #: Whether the event that was taken last is what was written at its place.
        self.is_proven = True

    def begin(self) -> list[str]:
        """Look at the chain's row."""
        head = self._head
        if head is None:
            return ["the row that holds its beginning and end was removed"]
        ends = Head(self.chain_id, head.base_seq, head.base_mac, head.last_seq, head.last_mac)
        if not hmac.compare_digest(head_mac(self._key, ends), head.head_mac):
            return ["the row that holds its beginning and end was altered"]
        return []

    def take(self, row: SqlRow[Any]) -> list[str]:
        """Look at the next event, in the order of sequence numbers."""
        expected = self.seq + 1
        self.is_proven = False
        if row.seq < expected:
            return [f"event {row.seq} is before the beginning of the chain"]
        problems = []
        previous = self.mac
        if row.seq > expected:
            problems.append(_missing(expected, row.seq - 1))
            previous = None
        if previous is not None:
            self.is_proven = self._is_genuine(row, previous)
            if not self.is_proven:
                problems.append(f"event {row.seq} was altered, moved or put in")
        self.seq, self.mac = row.seq, row.mac
        return problems

    def end(self, head: SqlRow[Any] | None) -> list[str]:
        """Look at the end of the chain, with its row as it is by then."""
        if head is None:
            return []
        if self.seq < head.last_seq:
            return [_missing(self.seq + 1, head.last_seq)]
        if self.seq > head.last_seq:
            return [f"has events up to {self.seq}, beyond its recorded end at {head.last_seq}"]
        if self.mac != head.last_mac:
            return [f"its last event, {self.seq}, is not the one recorded as its end"]
        return []

    def _is_genuine(self, row: SqlRow[Any], previous: bytes) -> bool:
        event = EncodedEvent(
            row.at,
            row.actor,
            row.action,
            row.object_type,
            row.object_id,
            row.detail,
            row.request_id,
        )
        expected = event_mac(self._key, row.chain_id, row.seq, event, previous)
        return hmac.compare_digest(expected, row.mac)


def _missing(first: int, last: int) -> str:
    which = f"event {first} is" if first == last else f"events {first} to {last} are"
    return f"{which} missing"


@dataclass(slots=True)
class _Verification:
    key: bytes
    heads: dict[str, SqlRow[Any]]
    walk: ChainWalk | None = None
    seen: set[str] = field(default_factory=set)
    named: dict[str, tuple[int, str]] = field(default_factory=dict)  # last seq, by which chain
    events: int = 0
    problems: list[str] = field(default_factory=list)
    unlisted: int = 0

    def take(self, row: SqlRow[Any]) -> None:
        """Check the next event, in the order of chains and sequence numbers."""
        self.events += 1
        walk = self.walk
        if walk is None or walk.chain_id != row.chain_id:
            self._finish()
            walk = self._begin(row.chain_id)
        self._note(row.chain_id, walk.take(row))
        if row.action == CHAIN_OPENED and walk.is_proven:
            for chain_id, seq in json.loads(row.detail)["chains"].items():
                if seq > self.named.get(chain_id, (-1, ""))[0]:
                    self.named[chain_id] = (seq, row.chain_id)

    def report(self) -> AuditReport:
        """Check the ends and sum up."""
        self._finish()
        for chain_id in self.heads.keys() - self.seen:
            self._begin(chain_id)
            self._finish()
        for chain_id, (seq, witness) in sorted(self.named.items()):
            head = self.heads.get(chain_id)
            if head is None and chain_id not in self.seen:
                self._note(chain_id, [f"is missing altogether; chain {witness} names it"])
            elif head is not None and head.last_seq < seq:
                words = (
                    f"ends with event {head.last_seq}, but reached event {seq} when chain "
                    f"{witness} was opened"
                )
                self._note(chain_id, [words])
        if self.unlisted:
            self.problems.append(f"and {self.unlisted} more problems")
        return AuditReport(len(self.heads.keys() | self.seen), self.events, self.problems)

    def _begin(self, chain_id: str) -> ChainWalk:
        self.seen.add(chain_id)
        walk = self.walk = ChainWalk(self.key, chain_id, self.heads.get(chain_id))
        self._note(chain_id, walk.begin())
        return walk

    def _finish(self) -> None:
        walk = self.walk
        if walk is not None:
            self._note(walk.chain_id, walk.end(self.heads.get(walk.chain_id)))

    def _note(self, chain_id: str, problems: list[str]) -> None:
        for what in problems:
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(f"chain {chain_id}: {what}")
            else:
                self.unlisted += 1
