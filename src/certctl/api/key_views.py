"""From API keys to REST bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certctl.domain.clock import from_ms
from certctl.schemas.keys import KeyCreated, KeyScope, KeyView

if TYPE_CHECKING:
    from certctl.domain.access import Scope
    from certctl.lifecycle.keys import KeyState
    from certctl.schemas.keys import KeyStatus
    from certctl.storage.api_keys import ApiKeyRecord


def key_view(state: KeyState, now_ms: int) -> KeyView:
    """A key."""
    return KeyView(**_fields(state, now_ms))


def created_view(state: KeyState, key: str, now_ms: int) -> KeyCreated:
    """A new key, with what its owner has to send."""
    return KeyCreated(**_fields(state, now_ms), key=key)


def _fields(state: KeyState, now_ms: int) -> dict[str, Any]:
    record = state.record
    return {
        "id": record.id,
        "name": record.name,
        "role": record.role,
        "scope": None if record.scope is None else _scope_view(record.scope),
        "status": _status(record, now_ms),
        "created_by": record.created_by,
        "created_at": from_ms(record.created_at),
        "expires_at": None if record.expires_at is None else from_ms(record.expires_at),
        "revoked_at": None if record.revoked_at is None else from_ms(record.revoked_at),
        "last_used_at": None if state.last_used_at is None else from_ms(state.last_used_at),
    }


def _scope_view(scope: Scope) -> KeyScope:
    return KeyScope(
        issuers=None if scope.issuers is None else sorted(scope.issuers),
        profiles=None if scope.profiles is None else sorted(scope.profiles),
        names=None if scope.names is None else [str(pattern) for pattern in scope.names],
    )


def _status(record: ApiKeyRecord, now_ms: int) -> KeyStatus:
    if record.revoked_at is not None:
        return "revoked"
    return "active" if record.is_live(now_ms) else "expired"
