"""A certificate authority of our own, over real TLS, that keeps books and misbehaves when told.

`with stand_in() as ca:` runs it in a thread of this process, so that killing a certctl process does
not touch it. `service` says what it understands.
"""

from __future__ import annotations

from tests.conformance.stand_in.accounts import Account
from tests.conformance.stand_in.books import Books, Entry
from tests.conformance.stand_in.running import StandIn, stand_in

__all__ = ["Account", "Books", "Entry", "StandIn", "stand_in"]
