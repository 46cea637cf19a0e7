"""Profiles as rows; their rules are one JSON column."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from certctl.domain.keys import KeyType
from certctl.domain.name_patterns import parse_patterns
from certctl.domain.names import NameKind
from certctl.domain.profile_rules import rules_of
from certctl.domain.profiles import Profile
from certctl.domain.usages import Usage
from certctl.storage.tables import profiles

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from certctl.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class ProfileRecord:
    """A profile as it is stored, and whether requests may name it. Times in milliseconds."""

    profile: Profile
    enabled: bool
    revision: int
    created_at: int
    updated_at: int
    archived_at: int | None = None


def _profile(row: Row[Any]) -> Profile:
    rules = json.loads(row.rules)
    # What came later than 0.1.0 is missing in rows that nobody has changed since.
    patterns, issuers = rules.get("name_patterns"), rules.get("allowed_issuers")
    return Profile(
        id=row.id,
        name=row.name,
        description=rules["description"],
        key_types=frozenset(KeyType(value) for value in rules["key_types"]),
        usages=tuple(Usage(value) for value in rules["usages"]),
        name_kinds=frozenset(NameKind(value) for value in rules["name_kinds"]),
        default_validity=rules["default_validity"],
        max_validity=rules["max_validity"],
        rsa_min_bits=rules["rsa_min_bits"],
        must_staple=rules["must_staple"],
        new_key_on_renewal=rules["new_key_on_renewal"],
        name_patterns=None if patterns is None else parse_patterns(patterns),
        allowed_issuers=None if issuers is None else tuple(issuers),
    )


def _record(row: Row[Any]) -> ProfileRecord:
    return ProfileRecord(
        profile=_profile(row),
        enabled=row.enabled,
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
        archived_at=row.archived_at,
    )


_ALL = select(profiles).order_by(profiles.c.id)


def list_profiles(connection: Connection) -> list[ProfileRecord]:
    """Every profile, by id, the archived ones too."""
    return [_record(row) for row in connection.execute(_ALL)]


_ONE = select(profiles).where(profiles.c.id == bindparam("which"))
_LOCK_ONE = _ONE.with_for_update()


def get_profile(connection: Connection, profile_id: str) -> ProfileRecord | None:
    """The profile of that id, or None."""
    row = connection.execute(_ONE, {"which": profile_id}).first()
    return None if row is None else _record(row)


def lock_profile(transaction: Transaction, profile_id: str) -> ProfileRecord | None:
    """The same, held until the transaction ends."""
    row = transaction.execute(_LOCK_ONE, {"which": profile_id}).first()
    return None if row is None else _record(row)


def insert_profile(
    transaction: Transaction, profile: Profile, now_ms: int, *, enabled: bool = True
) -> None:
    """Store a new profile; other processes notice."""
    transaction.execute(
        insert(profiles),
        {
            "id": profile.id,
            "name": profile.name,
            "rules": json.dumps(rules_of(profile)),
            "enabled": enabled,
            "revision": 1,
            "created_at": now_ms,
            "updated_at": now_ms,
        },
    )
    transaction.changed()


_UPDATE = (
    update(profiles)
    .where(profiles.c.id == bindparam("which"), profiles.c.revision == bindparam("seen"))
    .values(
        name=bindparam("name"),
        rules=bindparam("rules"),
        enabled=bindparam("enabled"),
        revision=profiles.c.revision + 1,
        updated_at=bindparam("updated_at"),
        archived_at=bindparam("archived_at"),
    )
)


def update_profile(transaction: Transaction, record: ProfileRecord) -> bool:
    """Store a changed profile under the revision after `record.revision`; other processes notice.

    False, and nothing is stored, when the stored profile has another revision, or is gone.
    """
    values = {
        "which": record.profile.id,
        "seen": record.revision,
        "name": record.profile.name,
        "rules": json.dumps(rules_of(record.profile)),
        "enabled": record.enabled,
        "updated_at": record.updated_at,
        "archived_at": record.archived_at,
    }
    if not transaction.execute(_UPDATE, values).rowcount:
        return False
    transaction.changed()
    return True


_DELETE = delete(profiles).where(profiles.c.id == bindparam("which"))


def delete_profile(transaction: Transaction, profile_id: str) -> None:
    """Delete a profile; other processes notice.

    It is a Duplicate where a certificate was ordered with it.
    """
    transaction.execute(_DELETE, {"which": profile_id})
    transaction.changed()
