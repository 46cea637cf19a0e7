"""Names in SQL: as a range of their index, and as a condition on a certificate's own row.

The index finds; the row decides. What an index gives may be too much, never too little.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING

from sqlalchemy import JSON, String, and_, cast, column, false, func, or_

from certctl.domain.inventory import NameFilter, NameMatch
from certctl.domain.names import NameKind
from certctl.storage.tables import certificate_names, certificates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Dialect, TableValuedAlias

    from certctl.domain.access import ScopeName

#: Above every character of a stored name, which is ASCII.
_ABOVE = "\x7f"

_index = certificate_names.c


def names_of_row(dialect: Dialect) -> TableValuedAlias:
    """The names of the row of `certificates` around it, each a row with a `value`."""
    if dialect.name == "sqlite":
        function = func.json_each(certificates.c.names)
    else:
        function = func.json_array_elements_text(cast(certificates.c.names, JSON))
    return function.table_valued(column("value", String))


def without_kind(name: TableValuedAlias, dialect: Dialect) -> ColumnElement[str]:
    """The value of such a name, which is stored behind its kind and a colon."""
    find = func.instr if dialect.name == "sqlite" else func.strpos
    return func.substr(name.c.value, find(name.c.value, ":") + 1)


def sql_ascii_lower(text: ColumnElement[str], dialect: Dialect) -> ColumnElement[str]:
    """As `domain.access.ascii_lower`: PostgreSQL's `lower` makes a k of the Kelvin sign."""
    if dialect.name == "sqlite":
        return func.lower(text)
    return func.translate(text, ascii_uppercase, ascii_lowercase)


def fits_pattern(value: ColumnElement[str], pattern: ScopeName) -> ColumnElement[bool]:
    """Whether a stored name (`kind:value`) fits a pattern."""
    if pattern.below:
        return _is_below(value, pattern.kind, pattern.value)
    return value == f"{pattern.kind.value}:{pattern.value}"


def fits_filter(value: ColumnElement[str], wanted: NameFilter) -> ColumnElement[bool]:
    """Whether a stored name (`kind:value`) fits a filter."""
    kinds = list(NameKind) if wanted.kind is None else [wanted.kind]
    return or_(
        false(),
        *[_fits(value, wanted.match, kind, text) for kind in kinds for text in wanted.texts],
    )


def _fits(
    value: ColumnElement[str], match: NameMatch, kind: NameKind, text: str
) -> ColumnElement[bool]:
    match match:
        case NameMatch.EXACT:
            return value == f"{kind.value}:{text}"
        case NameMatch.PREFIX:
            begun = f"{kind.value}:{text}"
            return func.substr(value, 1, len(begun)) == begun
        case NameMatch.BELOW:
            return _is_below(value, kind, text)


def _is_below(value: ColumnElement[str], kind: NameKind, domain: str) -> ColumnElement[bool]:
    begun = value.startswith(f"{kind.value}:", autoescape=True)
    return and_(begun, value.endswith(f".{domain}", autoescape=True))


def ranges_of_filter(wanted: NameFilter) -> list[ColumnElement[bool]]:
    """Conditions on rows of `certificate_names`, each one range of an index."""
    match wanted.match:
        case NameMatch.EXACT:
            return [_index.value.in_(wanted.texts)]
        case NameMatch.PREFIX:
            return [_begins(_index.value, text) for text in wanted.texts]
        case NameMatch.BELOW:
            return [_ends_below(text) for text in wanted.texts]


def ranges_of_patterns(patterns: Iterable[ScopeName]) -> list[ColumnElement[bool]]:
    """Conditions on rows of `certificate_names` that one of a scope's names may fit."""
    patterns = list(patterns)
    exact = [pattern.value for pattern in patterns if not pattern.below]
    ranges = [_ends_below(pattern.value) for pattern in patterns if pattern.below]
    if exact:
        ranges.append(_index.value.in_(exact))
    return ranges


def _ends_below(domain: str) -> ColumnElement[bool]:
    return _begins(_index.reversed, f".{domain}"[::-1])


def _begins(indexed: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """By comparison, not LIKE: an index serves it whatever the value is and when it is bound."""
    return and_(indexed >= text, indexed < f"{text}{_ABOVE}")
