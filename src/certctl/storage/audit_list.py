"""The audit log as a list: newest first, filtered, each page found by an index.

Events lie by time in the indexes, below one object, one action, or one action of one actor. A
filter that leaves several actions asks for the newest events of each and merges; which actions
there are is found in the index too, by a jump from each to the next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, select, tuple_, union_all

from certctl.domain.audit_actions import actions_about
from certctl.storage.tables import audit_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Select
    from sqlalchemy import Row as SqlRow


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An audit event as it is stored. `at` in milliseconds."""

    chain_id: str
    seq: int
    at: int
    actor: str
    action: str
    object_type: str
    object_id: str
    detail: dict[str, Any]
    request_id: str | None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: those that fit every part that is not None.

    `action` is a whole action, or what actions begin with where it ends with a dot. Times are
    milliseconds, `not_before` among them, `before` not.
    """

    actor: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    not_before: int | None = None
    before: int | None = None

    @property
    def is_prefix(self) -> bool:
        """Whether `action` is what actions begin with."""
        return self.action is not None and self.action.endswith(".")

    def takes(self, action: str) -> bool:
        """Whether events of an action may fit."""
        if self.object_type is not None and action not in actions_about(self.object_type):
            return False
        if self.action is None:
            return True
        return action.startswith(self.action) if self.is_prefix else action == self.action


ALL_EVENTS = EventFilter()


class Position(NamedTuple):
    """Where an event is in the list."""

    at: int
    chain_id: str
    seq: int


#: Before the newest event that there can be.
_TOP = Position(2**62, "", 0)

_c = audit_events.c
_KEY = (_c.at, _c.chain_id, _c.seq)


def _newest(*conditions: ColumnElement[bool]) -> Select[Any]:
    """The newest events below a position, of those that fit."""
    top = tuple_(bindparam("at"), bindparam("chain_id"), bindparam("seq"))
    return (
        select(*[column for column in _c if column.name != "mac"])
        .where(tuple_(*_KEY) < top, _c.at >= bindparam("not_before"), *conditions)
        .order_by(*[column.desc() for column in _KEY])
        .limit(bindparam("limit"))
    )


_ALL = _newest()
_OF_OBJECT = _newest(_c.object_id == bindparam("object_id"))


@lru_cache(maxsize=256)
def _of_actions(count: int, *, by_actor: bool, typed: bool) -> Select[Any]:
    """The newest events of so many actions."""
    conditions = [_c.actor == bindparam("actor")] if by_actor else []
    if typed:
        conditions.append(_c.object_type == bindparam("object_type"))
    parts = [
        _newest(_c.action == bindparam(f"action_{number}"), *conditions).subquery()
        for number in range(count)
    ]
    merged = union_all(*[select(part) for part in parts]).subquery()
    key = (merged.c.at, merged.c.chain_id, merged.c.seq)
    return select(merged).order_by(*[column.desc() for column in key]).limit(bindparam("limit"))


def _actions_there_are(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Each action that there are events of: one step down an index for each."""
    lowest = select(func.min(_c.action).label("action")).where(*conditions)
    found = lowest.cte("actions", recursive=True)
    following = lowest.where(_c.action > found.c.action).scalar_subquery()
    found = found.union_all(select(following).where(found.c.action.is_not(None)))
    return select(found.c.action).where(found.c.action.is_not(None))


_ACTIONS = _actions_there_are()
_ACTIONS_OF_ACTOR = _actions_there_are(_c.actor == bindparam("actor"))


def list_events(
    connection: Connection,
    *,
    limit: int,
    before: tuple[int, str, int] | None,
    wanted: EventFilter = ALL_EVENTS,
) -> list[StoredEvent]:
    """Events of all chains, newest first, from the one after `before` (at, chain id, seq) on."""
    top = _TOP if before is None else Position(*before)
    if wanted.before is not None:
        top = min(top, Position(wanted.before, "", 0))
    values: dict[str, Any] = {
        **top._asdict(),
        "not_before": wanted.not_before or 0,
        "limit": limit,
    }
    if wanted.object_id is not None:
        rows = _object_rows(connection, wanted, values)
    elif wanted.actor is wanted.action is wanted.object_type is None:
        rows = connection.execute(_ALL, values).all()
    else:
        rows = _action_rows(connection, wanted, values)
    return [_event(row) for row in rows]


def _object_rows(
    connection: Connection, wanted: EventFilter, values: dict[str, Any]
) -> Sequence[SqlRow[Any]]:
    """One object's events: few enough that the other parts of the filter need no index."""
    statement = _OF_OBJECT
    if wanted.actor is not None:
        statement = statement.where(_c.actor == wanted.actor)
    if wanted.object_type is not None:
        statement = statement.where(_c.object_type == wanted.object_type)
    if wanted.action is not None:
        # Not by a range: what comes after a dot depends on the database's collation.
        begun = func.substr(_c.action, 1, len(wanted.action)) if wanted.is_prefix else _c.action
        statement = statement.where(begun == wanted.action)
    return connection.execute(statement, {**values, "object_id": wanted.object_id}).all()


def _action_rows(
    connection: Connection, wanted: EventFilter, values: dict[str, Any]
) -> Sequence[SqlRow[Any]]:
    by_actor, typed = wanted.actor is not None, wanted.object_type is not None
    known = _ACTIONS_OF_ACTOR if by_actor else _ACTIONS
    values = {**values, "actor": wanted.actor, "object_type": wanted.object_type}
    actions = [
        action
        for action in connection.scalars(known, {"actor": wanted.actor})
        if wanted.takes(action)
    ]
    if not actions:
        return []
    statement = _of_actions(len(actions), by_actor=by_actor, typed=typed)
    named = {f"action_{number}": action for number, action in enumerate(actions)}
    return connection.execute(statement, {**values, **named}).all()


def _event(row: SqlRow[Any]) -> StoredEvent:
    return StoredEvent(
        chain_id=row.chain_id,
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        action=row.action,
        object_type=row.object_type,
        object_id=row.object_id,
        detail=json.loads(row.detail),
        request_id=row.request_id,
    )
