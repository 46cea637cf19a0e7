"""The orders and certificates of the stand-in of HVCA, and what has become of them by now."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from certctl.pki.keys import spki_of
from tests.conformance.hvca.press import new_serial

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from tests.conformance.hvca.press import Press, Wanted
    from tests.conformance.mischief import Mischief


class State(StrEnum):
    """What has become of an order."""

    IN_PROGRESS = "in progress"
    ISSUED = "issued"
    REFUSED = "refused"
    REVOKED = "revoked"


@dataclass(slots=True)
class Order:
    """One certificate that was ordered. Times in seconds since 1970."""

    number: int
    serial: int
    wanted: Wanted
    #: Hex SHA-256 of the key's SubjectPublicKeyInfo.
    spki: str
    created: float
    #: When it is issued, unless it is refused before.
    ready: float
    state: State = State.IN_PROGRESS
    certificate: x509.Certificate | None = None
    updated: float = 0.0
    #: When it was revoked.
    revoked: float | None = None
    #: Why it was refused, and what is wrong with the certificate that will be issued.
    words: str = ""
    mischief: Mischief | None = None
    #: Whether somebody has fetched it.
    fetched: bool = False


def spki_hash(key: PublicKeyTypes) -> str:
    """What the books call a public key: hex SHA-256 of the DER of its SubjectPublicKeyInfo."""
    return hashlib.sha256(spki_of(key)).hexdigest()


class Register:
    """Every order by serial; safe to use from several threads."""

    def __init__(self, press: Press) -> None:
        self._press = press
        self._lock = threading.RLock()
        self._orders: dict[int, Order] = {}

    def book(self, wanted: Wanted, now: float, ready: float, mischief: Mischief | None) -> Order:
        """Take an order."""
        with self._lock:
            order = Order(
                number=len(self._orders) + 1,
                serial=new_serial(),
                wanted=wanted,
                spki=spki_hash(wanted.public_key),
                created=now,
                ready=ready,
                updated=now,
                mischief=mischief,
            )
            self._orders[order.serial] = order
            return order

    def find(self, serial: int, now: float) -> Order | None:
        """An order as it is now."""
        with self._lock:
            order = self._orders.get(serial)
            if order is not None:
                self._settle(order, now)
            return order

    def all(self, now: float) -> list[Order]:
        """Every order as it is now, the oldest first."""
        with self._lock:
            for order in self._orders.values():
                self._settle(order, now)
            return list(self._orders.values())

    def issue(self, order: Order, now: float, mischief: Mischief | None = None) -> None:
        """Issue a certificate, or another one in its place, with something wrong with it."""
        with self._lock:
            order.certificate = self._press.print(
                order.wanted, order.serial, int(now), mischief or order.mischief
            )
            if order.state is State.IN_PROGRESS:
                order.state = State.ISSUED
            order.updated = now

    def refuse(self, order: Order, words: str, now: float) -> None:
        """End an order without a certificate."""
        with self._lock:
            order.state, order.words, order.certificate = State.REFUSED, words, None
            order.updated = now

    def revoke(self, order: Order, now: float) -> bool:
        """Revoke a certificate; False where there is none that could be."""
        with self._lock:
            if order.state is not State.ISSUED:
                return False
            order.state, order.revoked, order.updated = State.REVOKED, now, now
            return True

    def _settle(self, order: Order, now: float) -> None:
        if order.state is State.IN_PROGRESS and now >= order.ready:
            self.issue(order, order.ready)


def count(orders: Iterable[Order], *states: State) -> int:
    """How many orders are in one of these states."""
    return sum(1 for order in orders if order.state in states)
