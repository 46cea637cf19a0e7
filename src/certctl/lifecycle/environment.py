"""What the server's environment says about issuers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from certctl.connectors.config import describe_faults, find_faults
from certctl.connectors.errors import Misconfigured as SettingsDoNotWork
from certctl.connectors.registry import config_from_environment
from certctl.domain.errors import Misconfigured
from certctl.lifecycle.building import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from certctl.connectors.contract import ConnectorType
    from certctl.storage.issuers import IssuerRecord

#: The issuer that is there without a single setting.
LOCAL_ISSUER_ID = "iss-local"


@dataclass(frozen=True, slots=True)
class EnvironmentIssuer:
    """An issuer as the environment has it. `is_named` when a variable of it is set."""

    kind: ConnectorType
    config: dict[str, Any]
    secrets: dict[str, Any]
    is_named: bool

    def is_in_effect(self, record: IssuerRecord) -> bool:
        """Whether the stored settings come to the same, defaults included."""
        if (record.config, record.secrets) == (self.config, self.secrets):
            return True
        try:
            stored = parse(self.kind, record)
        except SettingsDoNotWork:
            return False
        return stored == self.kind.config.model_validate({**self.config, **self.secrets})


def issuers_in_environment(
    environment: Mapping[str, str], types: Iterable[ConnectorType]
) -> dict[str, EnvironmentIssuer]:
    """The issuers that the environment has settings for, by id, and the Local CA in any case.

    Raises Misconfigured, naming the variables, for settings that do not make sense.
    """
    found = {}
    for kind in types:
        given = config_from_environment(kind.config, environment)
        if not given and kind.issuer_id != LOCAL_ISSUER_ID:
            continue
        try:
            config = kind.config.model_validate(given)
        except ValidationError as error:
            words = describe_faults(find_faults(kind.config, error), kind.config.env_prefix)
            raise Misconfigured(
                "issuer-environment-invalid",
                f"settings of the {kind.name} issuer: {words}",
                hint="mend the environment variables of that issuer, then start again",
            ) from None
        shown, secrets = config.parts()
        found[kind.issuer_id] = EnvironmentIssuer(kind, shown, secrets, bool(given))
    return found
