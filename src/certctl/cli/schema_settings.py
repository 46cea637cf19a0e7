"""Settings read from a JSON schema: what each takes, and its value as somebody writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from certctl.domain.errors import InvalidInput

_YES = frozenset({"true", "yes", "y", "on", "1"})
_NO = frozenset({"false", "no", "n", "off", "0"})
#: So many references and alternatives within each other are followed.
_DEEPEST = 8


class Kind(StrEnum):
    """What a setting takes, as JSON Schema calls it; `ANY` is written as JSON."""

    TEXT = "string"
    INTEGER = "integer"
    NUMBER = "number"
    YES_NO = "boolean"
    LIST = "array"
    OBJECT = "object"
    ANY = "any"


_WORDS = {
    Kind.TEXT: "text",
    Kind.INTEGER: "whole number",
    Kind.NUMBER: "number",
    Kind.YES_NO: "true or false",
    Kind.LIST: "list, with commas",
    Kind.OBJECT: "JSON object",
    Kind.ANY: "JSON",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `bounds` are its least and greatest value, `items` is what a list is made of,
    one of `item_choices` where there are some; `path` is where it stands in a body."""

    name: str
    variable: str
    path: str
    kind: Kind
    description: str
    required: bool
    secret: bool
    default: Any = None
    choices: tuple[Any, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    items: Kind = Kind.TEXT
    item_choices: tuple[Any, ...] = ()

    @property
    def takes(self) -> str:
        """What it takes, in a few words."""
        if self.secret:
            return "secret"
        if self.choices:
            return " or ".join(map(_written, self.choices))
        if self.item_choices:
            return f"list of {', '.join(map(_written, self.item_choices))}"
        least, greatest = self.bounds
        limits = ""
        if least is not None and greatest is not None:
            limits = f", {least:g} to {greatest:g}"
        elif least is not None:
            limits = f", {least:g} or more"
        elif greatest is not None:
            limits = f", at most {greatest:g}"
        return _WORDS[self.kind] + limits

    @property
    def default_text(self) -> str:
        """Its default as `read` takes it; empty where there is none."""
        if self.default in (None, "", [], {}):
            return ""
        if isinstance(self.default, list):
            return self._list_text(self.default)
        return _written(self.default)

    def _list_text(self, items: list[Any]) -> str:
        """With commas where that is read as the same list, else as JSON."""
        text = ",".join(map(_written, items))
        try:
            is_same = self._list(text) == items
        except InvalidInput:
            is_same = False
        return text if is_same else json.dumps(items)

    def read(self, text: str) -> Any:
        """The value that was written. Raises InvalidInput, which does not repeat it."""
        if self.choices:
            return self._choice(self.choices, text.strip())
        if self.kind is Kind.LIST:
            return self._list(text)
        return self._scalar(self.kind, text)

    def _choice(self, choices: tuple[Any, ...], text: str) -> Any:
        for choice in choices:
            if _written(choice).lower() == text.lower():
                return choice
        raise self.wrong(f"takes one of: {', '.join(map(_written, choices))}")

    def _list(self, text: str) -> list[Any]:
        if text.lstrip().startswith("["):
            read = self._json(text)
            if isinstance(read, list):
                return read
        parts = [part.strip() for part in text.split(",")]
        if self.item_choices:
            return [self._choice(self.item_choices, part) for part in parts if part]
        return [self._scalar(self.items, part) for part in parts if part]

    def _scalar(self, kind: Kind, text: str) -> Any:
        match kind:
            case Kind.TEXT:
                return text
            case Kind.YES_NO:
                word = text.strip().lower()
                if word in _YES | _NO:
                    return word in _YES
                raise self.wrong("takes true or false")
            case Kind.INTEGER:
                return self._number(int, text, "takes a whole number")
            case Kind.NUMBER:
                return self._number(float, text, "takes a number")
            case Kind.OBJECT:
                read = self._json(text)
                if isinstance(read, dict):
                    return read
                raise self.wrong('takes a JSON object, as {"name": "value"}')
            case _:
                return self._json(text)

    def _number(self, make: type[int] | type[float], text: str, words: str) -> float:
        try:
            return make(text.strip())
        except ValueError:
            raise self.wrong(words) from None

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self.wrong("takes JSON") from None

    def wrong(self, words: str) -> InvalidInput:
        """An error about this setting."""
        return InvalidInput("invalid-setting", f"{self.name} {words}", field=self.path)


def settings_in(
    schema: dict[str, Any], *, env_prefix: str = "", within: str = ""
) -> tuple[Setting, ...]:
    """The settings of a schema, required ones first, otherwise in its order.

    `env_prefix` is what their environment variables begin with, `within` the field of a body that
    they stand in.
    """
    required = frozenset(schema.get("required", ()))
    found = [
        _setting(schema, name, name in required, env_prefix, within)
        for name in schema.get("properties", {})
        if isinstance(schema["properties"][name], dict)
    ]
    return tuple(sorted(found, key=lambda setting: not setting.required))


def _setting(
    schema: dict[str, Any], name: str, required: bool, env_prefix: str, within: str
) -> Setting:
    outer = schema["properties"][name]
    parts = _parts(outer, schema)
    # Where a setting takes several kinds of values, text is what can be written down for it.
    inner = next((part for part in parts if part.get("type") == "string"), parts[0])
    items = _parts(inner["items"], schema) if isinstance(inner.get("items"), dict) else []
    return Setting(
        name=name,
        variable=env_prefix + name.upper(),
        path=f"{within}.{name}" if within else name,
        kind=_kind(inner),
        description=outer.get("description") or inner.get("description") or "",
        required=required,
        secret=any(part.get("writeOnly") is True for part in (outer, *parts, *items)),
        default=outer.get("default"),
        choices=_choices(parts),
        bounds=(inner.get("minimum"), inner.get("maximum")),
        items=_kind(items[0]) if items else Kind.TEXT,
        item_choices=_choices(items),
    )


def _choices(parts: list[dict[str, Any]]) -> tuple[Any, ...]:
    return tuple(
        choice
        for part in parts
        for choice in ([part["const"]] if "const" in part else part.get("enum", ()))
    )


def _written(value: Any) -> str:
    """A value as `Setting.read` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _kind(schema: dict[str, Any]) -> Kind:
    try:
        return Kind(schema.get("type", "any"))
    except ValueError:
        return Kind.ANY


def _parts(schema: dict[str, Any], root: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """What a schema allows: itself, or each of its alternatives but null, without references."""
    if depth > _DEEPEST:
        return [{}]
    if isinstance(reference := schema.get("$ref"), str):
        target: Any = root
        for step in reference.removeprefix("#/").split("/"):
            target = target.get(step, {}) if isinstance(target, dict) else {}
        return _parts(target, root, depth + 1) if isinstance(target, dict) else [{}]
    alternatives = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if not alternatives:
        return [schema]
    parts = [part for each in alternatives for part in _parts(each, root, depth + 1)]
    return [part for part in parts if part.get("type") != "null"] or [{}]
