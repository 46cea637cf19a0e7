"""Labels: what people hang on a certificate, a text under each key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The most labels of one certificate.
MAX_LABELS = 50


def merge_labels(
    labels: Mapping[str, str], patch: Mapping[str, str | None] | None
) -> dict[str, str]:
    """Labels after a merge patch (RFC 7396): null takes one away, and in place of all, all.

    Raises InvalidInput where there are more than MAX_LABELS then.
    """
    if patch is None:
        return {}
    merged: dict[str, str | None] = {**labels, **patch}
    found = {key: value for key, value in sorted(merged.items()) if value is not None}
    if len(found) > MAX_LABELS:
        raise InvalidInput(
            "too-many-labels",
            f"a certificate may have at most {MAX_LABELS} labels",
            field="labels",
            hint="take some away, by null in place of their text",
        )
    return found
