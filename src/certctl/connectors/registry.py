"""Which types of certificate authority there are, by name and alias.

A connector is a module or a folder of this package with a `ConnectorType` named `CONNECTOR`, or an
entry point of the group `certctl.connectors` of an installed package, which names one. What another
package brings and cannot be used is left out, with a line in the log: the server starts without it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import structlog

from certctl import connectors
from certctl.connectors.config import ConnectorConfig
from certctl.connectors.contract import ConnectorType
from certctl.connectors.errors import Misconfigured
from certctl.connectors.external import EXTERNAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = structlog.get_logger(__name__)

ENTRY_POINTS = "certctl.connectors"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_ISSUER_ID = re.compile(r"iss-[a-z0-9-]{1,76}")
_ENV_PREFIX = re.compile(r"[A-Z][A-Z0-9_]*_")
_TITLE = re.compile(r".{1,100}")
_UNIONS = (Union, UnionType)


class _Unusable(Exception):
    """A connector of another package cannot be used; the words say why."""


@cache
def all_connector_types() -> tuple[ConnectorType, ...]:
    """Every connector type that issuers can be made of, by name.

    Connectors' own libraries are imported by their factories, so that naming a type stays cheap.
    """
    found: list[ConnectorType] = []
    for module in iter_modules(connectors.__path__, f"{connectors.__name__}."):
        built_in: ConnectorType | None = getattr(import_module(module.name), "CONNECTOR", None)
        if built_in is not None:
            found.append(built_in)
    # In one order everywhere: of two that clash, every process takes the same one.
    for entry_point in sorted(entry_points(group=ENTRY_POINTS), key=lambda e: (e.name, e.value)):
        try:
            third_party = _checked(entry_point.load())
            _check_no_clash(third_party, (*found, EXTERNAL))
        except _Unusable as error:
            log.error("connector left out", entry_point=entry_point.value, problem=str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code that is not ours may do anything
            problem = f"cannot be used: {type(error).__name__}: {error}"
            log.error("connector left out", entry_point=entry_point.value, problem=problem)
        else:
            found.append(third_party)
    return tuple(sorted(found, key=lambda kind: kind.name))


def _checked(found: Any) -> ConnectorType:
    """What an entry point named, once it is sure to be what it says it is."""
    if not isinstance(found, ConnectorType):
        raise _Unusable("is not a certctl.connectors.contract.ConnectorType")
    model: Any = found.config
    if not all(_fits(_NAME, name) for name in (found.name, *found.aliases)):
        raise _Unusable("its name or an alias is not 1 to 40 letters, digits, '.', '_' and '-'")
    if not _fits(_ISSUER_ID, found.issuer_id):
        raise _Unusable("its issuer_id is not `iss-` and lower-case letters, digits and '-'")
    if not _fits(_TITLE, found.title):
        raise _Unusable("its title is not 1 to 100 characters in one line")
    if not (isinstance(model, type) and issubclass(model, ConnectorConfig)):
        raise _Unusable("its config is not a subclass of ConnectorConfig")
    if not _fits(_ENV_PREFIX, getattr(model, "env_prefix", None)):
        raise _Unusable("its env_prefix is not upper-case, or does not end with '_'")
    if not callable(found.factory):
        raise _Unusable("its factory cannot be called")
    model.model_json_schema()
    return found


def _fits(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _check_no_clash(kind: ConnectorType, others: Iterable[ConnectorType]) -> None:
    """Nothing that stands for one connector may stand for another, in whatever case."""
    names = _names(kind)
    variables = environment_names(kind.config)
    for other in others:
        if shared := names & _names(other):
            raise _Unusable(f"{other.name} has the name or alias {min(shared)} already")
        if kind.issuer_id == other.issuer_id:
            raise _Unusable(f"{other.name} has the issuer id {kind.issuer_id} already")
        if kind.config.env_prefix == other.config.env_prefix:
            raise _Unusable(f"{other.name} has the env_prefix {kind.config.env_prefix} already")
        if both := variables & environment_names(other.config):
            raise _Unusable(f"{other.name} has the environment variable {min(both)} already")


def _names(kind: ConnectorType) -> set[str]:
    return {name.lower() for name in (kind.name, *kind.aliases)}


@cache
def connector_types() -> dict[str, ConnectorType]:
    """Every connector type by its name and its aliases, lower-cased; that of imports among them."""
    return {name: kind for kind in (*all_connector_types(), EXTERNAL) for name in _names(kind)}


def connector_type(name: str) -> ConnectorType:
    """The type of that name or alias, whatever its case; raises Misconfigured if there is none."""
    try:
        return connector_types()[name.lower()]
    except KeyError:
        known = ", ".join(kind.name for kind in all_connector_types())
        raise Misconfigured(f"unknown issuer type; known types: {known}") from None


def environment_names(model: type[ConnectorConfig]) -> set[str]:
    """The environment variables of a connector's settings: exactly these, and no others."""
    return {model.env_prefix + field.upper() for field in model.model_fields}


def config_from_environment(
    model: type[ConnectorConfig], environment: Mapping[str, str]
) -> dict[str, Any]:
    """The settings of a connector that the environment names: `<its prefix><FIELD>`, unparsed.

    An empty variable counts as unset. A list's items stand between commas; a mapping is JSON.
    """
    found = {}
    for field, info in model.model_fields.items():
        text = environment.get(model.env_prefix + field.upper(), "")
        if text:
            found[field] = _untangle(info.annotation, text)
    return found


def _untangle(annotation: Any, text: str) -> Any:
    parts = get_args(annotation) if get_origin(annotation) in _UNIONS else (annotation,)
    kinds = {get_origin(part) or part for part in parts}
    if kinds & {list, tuple, set, frozenset}:
        return [item.strip() for item in text.split(",") if item.strip()]
    if dict in kinds:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text  # the model says what is wrong with it
    return text
