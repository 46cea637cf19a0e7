"""Valid input, damaged in the ways that parsers trip over; the same damage for the same chance."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certctl.pki.der import element
from tests.support.bad_csrs import tlv

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

# Tags and lengths at which DER changes its meaning.
_TELLING = bytes([0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x30, 0x31, 0x7F])
_TELLING += bytes([0x80, 0x81, 0x82, 0x84, 0x88, 0xA0, 0xA2, 0xFF])
_LONGEST = 32
_CONSTRUCTED = 0x20
_OCTET_STRING = 0x04
_STATM = Path("/proc/self/statm")


def mutate(chance: Random, data: bytes) -> bytes:
    """A copy with one to four changes: octets flipped, set, put in, taken out, doubled, cut off."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        data = chance.choice(_MUTATIONS)(chance, data)
    return data


def mutate_inside(chance: Random, der: bytes) -> bytes:
    """Changes within one element of DER, with all lengths around it put right.

    What `mutate` changes is mostly no DER any more, and looked at no further.
    """
    start, end = element(der, 0)
    inside = der[start:end]
    parts = _parts(inside) if der[0] & _CONSTRUCTED or der[0] == _OCTET_STRING else []
    if parts and chance.random() < 0.85:
        at = chance.randrange(len(parts))
        parts[at] = mutate_inside(chance, parts[at])
        return tlv(der[0], *parts)
    return tlv(der[0], mutate(chance, inside))


def _parts(inside: bytes) -> list[bytes]:
    """The elements that a value is made of; none where it is something else."""
    found = []
    at = 0
    while at < len(inside):
        try:
            _, end = element(inside, at)
        except (ValueError, IndexError):
            return []
        found.append(inside[at:end])
        at = end
    return found


def _flip(chance: Random, data: bytes) -> bytes:
    at = chance.randrange(len(data) or 1)
    bit = 1 << chance.randrange(8)
    return data[:at] + bytes(octet ^ bit for octet in data[at : at + 1]) + data[at + 1 :]


def _set(chance: Random, data: bytes) -> bytes:
    at = chance.randrange(len(data) or 1)
    return data[:at] + bytes([chance.choice(_TELLING)]) + data[at + 1 :]


def _step(chance: Random, data: bytes) -> bytes:
    """One more or less: a length that just does not fit."""
    at = chance.randrange(len(data) or 1)
    step = chance.choice((-1, 1))
    return data[:at] + bytes(octet + step & 0xFF for octet in data[at : at + 1]) + data[at + 1 :]


def _insert(chance: Random, data: bytes) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.randbytes(chance.randint(1, _LONGEST)) + data[at:]


def _delete(chance: Random, data: bytes) -> bytes:
    start, end = _slice(chance, data)
    return data[:start] + data[end:]


def _double(chance: Random, data: bytes) -> bytes:
    start, end = _slice(chance, data)
    return data[:end] + data[start:end] * chance.choice((1, 1, 2, 16)) + data[end:]


def _cut_off(chance: Random, data: bytes) -> bytes:
    return data[: chance.randint(0, len(data))]


def _slice(chance: Random, data: bytes) -> tuple[int, int]:
    start = chance.randint(0, len(data))
    return start, min(len(data), start + chance.randint(1, _LONGEST))


_MUTATIONS: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip,
    _set,
    _step,
    _insert,
    _delete,
    _double,
    _cut_off,
)


def resident_bytes() -> int:
    """How much memory this process holds, what libraries outside of Python hold included."""
    if not _STATM.exists():
        pytest.skip("memory is measured on Linux only")
    gc.collect()
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
