"""Labels in bodies.

They are checked as a whole, because pydantic names the key at fault, which is what was sent.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

MOST_LABELS = 50
LABELS = (
    "Texts by keys that you choose: at most 50. A key has 1 to 63 lower-case letters, digits, `.`, "
    "`_`, `-` and `/`, and begins and ends with a letter or digit; a text at most 256 printable "
    "characters"
)

_KEY = r"[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?"
_LONGEST_TEXT = 256


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()


def _check(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) > MOST_LABELS:
        raise ValueError(f"must be a JSON object of at most {MOST_LABELS} labels")
    if not all(isinstance(key, str) and re.fullmatch(_KEY, key) for key in value):
        raise ValueError(
            "a key has 1 to 63 lower-case letters, digits, '.', '_', '-' and '/', and begins and "
            "ends with a letter or digit"
        )
    return value


def _labels(value: Any) -> Any:
    if not all(_is_text(text) for text in _check(value).values()):
        raise ValueError(f"a label is text of at most {_LONGEST_TEXT} printable characters")
    return value


def _patch(value: Any) -> Any:
    if value is None:
        return None
    if not all(text is None or _is_text(text) for text in _check(value).values()):
        raise ValueError(f"a label is null, or text of at most {_LONGEST_TEXT} characters")
    return value


def _schema(text: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "maxProperties": MOST_LABELS,
        "propertyNames": {"pattern": f"^{_KEY}$"},
        "additionalProperties": text,
    }


_TEXT = {"type": "string", "maxLength": _LONGEST_TEXT}

Labels = Annotated[dict[str, str], BeforeValidator(_labels), WithJsonSchema(_schema(_TEXT))]
#: A merge patch of labels (RFC 7396): null takes one away, or all.
LabelsPatch = Annotated[
    dict[str, str | None] | None,
    BeforeValidator(_patch),
    WithJsonSchema({"anyOf": [_schema({"anyOf": [_TEXT, {"type": "null"}]}), {"type": "null"}]}),
]
