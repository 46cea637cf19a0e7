"""The audit log: what stays of an event, and how a process's chain of events grows.

Each event's MAC covers its fields and the MAC before it. One row per chain holds the first and the
last link under a MAC of its own, so that a cut tail shows. A new chain begins with an event that
names the other chains, so that a chain that is missing altogether shows too.
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, insert, select

from certctl.domain.audit import AuditEvent
from certctl.domain.audit_actions import CHAIN_OPENED, check_action
from certctl.domain.ids import new_id
from certctl.storage.audit_list import EventFilter, StoredEvent, list_events
from certctl.storage.audit_verification import AuditReport, verify
from certctl.storage.bulk import bulk_insert, execute_raw
from certctl.storage.macs import EncodedEvent, Head, event_mac, head_mac, opening_mac
from certctl.storage.tables import audit_chains, audit_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from certctl.domain.clock import Clock

__all__ = [
    "AuditChain",
    "AuditReport",
    "EncodedEvent",
    "EventFilter",
    "StoredEvent",
    "encode_event",
    "list_events",
    "verify",
]

_SYSTEM = "system"
_dump = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def encode_event(event: AuditEvent, request_id: str | None = None) -> EncodedEvent:
    """Bring an event into its stored form, with the id of the request that led to it.

    Raises TypeError or ValueError for a detail that is not JSON, and ValueError for an action that
    nobody has described: in the caller, where it belongs.
    """
    check_action(event.action, event.object_type)
    return EncodedEvent(
        event.at_ms,
        event.actor,
        event.action,
        event.object_type,
        event.object_id,
        _dump(event.detail),
        request_id,
    )


class _Mark(NamedTuple):
    pending: Head | None
    reload: bool


_HEAD = select(audit_chains).where(audit_chains.c.id == bindparam("which"))
_LAST_SEQS = select(audit_chains.c.id, audit_chains.c.last_seq).order_by(audit_chains.c.id)
# From the chains, so that each opening is found by its key: there are few chains and many events.
_OPENINGS = (
    select(audit_events.c.detail)
    .select_from(audit_chains)
    .join(audit_events, audit_events.c.chain_id == audit_chains.c.id)
    .where(audit_events.c.seq == 1, audit_events.c.action == CHAIN_OPENED)
)
# Only from the state that this process knows: a head that somebody else moved, or a commit that
# came through after it was given up, must not be written over.
_MOVE_HEAD = (
    "UPDATE audit_chains SET last_seq = ?, last_mac = ?, head_mac = ?"
    " WHERE id = ? AND last_seq = ? AND last_mac = ?"
)


class AuditChain:
    """The chain that this process writes. Used by the writer alone.

    `append` works within the current transaction and may be undone with `mark` and `reset`;
    `committed` or `rolled_back` must follow the end of the transaction.
    """

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock
        self._head: Head | None = None  # as committed
        self._pending: Head | None = None  # as this transaction leaves it
        self._reload = False

    def append(self, connection: Connection, events: Sequence[EncodedEvent]) -> None:
        """Link events to the chain and insert them; opens the chain with the first event."""
        if not events:
            return
        if self._reload:
            self._pending = self._stored_head(connection)
            self._reload = False
        if self._pending is None or not self._extend(connection, self._pending, events):
            self._extend(connection, self._open(connection), events)

    def mark(self) -> _Mark:
        """The chain's state within this transaction, for `reset`."""
        return _Mark(self._pending, self._reload)

    def reset(self, mark: _Mark) -> None:
        """Forget what was appended since `mark`: its savepoint was rolled back."""
        self._pending, self._reload = mark

    def committed(self) -> None:
        """The transaction is stored: the head moves."""
        if not self._reload:  # else it was not touched
            self._head = self._pending

    def rolled_back(self) -> None:
        """The transaction is not stored, or nobody knows: the chain's row tells, at next use."""
        self._pending = None
        self._reload = True

    def _extend(self, connection: Connection, head: Head, events: Iterable[EncodedEvent]) -> bool:
        key, chain_id, seq, mac = self._key, head.chain_id, head.last_seq, head.last_mac
        rows = []
        for event in events:
            seq += 1
            mac = event_mac(key, chain_id, seq, event, mac)
            rows.append((chain_id, seq, *event, mac))
        moved_head = head._replace(last_seq=seq, last_mac=mac)
        values = (seq, mac, head_mac(key, moved_head), chain_id, head.last_seq, head.last_mac)
        if execute_raw(connection, _MOVE_HEAD, values) != 1:
            return False
        bulk_insert(connection.dialect)(connection, [(audit_events, rows)])
        self._pending = moved_head
        return True

    def _open(self, connection: Connection) -> Head:
        now = self._clock.now_ms()
        chain_id = new_id("chain", now)
        base_mac = opening_mac(self._key, chain_id)
        head = Head(chain_id, 0, base_mac, 0, base_mac)
        others = _unnamed_chains(connection)
        connection.execute(
            insert(audit_chains),
            {
                "id": chain_id,
                "base_seq": 0,
                "base_mac": base_mac,
                "last_seq": 0,
                "last_mac": base_mac,
                "head_mac": head_mac(self._key, head),
                "created_at": now,
            },
        )
        opened = AuditEvent(now, _SYSTEM, CHAIN_OPENED, "audit_chain", chain_id, {"chains": others})
        self._extend(connection, head, [encode_event(opened)])
        assert self._pending is not None  # noqa: S101 - the row was inserted just now
        return self._pending

    def _stored_head(self, connection: Connection) -> Head | None:
        if self._head is None:
            return None
        row = connection.execute(_HEAD, {"which": self._head.chain_id}).first()
        if row is None:
            return None
        found = Head(row.id, row.base_seq, row.base_mac, row.last_seq, row.last_mac)
        # A head that somebody altered is left as it is, for the verification to find.
        return found if hmac.compare_digest(head_mac(self._key, found), row.head_mac) else None


def _unnamed_chains(connection: Connection) -> dict[str, int]:
    """Chains with their last seq, without those that an opening already names as they are now.

    Naming all of them each time would grow with the square of the number of starts.
    """
    chains = {row.id: row.last_seq for row in connection.execute(_LAST_SEQS)}
    for (detail,) in connection.execute(_OPENINGS):
        for chain_id, seq in json.loads(detail)["chains"].items():
            if chains.get(chain_id) == seq:
                del chains[chain_id]
    return chains
