"""Settings of an issuer: taken from a request, compared, and shown without their secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from certctl.connectors.config import MASK, describe_faults, find_faults, hide
from certctl.domain.audit import changes
from certctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certctl.connectors.contract import ConnectorType
    from certctl.storage.issuers import IssuerRecord

_ABSENT = object()


class Settings(NamedTuple):
    """What is stored of a connector's settings: those that may be shown, and the secrets."""

    config: dict[str, Any]
    secrets: dict[str, Any]


def accept_settings(
    kind: ConnectorType, given: Mapping[str, Any], stored: Mapping[str, Any]
) -> Settings:
    """Settings from a request. A secret that is left out or masked is the stored one.

    Raises InvalidInput for settings that the connector's model does not take; its words repeat
    nothing of what was given.
    """
    model = kind.config
    merged = dict(given)
    for name in model.secret_fields():
        if merged.get(name, MASK) == MASK:
            merged.pop(name, None)
            if name in stored:
                merged[name] = stored[name]
    try:
        return Settings(*model.model_validate(merged).parts())
    except ValidationError as error:
        faults = find_faults(model, error)
        texts = [value for value in merged.values() if isinstance(value, str)]
        setting = faults[0].setting
        raise InvalidInput(
            "issuer-settings-invalid",
            hide(describe_faults(faults), texts),
            field="config" if setting is None else f"config.{setting}",
            hint="GET /api/v1/issuers/types says which settings there are",
        ) from None


def shown_settings(kind: ConnectorType | None, record: IssuerRecord) -> dict[str, Any]:
    """The stored settings with a mask in place of each secret.

    Nothing of an unknown type's: nobody can tell any more which of them are secret.
    """
    if kind is None:
        return {}
    secret = set(kind.config.secret_fields()) | set(record.secrets)
    settings = {**record.config, **record.secrets}
    return {
        name: MASK if name in secret else value
        for name, value in settings.items()
        if name in secret or name in kind.config.model_fields
    }


def changed_settings(before: IssuerRecord, after: IssuerRecord) -> list[str]:
    """The names of the settings that differ, secrets among them."""
    one = {**before.config, **before.secrets}
    other = {**after.config, **after.secrets}
    return sorted(
        name
        for name in one.keys() | other.keys()
        if one.get(name, _ABSENT) != other.get(name, _ABSENT)
    )


def issuer_changes(before: IssuerRecord | None, after: IssuerRecord) -> dict[str, Any]:
    """What differs, for the detail of an audit event, in the words of the API; None: it is new."""
    told = {} if before is None else _fields(before)
    secrets = after.secrets.keys() | (set() if before is None else before.secrets.keys())
    return changes(told, _fields(after), secrets={f"config.{name}" for name in secrets})


def _fields(record: IssuerRecord) -> dict[str, Any]:
    settings = {**record.config, **record.secrets}
    found = {
        "name": record.name,
        "type": record.type,
        "source": record.source,
        "enabled": record.enabled,
        "archived": record.archived_at is not None or None,
        "limits.max_concurrency": record.max_concurrency,
        "limits.max_calls_per_minute": record.max_calls_per_minute,
        **{f"config.{name}": value for name, value in settings.items()},
    }
    return {name: value for name, value in found.items() if value is not None}
