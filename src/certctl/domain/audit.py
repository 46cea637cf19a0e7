"""What an audit event says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One change or refusal. `detail` is small, JSON, and never holds a secret.

    `at_ms` is the time of the event; `actor` an API key's id, or "system".
    """

    at_ms: int
    actor: str
    action: str
    object_type: str
    object_id: str
    detail: dict[str, Any] = field(default_factory=dict)
