"""What a certificate authority said, made fit to be shown: no secrets, one line, not too long."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Longest text that is shown of an answer, in characters.
MAX_SHOWN = 500

_LOOKED_AT = 8 * MAX_SHOWN
_MASK = "***"
# Separators and controls; `Cf` holds marks that turn the direction of what follows them.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def one_line(text: str) -> str:
    """The text without control characters, and with one space where there was white space."""
    visible = [
        character
        for character in text
        if character.isspace() or unicodedata.category(character) not in _INVISIBLE
    ]
    return " ".join("".join(visible).split())


class Redaction:
    """Takes an endpoint's secrets out of texts, however a server is likely to echo them."""

    __slots__ = ("_longest", "_pattern")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if form}
        # The longest first: a secret that begins like another one must not leave its rest.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._longest = len(ordered[0]) if ordered else 0
        self._pattern = (
            re.compile("|".join(re.escape(form) for form in ordered), re.IGNORECASE)
            if ordered
            else None
        )

    def __call__(self, text: str) -> str:
        """The text with `***` for every secret, on one line, of at most `MAX_SHOWN` characters."""
        # Cut before the slow part, and cleaned before the search: a control character inside an
        # echoed secret must not hide it.
        shown = one_line(text[:_LOOKED_AT])
        if self._pattern is not None:
            shown = self._pattern.sub(_MASK, shown)
            if len(text) > _LOOKED_AT:  # the cut may have left the beginning of a secret
                shown = shown[: max(0, len(shown) - self._longest)]
        return shown if len(shown) <= MAX_SHOWN else f"{shown[: MAX_SHOWN - 1]}…"


def _forms(secret: str) -> tuple[str, ...]:
    return (
        secret,
        one_line(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    )


#: For answers that no secret was sent for.
NO_SECRETS = Redaction()
