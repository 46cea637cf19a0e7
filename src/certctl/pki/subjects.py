"""Distinguished names (RFC 5280 §4.1.2.4), read from DER.

The library's Name warns on lengths that are refused here with words, and decodes every attribute.
"""

from __future__ import annotations

from typing import NamedTuple

from certctl.pki.der import element

COMMON_NAME = bytes.fromhex("550403")
ORGANIZATION = bytes.fromhex("55040a")
ORGANIZATIONAL_UNIT = bytes.fromhex("55040b")

# RFC 5280 §4.1.2.4 DirectoryString, and IA5String, which many tools write
_STRING_ENCODINGS = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x14: "latin-1",  # TeletexString, as every implementation reads it
    0x16: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}


class AttributeValue(NamedTuple):
    """The value of one attribute, as it is encoded."""

    tag: int
    value: bytes

    def text(self) -> str:
        """The text in it; ValueError where it is none."""
        encoding = _STRING_ENCODINGS.get(self.tag)
        if encoding is None:
            raise ValueError("not a string type of a distinguished name")
        return self.value.decode(encoding)


def attribute_values(der: bytes, at: int, attribute: bytes) -> list[AttributeValue]:
    """The values of an attribute (its OID's content octets) in the name at an offset, in order.

    Raises ValueError or IndexError where there is no name.
    """
    found = []
    at, name_end = element(der, at)
    while at < name_end:
        pair, set_end = element(der, at)
        while pair < set_end:
            inside, pair_end = element(der, pair)
            oid, oid_end = element(der, inside)
            if der[oid:oid_end] == attribute:
                found.append(AttributeValue(der[oid_end], der[slice(*element(der, oid_end))]))
            pair = pair_end
        at = set_end
    return found
