"""Profiles and their rules, as a person reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certctl.cli.schema_settings import settings_in
from certctl.cli.tables import Column, Table, fields
from certctl.cli.times import full, seconds_in
from certctl.domain.errors import InvalidInput
from certctl.schemas.profiles import ProfileRules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from certctl.cli.schema_settings import Setting
    from certctl.schemas.profiles import ProfileView

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_SECONDS = "_seconds"


def rules() -> tuple[Setting, ...]:
    """What can be set in a profile, required rules first."""
    return settings_in(ProfileRules.model_json_schema())


def find_rule(name: str) -> Setting:
    """The rule of that name; lifetimes may be named without their unit. Raises InvalidInput."""
    wanted = name.strip().lower().replace("-", "_")
    known = rules()
    for rule in known:
        if wanted in {rule.name, rule.name.removesuffix(_SECONDS)}:
            return rule
    raise InvalidInput(
        "unknown-rule",
        f"a profile has no rule of that name; it has: {', '.join(rule.name for rule in known)}",
        hint="`certctl profiles rules` explains them",
    )


def read_rule(rule: Setting, text: str) -> Any:
    """The value that was written. Raises InvalidInput, which does not repeat it."""
    if not rule.name.endswith(_SECONDS):
        return rule.read(text)
    seconds = seconds_in(text)
    if seconds is None:
        raise rule.wrong("takes a lifetime, as in 90d, 12h or 30min; a number alone is seconds")
    return seconds


def rules_table(known: Sequence[Setting]) -> Table:
    """One row for each rule."""
    columns = (
        Column("RULE"),
        Column("TAKES", least=12, wraps=True),
        Column("DEFAULT", least=8, wraps=True),
        Column("MEANING", least=16, wraps=True),
    )
    return Table(columns, [(r.name, _takes(r), _default(r), r.description) for r in known])


def _takes(rule: Setting) -> str:
    return "lifetime: 90d, 12h, 30min" if rule.name.endswith(_SECONDS) else rule.takes


def _default(rule: Setting) -> str:
    return "(required)" if rule.required else rule.default_text


def profiles_table(rows: Sequence[ProfileView], _now: datetime) -> Table:
    """One row for each profile."""
    columns = (
        Column("ID"),
        Column("NAME", least=8),
        Column("STATUS", is_state=True),
        Column("NAMES", least=6),
        Column("USUAL"),
        Column("LONGEST"),
        Column("USAGES", least=8),
    )
    return Table(
        columns,
        [
            (
                row.id,
                row.name,
                _status(row),
                " ".join(row.name_kinds),
                _lifetime(row.default_validity_seconds),
                _lifetime(row.max_validity_seconds),
                " ".join(row.usages),
            )
            for row in rows
        ],
    )


def profile_fields(profile: ProfileView, now: datetime) -> str:
    """All about one profile."""
    patterns, issuers = profile.name_patterns, profile.allowed_issuers
    return fields(
        [
            ("Profile", profile.id),
            ("Name", profile.name),
            ("Status", _status(profile)),
            ("For", profile.description),
            ("Key types", ", ".join(profile.key_types)),
            ("RSA", f"{profile.rsa_min_bits} bits or more" if "rsa" in profile.key_types else None),
            ("Usages", ", ".join(profile.usages)),
            ("Kinds of names", ", ".join(profile.name_kinds) or "none: a common name only"),
            ("Names allowed", ", ".join(patterns) if patterns is not None else "any"),
            ("Issuers allowed", ", ".join(issuers) if issuers is not None else "any"),
            ("Usual lifetime", _lifetime(profile.default_validity_seconds)),
            ("Longest lifetime", _lifetime(profile.max_validity_seconds)),
            ("Must-staple", "yes" if profile.must_staple else "no"),
            ("New key on renewal", "yes" if profile.new_key_on_renewal else "no"),
            ("Revision", str(profile.revision) if profile.revision else None),
            ("Changed", full(profile.updated_at, now)),
            *[("Warning", f"{w.issuer_id}: {w.detail}") for w in profile.warnings],
        ]
    )


def _status(profile: ProfileView) -> str:
    if profile.archived_at is not None:
        return "archived"
    return "enabled" if profile.enabled else "disabled"


def _lifetime(seconds: int) -> str:
    for unit, name in ((_DAY, "d"), (_HOUR, "h")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds / _MINUTE:g} min" if seconds < _DAY else f"{seconds / _DAY:.2f} d"
