"""Answers that came when another process had the order: a CA is never answered with a shrug.

A process that was stopped for longer than its lease wakes up with an answer in its hand, and its
order has gone on without it. What the answer says is still true. Where nothing was done instead,
the order takes it. Where the CA was asked a second time meanwhile, it has two orders: that is
recorded, told, and the certificate that is too many is kept and revoked. Where the answer to the
first was lost, it may have two: that is recorded and told.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

import structlog

from certctl.connectors.contract import IssuedCertificate, Pending
from certctl.domain.audit import AuditEvent
from certctl.domain.events import Event, EventKind
from certctl.domain.ids import new_id
from certctl.domain.orders import OPEN_STATES, OrderState, Recovery, may_follow
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.keeping import keep_newest, keep_spare
from certctl.lifecycle.outcomes import Doubt, Outcome
from certctl.lifecycle.results import apply, audit_of, order_event
from certctl.storage.certificates import mark_failed
from certctl.storage.leases import TakenOver
from certctl.storage.orders import (
    AttemptRecord,
    OrderRecord,
    add_attempt,
    list_attempts,
    lock_order,
    take_order,
)
from certctl.storage.versions import version_of_serial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.domain.clock import Clock
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.events import Events
    from certctl.lifecycle.results import StepResult
    from certctl.storage.database import Database, Transaction

log = structlog.get_logger(__name__)

S = OrderState


class Verdict(Enum):
    """What a late answer is to its order."""

    KNOWN = auto()  # it says what the order knows, or nothing that would change it
    TAKEN = auto()  # the order goes on with it
    DOUBLED = auto()  # the CA has made another one beside it


@dataclass(frozen=True, slots=True)
class Present:
    """How the order stands when an answer comes late.

    `sent_again` says that another process has sent it since and heard something, or nothing;
    `is_on_its_way` that another may be sending it now; `was_found` that it is pending because a
    look-up found it, `is_looked_for` that it is open whether the CA has it, `is_kept` that the
    answer's certificate is kept already.
    """

    state: OrderState
    sent_again: bool
    is_on_its_way: bool
    same_reference: bool
    was_found: bool
    is_looked_for: bool
    is_kept: bool

    @property
    def same_submission(self) -> bool:
        """Whether nobody has sent it since, as far as anybody knows."""
        return not (self.sent_again or self.is_on_its_way)


def judge(result: StepResult, recovery: Recovery, present: Present) -> Verdict:
    """Decide about a late answer, purely."""
    if result.version is None and not isinstance(result.answer, Pending):
        return _judge_failure(result, recovery, present)
    if present.is_kept or result.decision.state is S.EXPIRED:
        return Verdict.KNOWN
    same = (
        recovery in {Recovery.IDEMPOTENT, Recovery.INTERNAL}
        or present.same_reference
        or result.action != "submit"
    )
    match present.state:
        case S.READY | S.UNCERTAIN:
            # Whoever sends an order marks it before, under the epoch that is taken from him here.
            verdict = Verdict.TAKEN
        case S.SUBMITTING:
            is_looked_for = recovery is Recovery.LOOKUP and present.is_looked_for
            same = same or present.same_submission or is_looked_for
            verdict = Verdict.TAKEN if same else Verdict.DOUBLED
        case S.PENDING if same or present.was_found:
            verdict = Verdict.KNOWN if result.version is None else Verdict.TAKEN
        case S.PENDING:
            verdict = Verdict.DOUBLED
        case _:
            # A closed order takes nothing more: a certificate is one too many, and so is an order
            # at the CA that is not the one it was closed with.
            verdict = Verdict.KNOWN if result.version is None and same else Verdict.DOUBLED
    return verdict


def _judge_failure(result: StepResult, recovery: Recovery, present: Present) -> Verdict:
    """A no, or "nothing happened", settles an order of which nobody knew that.

    After a lost answer, an order that waits to be sent again is looked for first.
    """
    if result.action != "submit":
        return Verdict.KNOWN
    settles = result.decision.state in {S.READY, S.REJECTED}
    if present.state is S.UNCERTAIN and present.same_submission and settles:
        return Verdict.TAKEN
    if _is_lost(result, recovery) and present.state is S.READY and present.same_submission:
        return Verdict.TAKEN
    return Verdict.KNOWN


def may_be_two(result: StepResult, recovery: Recovery, present: Present) -> bool:
    """Whether the CA may have a second order of which nobody will hear, purely.

    One of two answers was lost: the late one, or that to what was sent since and is looked for.
    Where repeating is how a lost answer is recovered, that is so after each one.
    """
    if result.action != "submit":
        return False
    if _is_lost(result, recovery):
        is_on_its_way = present.is_on_its_way and not present.is_looked_for
        return present.sent_again or is_on_its_way
    came = result.answer is not None and recovery is Recovery.LOOKUP
    return came and present.state is S.SUBMITTING and present.is_looked_for and present.sent_again


def _is_lost(result: StepResult, recovery: Recovery) -> bool:
    return result.decision.doubt is Doubt.BEGINS and recovery in {Recovery.LOOKUP, Recovery.ASK}


@dataclass(frozen=True, slots=True)
class LateAnswers:
    """Stores late answers."""

    database: Database
    catalog: Catalog
    clock: Clock
    events: Events

    async def take(self, mine: OrderRecord, result: StepResult, recovery: Recovery) -> OrderRecord:
        """The order, if it goes on with an answer to what this process asked as `mine`.

        Raises TakenOver where it does not: then only its history has grown, or what the CA doubled
        was recorded.
        """

        def write(transaction: Transaction) -> tuple[OrderRecord | None, Event | None]:
            return self._take(transaction, mine, result, recovery)

        taken, event = await self.database.write(write)
        if event is not None:
            self.events.announce(event)
        if taken is None:
            log.warning("late answer", order=mine.id, outcome=result.outcome.value)
            raise TakenOver
        log.warning("late answer taken", order=taken.id, state=taken.state.value)
        return taken

    def _take(
        self,
        transaction: Transaction,
        mine: OrderRecord,
        result: StepResult,
        recovery: Recovery,
    ) -> tuple[OrderRecord | None, Event | None]:
        now = self.clock.now_ms()
        order = lock_order(transaction, mine.id)
        if order is None:
            return None, None
        history = list_attempts(transaction.connection, order.id)
        present = self._present(transaction, order, mine, result, history)
        verdict = judge(result, recovery, present)
        if verdict is Verdict.DOUBLED:
            return None, self._double(transaction, order, result, now)
        taken = None
        if verdict is Verdict.TAKEN:
            taken = self._go_on(transaction, order, result, now)
        if may_be_two(result, recovery, present):
            return taken, self._perhaps_double(transaction, order, result, now)
        if taken is None:
            words = f"{result.outcome.value}: {result.detail or 'nothing new'}"
            add_attempt(transaction, order.id, _attempt(result, Outcome.LATE, words))
        return taken, None

    def _present(
        self,
        transaction: Transaction,
        order: OrderRecord,
        mine: OrderRecord,
        result: StepResult,
        history: Sequence[AttemptRecord],
    ) -> Present:
        kept = None
        if result.version is not None:
            serial = result.version.serial
            kept = version_of_serial(transaction.connection, order.issuer_id, serial)
        asked = [a for a in history if a.action != "poll" and a.outcome != Outcome.LATE]
        sent_again = any(
            a.started_at >= result.started_at and a.outcome != Outcome.LOST
            for a in asked
            if a.action in {"submit", "resolve"}
        )
        is_on_its_way = order.state is S.SUBMITTING and order.updated_at != mine.updated_at
        answer = result.answer
        return Present(
            state=order.state,
            sent_again=sent_again,
            is_on_its_way=is_on_its_way,
            same_reference=answer is not None
            and bool(answer.reference)
            and answer.reference == order.reference,
            was_found=bool(asked) and asked[-1].action == "lookup",
            is_looked_for=order.unknown_since is not None,
            is_kept=kept is not None,
        )

    def _go_on(
        self, transaction: Transaction, order: OrderRecord, result: StepResult, now_ms: int
    ) -> OrderRecord:
        after = apply(order, result, now_ms)
        # What was ready was sent all the same, so it goes where a submission leads to.
        before = S.SUBMITTING if order.state is S.READY else order.state
        if before is not after.state and not may_follow(before, after.state):
            raise AssertionError(f"an order cannot go from {before} to {after.state}")
        take_order(transaction, after)
        words = f"{result.outcome.value}: {result.detail or 'the order goes on with it'}"
        add_attempt(transaction, order.id, _attempt(result, Outcome.LATE, words))
        if result.version is not None:
            keep_newest(
                transaction, self.catalog.connector(order.issuer_id), result.version, now_ms
            )
        elif after.state not in OPEN_STATES:
            mark_failed(transaction, order.certificate_id, now_ms)
        if after.state is not before:
            transaction.audit(audit_of(after, result.version))
        return replace(after, epoch=order.epoch + 1)

    def _double(
        self, transaction: Transaction, order: OrderRecord, result: StepResult, now_ms: int
    ) -> Event:
        """Record what the CA made beside the order, and have it revoked where that is possible."""
        version = result.version
        detail = {"order_id": order.id, "issuer_id": order.issuer_id}
        if isinstance(result.answer, IssuedCertificate) and version is not None:
            detail["serial"] = version.serial
            spare = replace(version, id=new_id("ver", now_ms))
            keep_spare(transaction, self.catalog.connector(order.issuer_id), spare, now_ms)
            which = "a second certificate"
            if order.state not in OPEN_STATES and order.version_id is None:
                which = f"a certificate for an order that is {order.state.value}"
            words = (
                f"the CA made {which}, serial {version.serial}: it is kept as another version, and "
                "revoked"
            )
        else:
            reference = {} if result.answer is None else result.answer.reference
            detail["reference"] = json.dumps(reference)
            words = f"the CA has a second order, which it calls {json.dumps(reference)}"
        add_attempt(transaction, order.id, _attempt(result, Outcome.DOUBLED, words))
        return self._tell(transaction, order, detail, words, now_ms)

    def _perhaps_double(
        self, transaction: Transaction, order: OrderRecord, result: StepResult, now_ms: int
    ) -> Event:
        """Record that the CA may have a second order, for a person to look for."""
        said = f"{result.outcome.value}: {result.detail or 'the order goes on with it'}"
        words = f"the order was sent twice, and one answer was lost: the CA may have two ({said})"
        add_attempt(transaction, order.id, _attempt(result, Outcome.PERHAPS_DOUBLED, words))
        detail = {"order_id": order.id, "issuer_id": order.issuer_id, "certain": "no"}
        return self._tell(transaction, order, detail, words, now_ms)

    def _tell(
        self,
        transaction: Transaction,
        order: OrderRecord,
        detail: dict[str, str],
        words: str,
        now_ms: int,
    ) -> Event:
        transaction.audit(
            AuditEvent(
                at_ms=now_ms,
                actor=SYSTEM.id,
                action="order.doubled",
                object_type="certificate",
                object_id=order.certificate_id,
                detail=detail,
            )
        )
        event = order_event(EventKind.ORDER_DOUBLED, replace(order, updated_at=now_ms), words)
        self.events.record(transaction, event)
        return event


def _attempt(result: StepResult, outcome: Outcome, words: str) -> AttemptRecord:
    return replace(result.attempt(), outcome=outcome.value, detail=words)
