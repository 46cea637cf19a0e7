"""Labels as the text of a column; null is none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def encode_labels(labels: Mapping[str, str]) -> str | None:
    """Labels as JSON, in the order of their keys."""
    return json.dumps(labels, sort_keys=True) if labels else None


def decode_labels(text: str | None) -> dict[str, str]:
    """The labels in a column."""
    if text is None:
        return {}
    labels: dict[str, str] = json.loads(text)
    return labels
