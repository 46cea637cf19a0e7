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

from certctl.storage.macs import CHAIN_OPENED, EncodedEvent, Head, event_mac, head_mac, opening_mac
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


@dataclass(slots=True)
class _Place:
    """Where the walk along one chain is."""

    chain_id: str
    seq: int  # of the event before; the next one's is one higher
    mac: bytes | None  # of the event before; None when that one is missing


@dataclass(slots=True)
class _Verification:
    key: bytes
    heads: dict[str, SqlRow[Any]]
    place: _Place | None = None
    seen: set[str] = field(default_factory=set)
    named: dict[str, tuple[int, str]] = field(default_factory=dict)  # last seq, by which chain
    events: int = 0
    problems: list[str] = field(default_factory=list)
    unlisted: int = 0

    def take(self, row: SqlRow[Any]) -> None:
        """Check the next event, in the order of chains and sequence numbers."""
        self.events += 1
        place = self.place
        if place is None or place.chain_id != row.chain_id:
            self._finish()
            place = self.place = self._begin(row.chain_id)
        expected = place.seq + 1
        if row.seq < expected:
            self._problem(row.chain_id, f"event {row.seq} is before the beginning of the chain")
            return
        if row.seq > expected:
            self._missing(row.chain_id, expected, row.seq - 1)
            place.mac = None
        if place.mac is not None and not self._is_genuine(row, place.mac):
            self._problem(row.chain_id, f"event {row.seq} was altered, moved or put in")
        elif row.action == CHAIN_OPENED and place.mac is not None:
            for chain_id, seq in json.loads(row.detail)["chains"].items():
                if seq > self.named.get(chain_id, (-1, ""))[0]:
                    self.named[chain_id] = (seq, row.chain_id)
        place.seq, place.mac = row.seq, row.mac

    def report(self) -> AuditReport:
        """Check the ends and sum up."""
        self._finish()
        for chain_id in self.heads.keys() - self.seen:
            self.place = self._begin(chain_id)
            self._finish()
        for chain_id, (seq, witness) in sorted(self.named.items()):
            head = self.heads.get(chain_id)
            if head is None and chain_id not in self.seen:
                self._problem(chain_id, f"is missing altogether; chain {witness} names it")
            elif head is not None and head.last_seq < seq:
                self._problem(
                    chain_id,
                    f"ends with event {head.last_seq}, but reached event {seq} when chain "
                    f"{witness} was opened",
                )
        if self.unlisted:
            self.problems.append(f"and {self.unlisted} more problems")
        return AuditReport(len(self.heads.keys() | self.seen), self.events, self.problems)

    def _begin(self, chain_id: str) -> _Place:
        self.seen.add(chain_id)
        head = self.heads.get(chain_id)
        if head is None:
            self._problem(chain_id, "the row that holds its beginning and end was removed")
            return _Place(chain_id, 0, opening_mac(self.key, chain_id))
        ends = Head(chain_id, head.base_seq, head.base_mac, head.last_seq, head.last_mac)
        if not hmac.compare_digest(head_mac(self.key, ends), head.head_mac):
            self._problem(chain_id, "the row that holds its beginning and end was altered")
        return _Place(chain_id, head.base_seq, head.base_mac)

    def _finish(self) -> None:
        place = self.place
        head = None if place is None else self.heads.get(place.chain_id)
        if place is None or head is None:
            return
        if place.seq < head.last_seq:
            self._missing(place.chain_id, place.seq + 1, head.last_seq)
        elif place.seq > head.last_seq:
            self._problem(
                place.chain_id,
                f"has events up to {place.seq}, beyond its recorded end at {head.last_seq}",
            )
        elif place.mac != head.last_mac:
            self._problem(
                place.chain_id, f"its last event, {place.seq}, is not the one recorded as its end"
            )

    def _is_genuine(self, row: SqlRow[Any], previous: bytes) -> bool:
        event = EncodedEvent(
            row.at, row.actor, row.action, row.object_type, row.object_id, row.detail
        )
        expected = event_mac(self.key, row.chain_id, row.seq, event, previous)
        return hmac.compare_digest(expected, row.mac)

    def _missing(self, chain_id: str, first: int, last: int) -> None:
        which = f"event {first} is" if first == last else f"events {first} to {last} are"
        self._problem(chain_id, f"{which} missing")

    def _problem(self, chain_id: str, what: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(f"chain {chain_id}: {what}")
        else:
            self.unlisted += 1
