"""Who is calling: API keys, and how often somebody may come with a wrong one."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from certctl.domain.access import Grant, Role, permissions_of
from certctl.domain.attempts import Attempts, source_of
from certctl.domain.errors import TooManyAttempts, Unauthenticated

if TYPE_CHECKING:
    from certctl.domain.access import Permission, Scope
    from certctl.domain.clock import Clock
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.last_use import LastUse
    from certctl.lifecycle.metrics import Metrics
    from certctl.storage.api_keys import ApiKeyRecord

_KEY = re.compile(r"certctl_([a-z0-9]{1,26})_([A-Za-z0-9_-]{43})")

ADMIN_KEY_ID = "admin"

#: Failed logins of one source: so many at once, then one every so many seconds.
BURST = 20
SECONDS = 3.0
#: Sources remembered, at some 200 bytes each.
SOURCES = 10_000


_ROLES = frozenset(role.value for role in Role)


@dataclass(frozen=True, slots=True)
class Actor:
    """The caller of the API; `id` is what audit events name. No scope is everything."""

    id: str
    role: Role
    scope: Scope | None = None
    expires_at: int | None = None
    #: What role and scope give, worked out once for each key.
    permissions: frozenset[Permission] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        permissions = permissions_of(self.role, scoped=self.scope is not None)
        object.__setattr__(self, "permissions", permissions)

    @property
    def grant(self) -> Grant:
        """What the caller has, and can therefore give."""
        return Grant(self.role, self.scope, self.expires_at)


#: What certctl does by itself.
SYSTEM = Actor("system", Role.ADMIN)


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


class LoginFault(StrEnum):
    """Why a login failed, as the metric says it; whoever tried is not told."""

    MISSING = "missing"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    WRONG = "wrong"
    REVOKED = "revoked"
    EXPIRED = "expired"
    LIMITED = "limited"


class Access:
    """Tells callers apart by their keys.

    A valid key always gets in. Failed logins are counted, and limited for each source address: past
    the limit nobody looks into the database for a key that this process does not know.
    """

    def __init__(self, catalog: Catalog, clock: Clock, metrics: Metrics, used: LastUse) -> None:
        self._catalog = catalog
        self._clock = clock
        self._metrics = metrics
        self._used = used
        self._failures = Attempts(burst=BURST, seconds=SECONDS, sources=SOURCES)
        self._actors: dict[str, tuple[ApiKeyRecord, Actor]] = {}

    async def authenticate(self, key: str | None, host: str | None = None) -> Actor:
        """The actor behind a key that came from a host.

        Raises Unauthenticated, or TooManyAttempts where too many failed from there.
        """
        now = self._clock.now_ms()
        found = self._look(key, now)
        if isinstance(found, Actor):
            self._used.note(found.id, now)
            return found
        source = source_of(host)
        if self._failures.take(source, now / 1000) is None:
            self._metrics.login_failure(LoginFault.LIMITED)
            wait = math.ceil(self._failures.wait(source, now / 1000))
            raise _too_many(max(wait, 1))
        if found is LoginFault.UNKNOWN:
            # Another process may have made it within the last second.
            await self._catalog.refresh()
            found = self._look(key, now)
            if isinstance(found, Actor):
                self._failures.give_back(source)
                self._used.note(found.id, now)
                return found
        self._metrics.login_failure(found)
        raise _missing() if found is LoginFault.MISSING else _invalid()

    def _look(self, key: str | None, now_ms: int) -> Actor | LoginFault:
        key_id = None if key is None else api_key_id(key)
        if key is None or key_id is None:
            return LoginFault.MISSING if key is None else LoginFault.MALFORMED
        record = self._catalog.api_key(key_id)
        if record is None or record.role not in _ROLES:  # a newer certctl may have other roles
            return LoginFault.UNKNOWN
        if not hmac.compare_digest(record.secret_hash, hash_api_key(key)):
            return LoginFault.WRONG
        if not record.is_live(now_ms):
            return LoginFault.EXPIRED if record.revoked_at is None else LoginFault.REVOKED
        return self._actor(record)

    def _actor(self, record: ApiKeyRecord) -> Actor:
        known = self._actors.get(record.id)
        if known is not None and known[0] is record:
            return known[1]
        actor = Actor(record.id, Role(record.role), record.scope, record.expires_at)
        self._actors[record.id] = record, actor
        return actor


def _missing() -> Unauthenticated:
    return Unauthenticated(
        "api-key-missing",
        "this address needs an API key",
        hint="send `Authorization: Bearer <key>`; the first admin key is in the file "
        "admin.key of the server's data directory",
    )


def _invalid() -> Unauthenticated:
    return Unauthenticated(
        "api-key-invalid",
        "the API key is not valid (unknown, expired or revoked)",
        hint="send a valid key as `Authorization: Bearer <key>`",
    )


def _too_many(seconds: int) -> TooManyAttempts:
    return TooManyAttempts(
        "too-many-failed-logins",
        "too many requests without a valid API key came from this address",
        hint="wait as long as Retry-After says; a valid key is let in at any time",
        retry_after=seconds,
    )
