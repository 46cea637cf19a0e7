"""The way of one request through a CA made for tests, whatever it understands.

It is read and let in, the script is asked what to go wrong, it is done or refused, the answer is
spoilt where the script says so, and everything is written down before it is sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certctl.domain.serials import serial_hex
from tests.conformance.stand_in.accounts import Doorkeeper, Presented
from tests.conformance.stand_in.books import Books, Entry
from tests.conformance.stand_in.hierarchy import now_ms
from tests.conformance.stand_in.messages import Answered
from tests.conformance.stand_in.script import Script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.mischief import Mischief, Operation
    from tests.conformance.stand_in.messages import Answer, Request
    from tests.conformance.stand_in.script import Misbehaviour


@dataclass(frozen=True, slots=True)
class Parts:
    """What a CA and whoever directs it share, from several threads."""

    books: Books
    script: Script
    doorkeeper: Doorkeeper

    @classmethod
    def new(cls, journal: Path | None = None) -> Parts:
        """Empty books (with a journal on disk), no instructions, no accounts."""
        return cls(Books(journal), Script(), Doorkeeper())


@dataclass(slots=True)
class Note:
    """What becomes an entry in the books."""

    reference: str | None = None
    idempotency_key: str | None = None
    booked: str | None = None
    issued: str | None = None
    revoked: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by what came with the request."""

    presented: Presented
    api_key: str | None = None
    #: Whose login the token came from; None without a token, or with one that is not ours.
    token_generation: int | None = None


@dataclass(slots=True)
class Call:
    """One request while it is answered: what is asked (None: nothing that goes wrong), of what."""

    request: Request
    operation: Operation | None
    subject: str
    caller: Caller
    note: Note = field(default_factory=Note)
    mischief: Mischief | None = None


class Desk(ABC):
    """A CA's mind. One thread uses it; books, script and accounts are shared."""

    def __init__(self, parts: Parts) -> None:
        self._books = parts.books
        self._script = parts.script
        self._doorkeeper = parts.doorkeeper

    def answer(self, request: Request) -> Answer:
        """Do what is asked, or what the script says instead, and write it down."""
        call = self._read(request)
        misbehaviour: Misbehaviour | None = None
        try:
            self._let_in(call)
            if call.operation is not None:
                misbehaviour = self._script.next_for(call.operation)
            call.mischief = None if misbehaviour is None else misbehaviour.mischief
            answer = self._do(call)
        except Answered as answered:
            answer = answered.answer
        if misbehaviour is not None:
            answer = self._spoil(misbehaviour, call, answer)
        self._write(call, answer)
        return answer

    @abstractmethod
    def mark_revoked(self, serial: str) -> None:
        """Have a certificate revoked by nobody's request; the serial in hex."""

    @abstractmethod
    def _read(self, request: Request) -> Call:
        """What is asked, by whom."""

    @abstractmethod
    def _let_in(self, call: Call) -> None:
        """Raise Answered for whoever may not ask, and for what there is not."""

    @abstractmethod
    def _do(self, call: Call) -> Answer:
        """Do it, or its mischief; what happened is written to `call.note`."""

    @abstractmethod
    def _spoil(self, misbehaviour: Misbehaviour, call: Call, answer: Answer) -> Answer:
        """The answer that is sent instead, to what has happened."""

    def _write(self, call: Call, answer: Answer) -> None:
        serial, caller, note = call.request.client_serial, call.caller, call.note
        self._books.append(
            lambda number: Entry(
                number=number,
                at_ms=now_ms(),
                operation=call.operation,
                client_serial=None if serial is None else serial_hex(serial),
                api_key=caller.api_key,
                key_generation=caller.presented.key_generation,
                secret_generation=caller.presented.secret_generation,
                token_generation=caller.token_generation,
                mixed=caller.presented.is_mixed,
                reference=note.reference,
                idempotency_key=note.idempotency_key,
                mischief=call.mischief,
                booked=note.booked,
                issued=note.issued,
                revoked=note.revoked,
                reason=note.reason,
                status=None if answer.reset else answer.status,
            )
        )
