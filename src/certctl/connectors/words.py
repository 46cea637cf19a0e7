"""What a CA says about a failure, read from the usual shapes of an error's body.

Problem documents (RFC 9457, and RFC 7807 before it), OAuth's errors (RFC 6749 §5.2), and what the
JSON APIs of CAs have in common. Nothing is taken for granted: every value may be of any type.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from certctl.connectors.transport import Reply


class Words(NamedTuple):
    """What the CA said about a failure: its text, and its own error code."""

    detail: str
    code: str | None = None


_TEXTS = (
    "detail",
    "message",
    "error_message",
    "errorMessage",
    "error_description",
    "description",
    "msg",
    "reason",
    "title",
)
_CODES = ("code", "error_code", "errorCode")
_DEEPEST = 4
_MOST = 5  # of a list: nobody reads the twentieth
_MAX_TEXT_BYTES = 2_000


def usual_words(reply: Reply) -> Words | None:
    """The text and code of an error's body in one of the usual shapes, or None."""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return _plain(reply)
    return _of(value)


def _plain(reply: Reply) -> Words | None:
    # A page is not shown: it says little, and says it at length.
    if not reply.headers.get("content-type", "").lower().startswith("text/plain"):
        return None
    text = reply.body[:_MAX_TEXT_BYTES].decode("utf-8", "replace").strip()
    return Words(text) if text else None


def _of(value: Any, depth: int = 0) -> Words | None:
    if isinstance(value, str):
        return Words(value.strip()) if value.strip() else None
    if depth > _DEEPEST:
        return None
    if isinstance(value, list):
        return _joined([_of(item, depth + 1) for item in value[:_MOST]])
    if isinstance(value, dict):
        return _of_object(value, depth)
    return None


def _of_object(value: dict[str, Any], depth: int) -> Words | None:
    code = next((found for name in _CODES if (found := _code(value.get(name)))), None)
    text = next((found for name in _TEXTS if (found := _text(value.get(name)))), None)
    title = _text(value.get("title"))
    if title and text and title != text:
        text = f"{title}: {text}"
    kind = _text(value.get("type"))
    if code is None and kind and kind != "about:blank" and (title or text):
        code = kind
    error = value.get("error")
    if isinstance(error, str) and text:  # OAuth: a code, with its description beside it
        code, error = code or _text(error), None
    within = _joined([_of(error, depth + 1), _several(value.get("errors"), depth + 1)])
    return _joined([Words(text, code) if text else None, within], code)


def _several(value: Any, depth: int) -> Words | None:
    """A list of errors, or an object of them by the field at fault."""
    if not isinstance(value, dict) or any(name in value for name in (*_TEXTS, *_CODES)):
        return _of(value, depth)
    by_field = [(name, _of(item, depth + 1)) for name, item in list(value.items())[:_MOST]]
    return _joined(
        [found._replace(detail=f"{name}: {found.detail}") for name, found in by_field if found]
    )


def _joined(several: list[Words | None], code: str | None = None) -> Words | None:
    found = [words for words in several if words is not None]
    if not found:
        return None if code is None else Words("", code)
    details = dict.fromkeys(words.detail for words in found if words.detail)
    codes = (words.code for words in found if words.code)
    return Words("; ".join(details), code or next(codes, None))


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _code(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return _text(value)
