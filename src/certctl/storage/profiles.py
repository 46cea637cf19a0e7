"""Profiles as rows; their rules are one JSON column."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from certctl.domain.keys import KeyType
from certctl.domain.names import NameKind
from certctl.domain.profiles import Profile
from certctl.domain.usages import Usage
from certctl.storage.tables import profiles

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from certctl.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class ProfileRecord:
    """A profile and whether requests may name it."""

    profile: Profile
    enabled: bool


def _rules(profile: Profile) -> str:
    return json.dumps(
        {
            "description": profile.description,
            "key_types": sorted(profile.key_types),
            "rsa_min_bits": profile.rsa_min_bits,
            "usages": list(profile.usages),
            "name_kinds": sorted(profile.name_kinds),
            "default_validity": profile.default_validity,
            "max_validity": profile.max_validity,
            "must_staple": profile.must_staple,
            "new_key_on_renewal": profile.new_key_on_renewal,
        }
    )


def _profile(row: Row[Any]) -> Profile:
    rules = json.loads(row.rules)
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
    )


_ALL = select(profiles).order_by(profiles.c.id)


def list_profiles(connection: Connection) -> list[ProfileRecord]:
    """Every profile, by id."""
    return [ProfileRecord(_profile(row), row.enabled) for row in connection.execute(_ALL)]


def insert_profile(transaction: Transaction, profile: Profile, now_ms: int) -> None:
    """Store a new profile; other processes notice."""
    transaction.execute(
        insert(profiles),
        {
            "id": profile.id,
            "name": profile.name,
            "rules": _rules(profile),
            "enabled": True,
            "revision": 1,
            "created_at": now_ms,
            "updated_at": now_ms,
        },
    )
    transaction.changed()
