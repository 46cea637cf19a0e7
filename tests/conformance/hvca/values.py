"""Values of the types that a policy names, in DER (X.690)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.hvca.policy import Findings

_STRINGS = {
    "IA5STRING": (0x16, "ascii"),
    "PRINTABLESTRING": (0x13, "ascii"),
    "UTF8STRING": (0x0C, "utf-8"),
}
_NULL = bytes.fromhex("0500")
_INTEGER = 0x02
_SHORT = 0x80


def encode(findings: Findings, field: str, kind: str, text: str) -> bytes | None:
    """DER of a value that came as text; notes at `field` what is no value of that type."""
    try:
        match kind:
            case "DER":
                return bytes.fromhex(text)
            case "NIL":
                return _NULL
            case "INTEGER":
                number = int(text)
                raw = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
                return _element(_INTEGER, raw)
            case _:
                tag, encoding = _STRINGS[kind]
                return _element(tag, text.encode(encoding))
    except ValueError:
        findings.add(field, f"is no value of type {kind}")
        return None


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < _SHORT:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, _SHORT | len(length)]) + length + content
