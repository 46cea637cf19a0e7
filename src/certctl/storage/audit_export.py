"""Reads the audit log for an export: chain after chain, one block at a time, checked on the way.

Nothing is kept between two blocks but a place, so an export takes the memory of one block, holds no
transaction open, and goes on after a break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, select

from certctl.domain.audit_export import (
    Block,
    ExportedEvent,
    chain_end_line,
    chain_line,
    event_line,
)
from certctl.storage.audit_verification import ChainWalk
from certctl.storage.tables import audit_chains, audit_events

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy import Row as SqlRow


class Place(NamedTuple):
    """Behind an event, or behind the end of its chain."""

    chain_id: str
    seq: int
    is_ended: bool


#: Below every number of an event, those that somebody made up included.
_BELOW_ALL = -(2**63)
_HEAD = select(audit_chains).where(audit_chains.c.id == bindparam("which"))
_NEXT_HEAD = select(func.min(audit_chains.c.id)).where(audit_chains.c.id > bindparam("after"))
#: Of a chain whose row somebody removed.
_NEXT_EVENTS = select(func.min(audit_events.c.chain_id)).where(
    audit_events.c.chain_id > bindparam("after")
)
_EVENTS = (
    select(audit_events)
    .where(audit_events.c.chain_id == bindparam("which"), audit_events.c.seq > bindparam("behind"))
    .order_by(audit_events.c.seq)
    .limit(bindparam("limit"))
)
_MAC = select(audit_events.c.mac).where(
    audit_events.c.chain_id == bindparam("which"), audit_events.c.seq == bindparam("seq")
)


def fill_block(
    connection: Connection, audit_key: bytes, block: Block, place: Place | None, size: int
) -> Place | None:
    """Add the lines from a place on (None: from the beginning), up to `size` lines in the block,
    which is three at least: the opening, a chain's beginning and its first event.

    Returns the place behind them, None where nothing follows. What is wrong with an event, or with
    a chain's row, is said with its line.
    """
    walk: ChainWalk | None = None
    behind = _BELOW_ALL
    if place is not None and not place.is_ended:
        walk, behind = _go_on(connection, audit_key, place), place.seq
    while len(block.lines) < size:
        if walk is None:
            if len(block.lines) == size - 1:
                break  # a place is behind an event: there has to be room for one
            chain_id = _following(connection, "" if place is None else place.chain_id)
            if chain_id is None:
                return None
            walk, behind = ChainWalk(audit_key, chain_id, _head(connection, chain_id)), _BELOW_ALL
            start = chain_line(chain_id, walk.seq, walk.mac or b"")
            block.add(start, _about(chain_id, walk.begin()))
        chain_id, room = walk.chain_id, size - len(block.lines)
        values = {"which": chain_id, "behind": behind, "limit": room}
        rows = connection.execute(_EVENTS, values).all()
        for row in rows:
            _add_event(block, walk, row)
            behind = row.seq
        place = Place(chain_id, behind, is_ended=len(rows) < room)
        if place.is_ended:
            _add_end(block, walk, _head(connection, chain_id))
            walk = None
    return place


def _go_on(connection: Connection, audit_key: bytes, place: Place) -> ChainWalk:
    head = _head(connection, place.chain_id)
    if place.seq <= (0 if head is None else head.base_seq):
        return ChainWalk(audit_key, place.chain_id, head)
    mac = connection.execute(_MAC, {"which": place.chain_id, "seq": place.seq}).scalar()
    return ChainWalk(audit_key, place.chain_id, head, behind=place.seq, previous=mac)


def _following(connection: Connection, after: str) -> str | None:
    values = {"after": after}
    found = [connection.execute(query, values).scalar() for query in (_NEXT_HEAD, _NEXT_EVENTS)]
    return min((chain_id for chain_id in found if chain_id is not None), default=None)


def _head(connection: Connection, chain_id: str) -> SqlRow[Any] | None:
    return connection.execute(_HEAD, {"which": chain_id}).first()


def _add_event(block: Block, walk: ChainWalk, row: SqlRow[Any]) -> None:
    problems = walk.take(row)
    if not walk.is_proven and not any(words.startswith(f"event {row.seq} ") for words in problems):
        problems.append(f"event {row.seq} cannot be checked without the event before it")
    block.add(event_line(ExportedEvent._make(row)), _about(row.chain_id, problems))


def _add_end(block: Block, walk: ChainWalk, head: SqlRow[Any] | None) -> None:
    seq, mac = (walk.seq, walk.mac) if head is None else (head.last_seq, head.last_mac)
    end = chain_end_line(walk.chain_id, seq, mac or b"")
    block.add(end, _about(walk.chain_id, walk.end(head)))


def _about(chain_id: str, problems: list[str]) -> list[str]:
    return [f"chain {chain_id}: {words}" for words in problems]
