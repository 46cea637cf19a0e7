"""What the inventory is asked for: filters and orders, read at the edge into typed values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from certctl.domain.errors import InvalidInput
from certctl.domain.names import NameKind, parse_name


class InventorySort(StrEnum):
    """The order of a list; with a minus from the greatest to the least."""

    CREATED = "created_at"
    NEWEST = "-created_at"
    NOT_AFTER = "not_after"
    LATEST_NOT_AFTER = "-not_after"

    @property
    def is_descending(self) -> bool:
        """Whether the greatest comes first."""
        return self.value.startswith("-")

    @property
    def by_not_after(self) -> bool:
        """Whether it is the order in which certificates expire, and not that of their making."""
        return self in {InventorySort.NOT_AFTER, InventorySort.LATEST_NOT_AFTER}


class NameMatch(StrEnum):
    """How the text of a filter is held against a name."""

    EXACT = "exact"
    PREFIX = "prefix"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class NameFilter:
    """Names that are one of `texts`, begin with one of them, or are DNS names below it.

    Without `kind` names of every kind fit.
    """

    match: NameMatch
    texts: tuple[str, ...]
    kind: NameKind | None = None

    def admits(self, kind: NameKind, value: str) -> bool:
        """Whether a canonical name fits."""
        if self.kind not in {None, kind}:
            return False
        match self.match:
            case NameMatch.EXACT:
                return value in self.texts
            case NameMatch.PREFIX:
                return value.startswith(self.texts)
            case NameMatch.BELOW:
                return value.endswith(tuple(f".{text}" for text in self.texts))


def parse_name_filter(text: str, field: str) -> NameFilter:
    """Read `www.example.org`, `shop*` or `*.example.org`, each perhaps with its kind in front.

    A prefix finds names as they are stored: DNS names and IP addresses are lower-case, whatever the
    case it is written in. Raises InvalidInput at `field`.
    """
    mark, colon, rest = text.partition(":")
    kind = next((kind for kind in NameKind if colon and mark.lower() == kind.value), None)
    value = text if kind is None else rest
    if value.endswith("*"):
        return _prefix(value[:-1], kind, field)
    name = parse_name(text, field)
    if name.kind is NameKind.DNS and name.value.startswith("*."):
        return NameFilter(NameMatch.BELOW, (name.value.removeprefix("*."),), name.kind)
    return NameFilter(NameMatch.EXACT, (name.value,), name.kind)


def _prefix(begun: str, kind: NameKind | None, field: str) -> NameFilter:
    if not begun or "*" in begun or not (begun.isascii() and begun.isprintable()):
        raise InvalidInput(
            "name-filter-invalid",
            "a filter for the beginning of names has no such form",
            field=field,
            hint="write the beginning and one * behind it (`shop*`), in ASCII; "
            "`*.example.org` is every name below example.org",
        )
    lowered = begun.lower()
    if kind in {NameKind.DNS, NameKind.IP}:
        return NameFilter(NameMatch.PREFIX, (lowered,), kind)
    texts = (begun,) if kind is not None else tuple(dict.fromkeys((begun, lowered)))
    return NameFilter(NameMatch.PREFIX, texts, kind)


class InventoryStatus(StrEnum):
    """How a certificate stands, as lists show it. `expired` is what time makes of `issued`."""

    PENDING = "pending"
    ISSUED = "issued"
    FAILED = "failed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class InventoryFilter:
    """Which certificates: those that fit every part that is not None. Times in milliseconds.

    Archived ones fit only where `status` asks for them.
    """

    status: InventoryStatus | None = None
    issuer_id: str | None = None
    profile_id: str | None = None
    owner: str | None = None
    name: NameFilter | None = None
    #: The newest version's end is at this moment or later.
    expires_after: int | None = None
    #: The newest version's end is before this moment.
    expires_before: int | None = None
