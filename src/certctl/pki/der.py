"""As much DER (X.690) as it takes to find a value inside a structure that was parsed already."""

from __future__ import annotations

SEQUENCE = 0x30


def element(der: bytes, at: int) -> tuple[int, int]:
    """Where the value of the element at an offset starts and ends, in bytes from the beginning.

    One-byte tags and definite lengths only. Raises ValueError or IndexError when there is no such
    element, or when it would reach beyond the data.
    """
    length = der[at + 1]
    start = at + 2
    if length >= 0x80:  # noqa: PLR2004 - X.690 §8.1.3.5, the long form
        octets = length & 0x7F
        start += octets
        # Four octets count 4 GiB; none at all is BER's indefinite form.
        if not 1 <= octets <= 4:  # noqa: PLR2004
            raise ValueError("not the length of a DER element")
        length = int.from_bytes(der[start - octets : start])
    end = start + length
    if end > len(der):
        raise ValueError("the element reaches beyond the data")
    return start, end
