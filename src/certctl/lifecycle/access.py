"""Who is calling: API keys."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain.errors import Unauthenticated

if TYPE_CHECKING:
    from certctl.domain.clock import Clock
    from certctl.lifecycle.catalog import Catalog

_KEY = re.compile(r"certctl_([a-z0-9]{1,26})_([A-Za-z0-9_-]{43})")

ADMIN_KEY_ID = "admin"


@dataclass(frozen=True, slots=True)
class Actor:
    """The caller of the API; `id` is what audit events name."""

    id: str
    role: str


#: What certctl does by itself.
SYSTEM = Actor("system", "admin")


def new_api_key(key_id: str) -> str:
    """Make a key: its id, then 256 random bits. Shown once, never stored."""
    return f"certctl_{key_id}_{secrets.token_urlsafe(32)}"


def hash_api_key(key: str) -> str:
    """What is stored of a key. It has 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(key.encode()).hexdigest()


def api_key_id(key: str) -> str | None:
    """The id in a well-formed key, else None."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None


class Access:
    """Tells callers apart by their keys."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock

    async def authenticate(self, key: str) -> Actor:
        """The actor behind a key; raises Unauthenticated."""
        key_id = api_key_id(key)
        if key_id is not None:
            record = self._catalog.api_key(key_id)
            if record is None:
                # Another process may have made it within the last second.
                await self._catalog.refresh()
                record = self._catalog.api_key(key_id)
            if record is not None and hmac.compare_digest(record.secret_hash, hash_api_key(key)):
                now = self._clock.now_ms()
                expired = record.expires_at is not None and record.expires_at <= now
                if record.revoked_at is None and not expired:
                    return Actor(record.id, record.role)
        raise Unauthenticated(
            "api-key-invalid",
            "the API key is not valid (unknown, expired or revoked)",
            hint="send a valid key as `Authorization: Bearer <key>`",
        )
