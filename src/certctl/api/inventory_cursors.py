"""Cursors of the inventory: a place in one order, of what one filter finds."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from certctl.api.cursors import decode_cursor, encode_cursor, not_ours
from certctl.storage.inventory_walks import Place

if TYPE_CHECKING:
    from certctl.domain.inventory import InventoryFilter, InventorySort

_MOMENT = re.compile(r"-?[0-9]{1,18}\Z")
_NONE = "none"


def encode_place(place: Place, wanted: InventoryFilter, sort: InventorySort) -> str:
    """The cursor that starts after a place."""
    moment = _NONE if place.not_after is None else str(place.not_after)
    return encode_cursor(_mark(wanted, sort), place.id, moment if sort.by_not_after else _NONE)


def decode_place(cursor: str, wanted: InventoryFilter, sort: InventorySort) -> Place:
    """The place in a cursor; raises InvalidInput, also for one of another filter or order."""
    mark, which, moment = decode_cursor(cursor, str, str, str)
    if mark != _mark(wanted, sort):
        raise not_ours()
    if moment == _NONE:
        return Place(which, None)
    if not sort.by_not_after or _MOMENT.match(moment) is None:
        raise not_ours()
    return Place(which, int(moment))


def _mark(wanted: InventoryFilter, sort: InventorySort) -> str:
    """What tells one list from another. It need not be secret: a cursor reaches no other rows."""
    return hashlib.sha256(repr((wanted, sort.value)).encode()).hexdigest()[:16]
