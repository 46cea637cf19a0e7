"""The one place that decides whether a caller may do something to an object.

Routes say what they ask for and which objects they name (`api.rules`); the answer to both is given
here, before the route's own code runs. What is out of a caller's scope is answered in the very
words of what does not exist, without a look at whether it does.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from certctl.domain.access import permissions_of
from certctl.domain.errors import Forbidden, refused
from certctl.lifecycle.bulk_revocation import bulk_not_found
from certctl.lifecycle.catalog import issuer_not_found, profile_not_found
from certctl.lifecycle.keys import key_not_found
from certctl.lifecycle.orders import order_not_found
from certctl.lifecycle.revocations import certificate_not_found, version_not_found
from certctl.storage.api_keys import get_api_key
from certctl.storage.bulk_revocations import get_bulk
from certctl.storage.scopes import reaches_certificate, reaches_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from certctl.domain.access import Permission, Scope
    from certctl.domain.errors import NotFound
    from certctl.domain.names import Name
    from certctl.lifecycle.access import Actor
    from certctl.storage.database import Connection, Database


class ObjectKind(StrEnum):
    """What a request can name. A version is named below its certificate, which decides for it."""

    ISSUER = "issuer"
    PROFILE = "profile"
    CERTIFICATE = "certificate"
    VERSION = "version"
    ORDER = "order"
    BULK_REVOCATION = "bulk_revocation"
    API_KEY = "api_key"


_NOT_FOUND: dict[ObjectKind, Callable[[], NotFound]] = {
    ObjectKind.ISSUER: issuer_not_found,
    ObjectKind.PROFILE: profile_not_found,
    ObjectKind.CERTIFICATE: certificate_not_found,
    ObjectKind.VERSION: version_not_found,
    ObjectKind.ORDER: order_not_found,
    ObjectKind.BULK_REVOCATION: bulk_not_found,
    ObjectKind.API_KEY: key_not_found,
}
#: Nothing else was ever an id; PostgreSQL would not even take all of it as text.
_ID = re.compile(r"[a-z0-9-]{1,80}")


class Permissions:
    """Decides for callers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, actor: Actor, permission: Permission) -> None:
        """Raise Forbidden unless role and scope give that permission."""
        if permission in actor.permissions:
            return
        if permission in permissions_of(actor.role, scoped=False):
            raise Forbidden(
                "scope-not-enough",
                "that concerns the whole installation, and this API key has a scope",
                hint="use a key without a scope",
            )
        raise Forbidden(
            "role-not-enough",
            "this API key's role does not allow that",
            hint="use a key of another role; an admin can make one",
        )

    async def check_objects(self, actor: Actor, named: Iterable[tuple[ObjectKind, str]]) -> None:
        """Raise NotFound, as for what does not exist, unless all is within the caller's scope."""
        scope = actor.scope
        if scope is None:
            return
        for kind, object_id in named:
            if not await self._reaches(actor, scope, kind, object_id):
                raise refused(_NOT_FOUND[kind]())

    async def _reaches(self, actor: Actor, scope: Scope, kind: ObjectKind, object_id: str) -> bool:
        if not _ID.fullmatch(object_id):
            return False
        match kind:
            case ObjectKind.ISSUER:
                return scope.admits_issuer(object_id)
            case ObjectKind.PROFILE:
                return scope.admits_profile(object_id)
            case ObjectKind.VERSION:
                return True

        def load(connection: Connection) -> bool:
            match kind:
                case ObjectKind.CERTIFICATE:
                    return reaches_certificate(connection, object_id, scope)
                case ObjectKind.ORDER:
                    return reaches_order(connection, object_id, scope)
                case ObjectKind.BULK_REVOCATION:
                    bulk = get_bulk(connection, object_id)
                    return bulk is not None and bulk.actor == actor.id
                case ObjectKind.API_KEY:
                    key = get_api_key(connection, object_id)
                    return key is not None and key.created_by == actor.id
            return False

        return await self._database.read(load)


def check_chosen(actor: Actor, issuer_id: str, profile_id: str) -> None:
    """Raise InvalidInput, as for what does not exist, for an issuer or profile out of scope."""
    scope = actor.scope
    if scope is None:
        return
    if not scope.admits_issuer(issuer_id):
        raise refused(issuer_not_found().as_input())
    if not scope.admits_profile(profile_id):
        raise refused(profile_not_found().as_input())


def check_names(actor: Actor, names: Sequence[Name], common_name: str | None) -> None:
    """Raise Forbidden unless a certificate of these names is within the caller's scope."""
    if actor.scope is None or actor.scope.admits_names(names, common_name):
        return
    raise Forbidden(
        "names-out-of-scope",
        "this API key may not ask for all of these names",
        field="names",
        hint="ask for names within the key's scope only; a common name has to be one of them",
    )
