"""API keys in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.cli.tables import fields
from certctl.cli.times import full

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.schemas.keys import KeyScope, KeyView


def scope_text(scope: KeyScope | None) -> str:
    """What a key reaches, in one line."""
    if scope is None:
        return "everything"
    return " ".join([*(scope.issuers or ()), *(scope.profiles or ()), *(scope.names or ())])


def key_text(key: KeyView, now: datetime) -> str:
    """All that is known of a key."""
    scope = key.scope
    return fields(
        [
            ("Key", key.id),
            ("Name", key.name),
            ("Role", key.role),
            ("Status", key.status),
            ("Reaches", "everything" if scope is None else None),
            ("Issuers", _listed(scope.issuers if scope else None)),
            ("Profiles", _listed(scope.profiles if scope else None)),
            ("Names", _listed(scope.names if scope else None)),
            ("Made by", key.created_by or "the server"),
            ("Made", full(key.created_at, now)),
            ("Expires", full(key.expires_at, now) or "never"),
            ("Revoked", full(key.revoked_at, now)),
            ("Last used", full(key.last_used_at, now) or "never"),
        ]
    )


def _listed(values: list[str] | None) -> str | None:
    return None if values is None else ", ".join(values)
