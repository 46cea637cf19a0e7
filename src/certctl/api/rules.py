"""What every route asks for: a permission, and which objects a request to it names.

A route that is not here is refused. Objects in a path are held against the caller's scope before
the route runs. Those in a query or a body are held against it where they are read: lists and bulk
revocations are narrowed in SQL (`storage.scopes`), an order by the use case. A test sends every one
of them from out of scope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from certctl.domain.access import Permission
from certctl.lifecycle.permissions import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Mapping

Place = Literal["path", "query", "body"]


class Reference(NamedTuple):
    """An object that a request names; `field` is dotted in a body."""

    place: Place
    field: str
    kind: ObjectKind


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a route, and what it names. No permission: everybody, without a key."""

    permission: Permission | None
    references: tuple[Reference, ...] = ()


def _path(field: str, kind: ObjectKind) -> Reference:
    return Reference("path", field, kind)


_CERTIFICATE = _path("certificate_id", ObjectKind.CERTIFICATE)
_VERSION = _path("version_id", ObjectKind.VERSION)
_ORDER = _path("order_id", ObjectKind.ORDER)
_BULK = _path("bulk_id", ObjectKind.BULK_REVOCATION)
_ISSUER = _path("issuer_id", ObjectKind.ISSUER)
_PROFILE = _path("profile_id", ObjectKind.PROFILE)
_KEY = _path("key_id", ObjectKind.API_KEY)
_FILTER = (
    Reference("body", "filter.issuer_id", ObjectKind.ISSUER),
    Reference("body", "filter.profile_id", ObjectKind.PROFILE),
)

_READ, _ORDERING, _SETTLE = Permission.READ, Permission.ORDER, Permission.SETTLE
_REVOKE, _KEYS, _ADMINISTER = Permission.REVOKE, Permission.KEYS, Permission.ADMINISTER

_API: dict[tuple[str, str], Rule] = {
    ("GET", "/certificates"): Rule(
        _READ,
        (
            Reference("query", "issuer_id", ObjectKind.ISSUER),
            Reference("query", "profile_id", ObjectKind.PROFILE),
        ),
    ),
    ("POST", "/certificates"): Rule(
        _ORDERING,
        (
            Reference("body", "issuer_id", ObjectKind.ISSUER),
            Reference("body", "profile_id", ObjectKind.PROFILE),
        ),
    ),
    ("GET", "/certificates/{certificate_id}"): Rule(_READ, (_CERTIFICATE,)),
    ("GET", "/certificates/{certificate_id}/download"): Rule(
        _READ, (_CERTIFICATE, Reference("query", "version", ObjectKind.VERSION))
    ),
    ("POST", "/certificates/import"): Rule(
        _ORDERING, (Reference("body", "replaces", ObjectKind.CERTIFICATE),)
    ),
    ("PATCH", "/certificates/{certificate_id}"): Rule(_ORDERING, (_CERTIFICATE,)),
    ("POST", "/certificates/{certificate_id}/archive"): Rule(_ORDERING, (_CERTIFICATE,)),
    ("POST", "/certificates/{certificate_id}/unarchive"): Rule(_ORDERING, (_CERTIFICATE,)),
    ("GET", "/certificates/{certificate_id}/orders"): Rule(_READ, (_CERTIFICATE,)),
    ("GET", "/certificates/{certificate_id}/audit"): Rule(Permission.AUDIT, (_CERTIFICATE,)),
    ("POST", "/certificates/{certificate_id}/renew"): Rule(_ORDERING, (_CERTIFICATE,)),
    ("POST", "/certificates/{certificate_id}/revoke"): Rule(_REVOKE, (_CERTIFICATE,)),
    ("POST", "/certificates/{certificate_id}/release"): Rule(_REVOKE, (_CERTIFICATE,)),
    ("GET", "/certificates/{certificate_id}/versions"): Rule(_READ, (_CERTIFICATE,)),
    ("GET", "/certificates/{certificate_id}/versions/{version_id}"): Rule(
        _READ, (_CERTIFICATE, _VERSION)
    ),
    ("POST", "/certificates/{certificate_id}/versions/{version_id}/revoke"): Rule(
        _REVOKE, (_CERTIFICATE, _VERSION)
    ),
    ("POST", "/certificates/{certificate_id}/versions/{version_id}/release"): Rule(
        _REVOKE, (_CERTIFICATE, _VERSION)
    ),
    ("GET", "/revocations"): Rule(
        _READ, (Reference("query", "bulk_id", ObjectKind.BULK_REVOCATION),)
    ),
    ("POST", "/bulk-revocations/preview"): Rule(_REVOKE, _FILTER),
    ("POST", "/bulk-revocations"): Rule(_REVOKE, _FILTER),
    ("GET", "/bulk-revocations"): Rule(_READ),
    ("GET", "/bulk-revocations/{bulk_id}"): Rule(_READ, (_BULK,)),
    ("POST", "/bulk-revocations/{bulk_id}/cancel"): Rule(_REVOKE, (_BULK,)),
    ("GET", "/orders"): Rule(_READ),
    ("GET", "/orders/{order_id}"): Rule(_READ, (_ORDER,)),
    ("POST", "/orders/{order_id}/cancel"): Rule(_SETTLE, (_ORDER,)),
    ("POST", "/orders/{order_id}/resolve"): Rule(_SETTLE, (_ORDER,)),
    ("GET", "/issuers"): Rule(_READ),
    ("GET", "/issuers/types"): Rule(_READ),
    ("GET", "/issuers/{issuer_id}"): Rule(_READ, (_ISSUER,)),
    ("GET", "/issuers/{issuer_id}/ca"): Rule(_READ, (_ISSUER,)),
    ("POST", "/issuers"): Rule(_ADMINISTER),
    ("PUT", "/issuers/{issuer_id}"): Rule(_ADMINISTER, (_ISSUER,)),
    ("DELETE", "/issuers/{issuer_id}"): Rule(_ADMINISTER, (_ISSUER,)),
    ("POST", "/issuers/{issuer_id}/enable"): Rule(_ADMINISTER, (_ISSUER,)),
    ("POST", "/issuers/{issuer_id}/disable"): Rule(_ADMINISTER, (_ISSUER,)),
    ("POST", "/issuers/{issuer_id}/test"): Rule(_ADMINISTER, (_ISSUER,)),
    ("GET", "/profiles"): Rule(_READ),
    ("GET", "/profiles/{profile_id}"): Rule(_READ, (_PROFILE,)),
    ("POST", "/profiles"): Rule(_ADMINISTER),
    ("PUT", "/profiles/{profile_id}"): Rule(_ADMINISTER, (_PROFILE,)),
    ("DELETE", "/profiles/{profile_id}"): Rule(_ADMINISTER, (_PROFILE,)),
    ("POST", "/profiles/{profile_id}/enable"): Rule(_ADMINISTER, (_PROFILE,)),
    ("POST", "/profiles/{profile_id}/disable"): Rule(_ADMINISTER, (_PROFILE,)),
    ("POST", "/keys"): Rule(
        _KEYS,
        (
            Reference("body", "scope.issuers", ObjectKind.ISSUER),
            Reference("body", "scope.profiles", ObjectKind.PROFILE),
        ),
    ),
    ("GET", "/keys"): Rule(_KEYS),
    ("GET", "/keys/{key_id}"): Rule(_KEYS, (_KEY,)),
    ("POST", "/keys/{key_id}/revoke"): Rule(_KEYS, (_KEY,)),
    ("GET", "/audit"): Rule(Permission.AUDIT),
    ("POST", "/audit/verify"): Rule(Permission.AUDIT),
    ("GET", "/audit/export"): Rule(Permission.AUDIT),
    ("GET", "/audit/export/key"): Rule(Permission.AUDIT),
    ("GET", "/secrets"): Rule(_ADMINISTER),
    ("POST", "/secrets/rotate"): Rule(_ADMINISTER),
    ("GET", "/openapi.json"): Rule(_READ),
}

PREFIX = "/api/v1"

#: By method and address as the router spells it.
RULES: Mapping[tuple[str, str], Rule] = {
    **{(method, PREFIX + address): rule for (method, address), rule in _API.items()},
    ("GET", "/metrics"): Rule(Permission.METRICS),
    ("GET", "/healthz"): Rule(None),
    ("GET", "/readyz"): Rule(None),
}
