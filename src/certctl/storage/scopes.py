"""Scopes of API keys: as JSON in a column, and as conditions on what is stored.

`within` says the same in SQL as `domain.access.Scope` says of a request: a list, a count and a look
at one certificate all narrow with it, so that what is out of scope is nowhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, or_, select

from certctl.domain.access import Scope, ScopeName
from certctl.domain.names import NameKind
from certctl.storage.name_conditions import (
    fits_pattern,
    names_of_row,
    sql_ascii_lower,
    without_kind,
)
from certctl.storage.tables import certificate_names, certificates, orders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Dialect


def scope_values(scope: Scope) -> dict[str, Any]:
    """A scope as JSON values; a part that is everything is left out."""
    parts: dict[str, Any] = {}
    if scope.issuers is not None:
        parts["issuers"] = sorted(scope.issuers)
    if scope.profiles is not None:
        parts["profiles"] = sorted(scope.profiles)
    if scope.names is not None:
        parts["names"] = [
            [pattern.kind.value, pattern.value, pattern.below] for pattern in scope.names
        ]
    return parts


def load_scope(parts: dict[str, Any]) -> Scope:
    """The scope that `scope_values` gave."""
    issuers, profiles, names = (parts.get(part) for part in ("issuers", "profiles", "names"))
    return Scope(
        issuers=None if issuers is None else frozenset(issuers),
        profiles=None if profiles is None else frozenset(profiles),
        names=None
        if names is None
        else tuple(ScopeName(NameKind(kind), value, below) for kind, value, below in names),
    )


def encode_scope(scope: Scope | None) -> str | None:
    """A scope as the text of a column; null is everything."""
    return None if scope is None else json.dumps(scope_values(scope))


def decode_scope(text: str | None) -> Scope | None:
    """The scope in a column."""
    return None if text is None else load_scope(json.loads(text))


def within(scope: Scope | None, dialect: Dialect) -> list[ColumnElement[bool]]:
    """Conditions on rows of `certificates`: those that a scope reaches."""
    if scope is None:
        return []
    found: list[ColumnElement[bool]] = []
    if scope.issuers is not None:
        found.append(certificates.c.issuer_id.in_(sorted(scope.issuers)))
    if scope.profiles is not None:
        found.append(certificates.c.profile_id.in_(sorted(scope.profiles)))
    if scope.names is not None:
        found += _named_within(scope.names, dialect)
    return found


def names_within(patterns: Sequence[ScopeName], dialect: Dialect) -> list[ColumnElement[bool]]:
    """Conditions on rows of `certificates` whose names all fit, by looking at each row."""
    name = names_of_row(dialect)
    fits = or_(*[fits_pattern(name.c.value, pattern) for pattern in patterns])
    other = names_of_row(dialect)
    common_name = certificates.c.common_name
    spellings = [common_name, sql_ascii_lower(common_name, dialect)]
    return [
        certificates.c.names != "[]",
        ~exists(select(1).select_from(name).where(~fits)),
        or_(
            common_name.is_(None),
            exists(select(1).select_from(other).where(without_kind(other, dialect).in_(spellings))),
        ),
    ]


def within_certificate(
    column: Column[Any], scope: Scope | None, dialect: Dialect
) -> list[ColumnElement[bool]]:
    """Conditions on rows of another table, whose column refers to a certificate."""
    conditions = within(scope, dialect)
    if not conditions:
        return []
    return [column.in_(select(certificates.c.id).where(*conditions))]


def _named_within(patterns: Sequence[ScopeName], dialect: Dialect) -> list[ColumnElement[bool]]:
    conditions = names_within(patterns, dialect)
    if not any(pattern.below for pattern in patterns):
        # Found by the index of names; the other names of a certificate are looked at with its row.
        conditions.append(
            certificates.c.id.in_(
                select(certificate_names.c.certificate_id).where(
                    certificate_names.c.value.in_([pattern.value for pattern in patterns])
                )
            )
        )
    return conditions


def reaches_certificate(connection: Connection, certificate_id: str, scope: Scope) -> bool:
    """Whether there is a certificate of that id within a scope."""
    conditions = within(scope, connection.dialect)
    found = select(certificates.c.id).where(certificates.c.id == certificate_id, *conditions)
    return connection.execute(found).first() is not None


def reaches_order(connection: Connection, order_id: str, scope: Scope) -> bool:
    """Whether there is an order of that id whose certificate is within a scope."""
    found = (
        select(orders.c.id)
        .join(certificates, certificates.c.id == orders.c.certificate_id)
        .where(orders.c.id == order_id, *within(scope, connection.dialect))
    )
    return connection.execute(found).first() is not None
