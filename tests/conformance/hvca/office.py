"""What both dialects have in common: orders, their certificates, and serials in an address."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from certctl.domain.serials import serial_hex
from tests.conformance.hvca.register import Order, Register, State, count
from tests.conformance.mischief import Mischief
from tests.conformance.stand_in.desk import Call, Desk, Parts
from tests.conformance.stand_in.spoiling import REFUSAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conformance.hvca.conduct import Conduct
    from tests.conformance.hvca.press import Press, Wanted

#: A serial is written with so many digits.
_SERIAL_DIGITS = 32
#: The reasons that are known here: fewer than RFC 5280 has, and no hold.
REASONS = frozenset(
    {
        "unspecified",
        "keyCompromise",
        "affiliationChanged",
        "cessationOfOperation",
        "superseded",
        "privilegeWithdrawn",
    }
)
_WRONG = frozenset({Mischief.WRONG_KEY, Mischief.WRONG_NAMES, Mischief.EXPIRED})


def padded(serial: int) -> str:
    """A serial as the stand-in writes it."""
    return f"{serial:0{_SERIAL_DIGITS}X}"


def read_serial(text: str) -> int | None:
    """A serial in hex, of either case and with any number of zeros before it."""
    try:
        return int(text, 16) if text.isalnum() else None
    except ValueError:
        return None


class Office(Desk):
    """A desk with a register of orders."""

    def __init__(self, parts: Parts, press: Press, conduct: Conduct) -> None:
        super().__init__(parts)
        self._press = press
        self._conduct = conduct
        self.register = Register(press)

    def mark_revoked(self, serial: str) -> None:
        """Have a certificate revoked by nobody's request; the serial in hex."""
        order = self.register.find(int(serial, 16), self._now())
        assert order is not None, "there is no such certificate"
        self.register.revoke(order, self._now())

    def behave(self) -> None:
        """Forget what an instruction has left behind."""

    def _now(self) -> float:
        """The machine's time: what is issued is judged by clients of the same machine."""
        return time.time()

    def _find(self, text: str) -> Order | None:
        """An order that is known by now: for a while after it was placed it is not."""
        serial, now = read_serial(text), self._now()
        order = None if serial is None else self.register.find(serial, now)
        if order is not None and now < order.created + self._conduct.not_found_seconds:
            return None
        return order

    def _exhausted(self) -> bool:
        return self._conduct.quota is not None and self._conduct.quota <= 0

    def _place(self, call: Call, wanted: Wanted, body: Mapping[str, Any]) -> Order:
        """Book an order."""
        now = self._now()
        if self._conduct.quota is not None:
            self._conduct.quota -= 1
        wrong = call.mischief if call.mischief in _WRONG else None
        order = self.register.book(wanted, now, now + self._conduct.seconds_for(body), wrong)
        call.note.booked = serial_hex(order.serial)
        call.note.reference = order.spki
        return order

    def _look(self, call: Call, order: Order) -> State:
        """What has become of an order, or what a mischief makes of it, for who asks about it."""
        match call.mischief:
            case Mischief.PENDING if order.state is not State.REFUSED:
                return State.IN_PROGRESS
            case Mischief.REFUSED:
                self.register.refuse(order, REFUSAL, self._now())
            case mischief if mischief in _WRONG and order.certificate is not None:
                self.register.issue(order, self._now(), mischief)
        if order.certificate is not None and not order.fetched:
            order.fetched = True
            call.note.issued = serial_hex(order.serial)
        return order.state

    def _revoked(self, call: Call, order: Order, reason: str) -> bool:
        """Revoke a certificate for who asks; False where there is none that could be."""
        call.note.reason = reason
        if not self.register.revoke(order, self._now()):
            return False
        call.note.revoked = serial_hex(order.serial)
        return True

    def _issued(self) -> int:
        return count(self.register.all(self._now()), State.ISSUED, State.REVOKED)

    def _revocations(self) -> int:
        return count(self.register.all(self._now()), State.REVOKED)
