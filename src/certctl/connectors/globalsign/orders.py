"""What an order says in both dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.names import MAX_COMMON_NAME, NameKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certctl.connectors.contract import IssuanceRequest
    from certctl.domain.names import Name

#: The names' fields in an order's `san`.
SAN_FIELDS = {
    NameKind.DNS: "dns_names",
    NameKind.IP: "ip_addresses",
    NameKind.EMAIL: "emails",
    NameKind.URI: "uris",
}


def common_name_of(request: IssuanceRequest) -> str | None:
    """The request's common name, or the first of its names that fits into one; None: none does."""
    fitting = (n.value for n in request.names if len(n.value) <= MAX_COMMON_NAME)
    return request.common_name or next(fitting, None)


def san_of(names: Iterable[Name]) -> dict[str, list[str]]:
    """The names by kind; kinds without a name are left out."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(SAN_FIELDS[name.kind], []).append(name.value)
    return found


def validity_of(not_before: int, seconds: int) -> dict[str, int]:
    """When it begins and ends, in seconds since 1970."""
    return {"not_before": not_before, "not_after": not_before + seconds}
