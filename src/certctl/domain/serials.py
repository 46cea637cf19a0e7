"""Serial numbers: shown as lower-case hex without separators or leading zeros."""

from __future__ import annotations

from certctl.domain.randomness import random_int


def new_serial() -> int:
    """Return a positive random serial of at most 159 bits.

    RFC 5280 §4.1.2.2 allows 20 octets; the top bit of a DER integer is its sign, so 159 random bits
    are the most that fit. CA/B Forum BR §7.1 asks for at least 64.
    """
    while True:
        serial = random_int(20) >> 1
        if serial >> 64:  # never a short one, so that length alone says nothing
            return serial


def serial_hex(serial: int) -> str:
    """The one written form of a serial, everywhere."""
    return f"{serial:x}"
