"""What an audit event says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: What stands for a value that is not told: a secret, or one that is too long.
CHANGED = "changed"

#: Of a value in `changes`, in characters of JSON.
LONGEST_VALUE = 1000

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One change or refusal. `detail` is small, JSON, and never holds a secret.

    `at_ms` is the time of the event; `actor` an API key's id, or "system". `action` is one of
    `audit_actions.ACTIONS`.
    """

    at_ms: int
    actor: str
    action: str
    object_type: str
    object_id: str
    detail: dict[str, Any] = field(default_factory=dict)


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any], *, secrets: Collection[str] = ()
) -> dict[str, Any]:
    """Which fields differ, for the detail of an event: `{field: {"from": …, "to": …}}`.

    `from` is left out where there was nothing, `to` where nothing is left. A field that is one of
    `secrets`, or that has a long value, is only said to be `changed`. Values are JSON.
    """
    found: dict[str, Any] = {}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if old is new or (old == new and type(old) is type(new)):
            continue
        told = {
            which: value for which, value in (("from", old), ("to", new)) if value is not _ABSENT
        }
        is_long = any(len(json.dumps(value)) > LONGEST_VALUE for value in told.values())
        found[name] = CHANGED if name in secrets or is_long else told
    return found
