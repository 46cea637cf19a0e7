"""Who may do what, and to which certificates: roles, permissions, scopes. Pure decisions.

A role gives permissions; a scope narrows what they reach. A key without a scope reaches everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from certctl.domain.errors import Forbidden, InvalidInput
from certctl.domain.names import Name, NameKind, parse_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


class Role(StrEnum):
    """What an API key is for."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    AUDITOR = "auditor"


class Permission(StrEnum):
    """What a route asks for."""

    READ = "read"
    ORDER = "order"
    SETTLE = "settle"
    REVOKE = "revoke"
    METRICS = "metrics"
    AUDIT = "audit"
    KEYS = "keys"
    ADMINISTER = "administer"


#: What each permission is, in words for the documentation.
MEANINGS: dict[Permission, str] = {
    Permission.READ: "look at certificates, orders, revocations, issuers (never their secrets) and "
    "profiles",
    Permission.ORDER: "order, renew, edit, archive and import certificates",
    Permission.SETTLE: "cancel orders, and say what became of those in `uncertain`",
    Permission.REVOKE: "revoke certificates, one or many, and take back holds",
    Permission.METRICS: "scrape `/metrics`",
    Permission.AUDIT: "read, export and verify the audit log",
    Permission.KEYS: "make, list and revoke API keys",
    Permission.ADMINISTER: "make, change, test and delete issuers, make, change and "
    "delete profiles; rotate the sealing key",
}

#: What concerns the whole installation: no key with a scope has it, whatever its role.
GLOBAL = frozenset({Permission.METRICS, Permission.AUDIT, Permission.ADMINISTER})

_LOOKING = frozenset({Permission.READ, Permission.METRICS})
_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.OPERATOR: _LOOKING | {Permission.ORDER, Permission.SETTLE, Permission.REVOKE},
    Role.VIEWER: _LOOKING,
    Role.AUDITOR: _LOOKING | {Permission.AUDIT},
}
_SCOPED = {role: permissions - GLOBAL for role, permissions in _PERMISSIONS.items()}


def permissions_of(role: Role, *, scoped: bool) -> frozenset[Permission]:
    """What a key of that role may do, with a scope or without."""
    return (_SCOPED if scoped else _PERMISSIONS)[role]


@dataclass(frozen=True, slots=True, order=True)
class ScopeName:
    """One name, or with `below` every DNS name below a domain, at any depth; not itself.

    `value` is canonical, as in `Name`; with `below` it is the domain.
    """

    kind: NameKind
    value: str
    below: bool = False

    def __str__(self) -> str:
        """As `parse_scope_name` reads it: DNS names plain, others with their kind."""
        if self.kind is NameKind.DNS:
            return f"*.{self.value}" if self.below else self.value
        return f"{self.kind.value}:{self.value}"

    def admits(self, kind: NameKind, value: str) -> bool:
        """Whether a canonical name fits. A wildcard is a name like any other: it can be below."""
        if kind is not self.kind:
            return False
        return value.endswith(f".{self.value}") if self.below else value == self.value

    def covers(self, other: ScopeName) -> bool:
        """Whether every name that fits the other pattern fits this one."""
        if other.below and other.value == self.value:
            return self.below
        return self.admits(other.kind, other.value) and (self.below or not other.below)


def parse_scope_name(text: str, field: str) -> ScopeName:
    """Read a pattern: `www.example.org`, `*.example.org`, `ip:…`, `email:…`, `uri:…`.

    Raises InvalidInput at `field` as `parse_name` does.
    """
    name = parse_name(text, field)
    if name.kind is NameKind.DNS and name.value.startswith("*."):
        return ScopeName(name.kind, name.value.removeprefix("*."), below=True)
    return ScopeName(name.kind, name.value)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a key reaches: certificates that fit every part that is not None.

    With `names`, each of a certificate's names has to fit a pattern, it has at least one, and its
    common name is one of them: a label beside the names could say anything.
    """

    issuers: frozenset[str] | None = None
    profiles: frozenset[str] | None = None
    names: tuple[ScopeName, ...] | None = None

    def admits_issuer(self, issuer_id: str) -> bool:
        """Whether that issuer is within it."""
        return self.issuers is None or issuer_id in self.issuers

    def admits_profile(self, profile_id: str) -> bool:
        """Whether that profile is within it."""
        return self.profiles is None or profile_id in self.profiles

    def admits_names(self, names: Sequence[Name], common_name: str | None) -> bool:
        """Whether a certificate may have these names and that common name."""
        patterns = self.names
        if patterns is None:
            return True
        if common_name is not None:
            spellings = {common_name, ascii_lower(common_name)}
            if not any(name.value in spellings for name in names):
                return False
        return bool(names) and all(
            any(pattern.admits(name.kind, name.value) for pattern in patterns) for name in names
        )

    def covers(self, other: Scope | None) -> bool:
        """Whether the other one reaches nothing beyond this one.

        No scope at all is more than any scope: it also has what concerns the whole installation.
        """
        if other is None:
            return False
        return (
            _covers(self.issuers, other.issuers)
            and _covers(self.profiles, other.profiles)
            and (
                self.names is None
                or (
                    other.names is not None
                    and all(
                        any(mine.covers(pattern) for mine in self.names) for pattern in other.names
                    )
                )
            )
        )


def _covers(mine: Collection[str] | None, others: Iterable[str] | None) -> bool:
    return mine is None or (others is not None and all(each in mine for each in others))


_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def ascii_lower(text: str) -> str:
    """Lower-case ASCII letters only, as SQLite does: no other letter may turn into one of them."""
    return text.translate(_LOWER)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key gives to whoever has it. `expires_at` in milliseconds; None: never."""

    role: Role
    scope: Scope | None = None
    expires_at: int | None = None


def check_grant(has: Grant, wanted: Grant) -> None:
    """Raise Forbidden where a new key would give more than the key that makes it has."""
    permitted = permissions_of(has.role, scoped=False)
    if not permissions_of(wanted.role, scoped=False) <= permitted:
        raise Forbidden(
            "role-not-within-own",
            "a key cannot make a key whose role may do more than its own",
            field="role",
            hint="choose a lesser role, or use a key with that role",
        )
    if has.scope is not None and not has.scope.covers(wanted.scope):
        raise Forbidden(
            "scope-not-within-own",
            "a key cannot make a key that reaches further than itself",
            field="scope",
            hint="name issuers, profiles and name patterns within this key's own scope",
        )
    if has.expires_at is not None and (
        wanted.expires_at is None or wanted.expires_at > has.expires_at
    ):
        raise Forbidden(
            "expiry-beyond-own",
            "a key cannot make a key that outlives it",
            field="expires_at",
            hint="choose an earlier moment, or use a key that lives longer",
        )


def check_expiry(expires_at: int | None, now_ms: int) -> None:
    """Raise InvalidInput for an end that has passed."""
    if expires_at is not None and expires_at <= now_ms:
        raise InvalidInput(
            "expiry-in-the-past",
            "the key would have expired already",
            field="expires_at",
            hint="choose a later moment, or leave it out: then the key does not expire",
        )
