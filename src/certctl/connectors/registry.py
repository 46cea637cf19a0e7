"""Which types of certificate authority there are, by name and alias."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from certctl.connectors.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certctl.connectors.config import ConnectorConfig
    from certctl.connectors.contract import ConnectorType


@cache
def connector_types() -> dict[str, ConnectorType]:
    """Every connector type by its name and its aliases, lower-cased.

    Connectors' own libraries are imported by their factories, so that naming a type stays cheap.
    """
    from certctl.connectors.local import LOCAL

    return {
        name.lower(): connector
        for connector in (LOCAL,)
        for name in (connector.name, *connector.aliases)
    }


def connector_type(name: str) -> ConnectorType:
    """The type of that name or alias, whatever its case; raises Misconfigured if there is none."""
    try:
        return connector_types()[name.lower()]
    except KeyError:
        known = ", ".join(sorted({found.name for found in connector_types().values()}))
        raise Misconfigured(f"unknown issuer type; known types: {known}") from None


def config_from_environment(
    model: type[ConnectorConfig], environment: Mapping[str, str]
) -> dict[str, Any]:
    """The settings of a connector that the environment names: `<its prefix><FIELD>`, unparsed."""
    prefix = model.env_prefix
    return {
        field: environment[prefix + field.upper()]
        for field in model.model_fields
        if prefix + field.upper() in environment
    }
