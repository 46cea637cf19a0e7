"""Which types of issuers can be made here, and which ids and settings the environment has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.connectors import errors as connector_errors
from certctl.domain.errors import Conflict, InvalidInput
from certctl.domain.ids import id_after_name
from certctl.domain.imports import EXTERNAL_TYPE, is_external_issuer_id
from certctl.domain.randomness import random_bytes
from certctl.lifecycle.environment import issuers_in_environment
from certctl.lifecycle.issuer_settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from certctl.connectors.contract import ConnectorType
    from certctl.lifecycle.issuer_requests import IssuerChange
    from certctl.storage.issuers import IssuerRecord


class IssuerTypes:
    """The types of one process, by `find_type`, and its environment as it was at the start."""

    def __init__(
        self,
        find_type: Callable[[str], ConnectorType],
        types: Iterable[ConnectorType],
        environment: Mapping[str, str],
    ) -> None:
        self._find_type = find_type
        self.types = tuple(types)
        self.environment = issuers_in_environment(environment, self.types)

    def find(self, name: str) -> ConnectorType | None:
        """The type of that name or alias, or None."""
        try:
            return self._find_type(name)
        except connector_errors.Misconfigured:
            return None

    def kind(self, name: str) -> ConnectorType:
        """The type of that name or alias; InvalidInput, naming the known ones, if there is none."""
        try:
            return self._find_type(name)
        except connector_errors.Misconfigured as error:
            raise InvalidInput(
                "issuer-type-unknown",
                error.detail,
                field="type",
                hint="GET /api/v1/issuers/types lists the types with their settings",
            ) from None

    def kind_to_make(self, name: str) -> ConnectorType:
        """The same, of those that people make issuers of."""
        kind = self.kind(name)
        if kind.name == EXTERNAL_TYPE:
            raise InvalidInput(
                "issuer-type-of-imports",
                "issuers of this type come with the certificates that are imported",
                field="type",
                hint="import one: POST /api/v1/certificates/import",
            )
        return kind

    def kind_of(self, record: IssuerRecord, named: str | None) -> ConnectorType:
        """The type of an issuer; Conflict if a request named another one."""
        kind = self.kind(record.type)
        if named is not None and self.kind(named).name != kind.name:
            raise Conflict(
                "issuer-type-fixed",
                f"this issuer is of the type {kind.name}, which cannot be changed",
                field="type",
                hint="make another issuer for another type of CA",
            )
        return kind

    def settings_of_environment(self, record: IssuerRecord, change: IssuerChange) -> Settings:
        """What the environment says of an issuer; InvalidInput where it has nothing to say."""
        settings = self.environment.get(record.id)
        if settings is None or settings.kind.name != record.type:
            raise InvalidInput(
                "issuer-not-in-environment",
                "the server's environment has no settings for this issuer",
                field="source",
                hint="set its variables and restart the server, or send `config` and leave "
                "`source` out",
            )
        if change.config is not None:
            raise InvalidInput(
                "issuer-settings-twice",
                "with the source `env` the settings are the environment's",
                field="config",
                hint="leave `config` out",
            )
        return Settings(settings.config, settings.secrets)

    def check_not_reserved(self, issuer_id: str, kind: ConnectorType) -> None:
        """Raise InvalidInput for an id that another type's environment makes an issuer of.

        So for one that an import would.
        """
        if self._is_reserved(issuer_id, kind):
            raise InvalidInput(
                "issuer-id-reserved",
                "this id is for an issuer that another type's environment variables, or the import "
                "of a certificate, make",
                field="id",
                hint="choose another id, or leave it out",
            )

    def _is_reserved(self, issuer_id: str, kind: ConnectorType) -> bool:
        if is_external_issuer_id(issuer_id):
            return True
        return any(other.issuer_id == issuer_id and other.name != kind.name for other in self.types)

    def id_for(self, name: str, kind: ConnectorType) -> str:
        """An id after a name; it may be taken."""
        issuer_id = id_after_name("iss", name, "issuer")
        if self._is_reserved(issuer_id, kind):
            return f"{issuer_id}-{random_bytes(3).hex()}"
        return issuer_id
