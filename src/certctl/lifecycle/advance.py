"""`advance`: one idempotent step of one order, fenced by the epoch it was claimed under."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from certctl.connectors.contract import (
    IssuedCertificate,
    ListsLate,
    Lookup,
    Pending,
    Polls,
    RecoversFor,
    Renews,
)
from certctl.connectors.errors import BadAnswer, IssuerError, Refused
from certctl.domain.errors import NotFound
from certctl.domain.orders import OPEN_STATES, OrderState, Recovery
from certctl.domain.serials import serial_hex
from certctl.lifecycle import outcomes
from certctl.lifecycle.calls import call
from certctl.lifecycle.outcomes import Decision, Doubt, Outcome, Standing
from certctl.lifecycle.replaced import find_replaced
from certctl.lifecycle.requests import decode_request
from certctl.lifecycle.results import StepResult
from certctl.lifecycle.versions import checked_version
from certctl.pki.certificates import WrongCertificate
from certctl.storage.conditions import ConditionState
from certctl.storage.orders import load_order

if TYPE_CHECKING:
    from certctl.connectors.contract import Connector, IssuanceRequest, Replaced
    from certctl.domain.clock import Clock
    from certctl.domain.polling import PollSchedule
    from certctl.lifecycle.catalog import Catalog, Issuer
    from certctl.lifecycle.conditions import Conditions
    from certctl.lifecycle.outcomes import Action
    from certctl.lifecycle.recording import Recording
    from certctl.lifecycle.tally import Tally
    from certctl.storage.conditions import ConditionRecord
    from certctl.storage.database import SqlRow
    from certctl.storage.orders import OrderRecord
    from certctl.storage.versions import VersionRecord

log = structlog.get_logger(__name__)

_NOT_READY_WAIT = 60.0

Answer = IssuedCertificate | Pending | None


class _Hindrance(NamedTuple):
    """Why the CA is not asked now, and until when (in milliseconds)."""

    problem: str
    until: int
    condition: ConditionRecord | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    """Carries orders one step further."""

    catalog: Catalog
    clock: Clock
    schedule: PollSchedule
    conditions: Conditions
    recording: Recording
    tally: Tally

    async def step(self, row: SqlRow[Any]) -> bool:
        """Take one step with a claimed row; whether its order is closed."""
        after = await self(load_order(row))
        return after.state not in OPEN_STATES

    async def __call__(self, order: OrderRecord) -> OrderRecord:
        """Take one step with a claimed order and return it as stored.

        Nothing here is remembered between steps: whatever a crash leaves behind is a row that the
        next claim reads. Raises TakenOver if another process claimed the order meanwhile, and
        Unavailable if the database is not there.
        """
        after = await self._advance(order)
        self.tally.order(order.state, after)
        return after

    async def _advance(self, order: OrderRecord) -> OrderRecord:
        hindered = self._hindered(order)
        if hindered is not None:
            return await self._postpone(order, hindered)
        issuer = self.catalog.issuer(order.issuer_id)
        connector = issuer.connector
        if connector is None:
            raise AssertionError("an issuer without a connector hinders every step")
        log.debug("advancing", order=order.id, state=order.state.value, issuer=order.issuer_id)
        match order.state:
            case OrderState.READY:
                return await self._submit(order, issuer, connector)
            case OrderState.SUBMITTING:
                return await self._recover(order, issuer, connector)
            case OrderState.PENDING:
                return await self._ask(order, issuer, connector, "poll")
            case _:
                return await self.recording.store(replace(order, due_at=None))

    async def _submit(
        self, order: OrderRecord, issuer: Issuer, connector: Connector
    ) -> OrderRecord:
        standing = self._standing(order, connector)
        if connector.recovery is Recovery.IDEMPOTENT and outcomes.window_is_over(standing):
            words = (
                f"it may have been sent, and the CA tells a second time only within "
                f"{standing.window:g} seconds"
            )
            decision = Decision(OrderState.UNCERTAIN, None, failures=order.failures)
            after = await self.recording.record(order, connector, self._lost(decision, words))
            self.tally.failure(issuer.record.id, Outcome.LOST)
            return after
        replaced = None
        if isinstance(connector, Renews):
            replaced = await find_replaced(self.recording.database, order, self.clock.now_ms())
        marked = replace(order, state=OrderState.SUBMITTING)
        order = await self.recording.store(marked, release=False)
        if order.lease_until is not None and self.clock.now_ms() >= order.lease_until:
            # Another process may have found it as it is now, and think that it was sent.
            words = "it was not sent: this process had stood still for longer than its lease"
            decision = Decision(OrderState.READY, 0.0, counted=False, failures=order.failures)
            unsent = StepResult(
                "submit", Outcome.UNAVAILABLE, decision, self.clock.now_ms(), detail=words
            )
            return await self.recording.record(order, connector, unsent)
        return await self._ask(order, issuer, connector, "submit", replaced)

    async def _recover(
        self, order: OrderRecord, issuer: Issuer, connector: Connector
    ) -> OrderRecord:
        """Go on with an order whose submission nobody knows the end of."""
        is_lookup = connector.recovery is Recovery.LOOKUP
        if is_lookup and order.unknown_since is not None:
            return await self._ask(order, issuer, connector, "lookup")
        sent_at = order.unknown_since or order.updated_at
        standing = replace(
            self._standing(order, connector), doubt=(self.clock.now_ms() - sent_at) / 1000
        )
        words = "the process that sent the order ended before an answer was recorded"
        lost = self._lost(outcomes.after_loss(standing), words, order.updated_at)
        order = await self.recording.record(order, connector, lost, release=not is_lookup)
        self.tally.failure(issuer.record.id, Outcome.LOST)
        return await self._ask(order, issuer, connector, "lookup") if is_lookup else order

    def _lost(self, decision: Decision, words: str, sent_at: int | None = None) -> StepResult:
        started = self.clock.now_ms() if sent_at is None else sent_at
        return StepResult("submit", Outcome.LOST, decision, started, detail=words)

    async def _ask(
        self,
        order: OrderRecord,
        issuer: Issuer,
        connector: Connector,
        action: Action,
        replaced: Replaced | None = None,
    ) -> OrderRecord:
        """Ask the CA, and record what it said."""
        # A look-up goes by the time that was stored before the order was sent.
        started = order.updated_at if action == "submit" else self.clock.now_ms()
        request = decode_request(order, started if action == "submit" else order.unknown_since)
        made_with = self.conditions.circumstances(issuer)
        begun = time.monotonic()
        version: VersionRecord | None = None
        answer: Answer = None
        error: IssuerError | None = None
        detail: str | None = None
        try:
            answer = await call(issuer.record, _asked(connector, request, order, action, replaced))
            if isinstance(answer, IssuedCertificate):
                version = checked_version(answer, order, request, self.clock.now_ms())
        except WrongCertificate as wrong:
            detail = str(wrong)
            if isinstance(answer, IssuedCertificate):
                detail += f" (serial {serial_hex(answer.certificate.serial_number)})"
            outcome, decision, answer = (
                Outcome.WRONG_CERTIFICATE,
                outcomes.after_wrong_certificate(action),
                None,
            )
        except IssuerError as failure:
            error, detail = failure, failure.detail
            outcome = outcomes.outcome_of(failure)
            decision = self._after_error(order, connector, action, failure, started)
        else:
            outcome, decision = self._after(order, connector, answer)
        took = time.monotonic() - begun
        self.tally.attempt(issuer.record.id, action, outcome, took)
        result = StepResult(
            action=action,
            outcome=outcome,
            decision=decision,
            started_at=started,
            duration_ms=round(took * 1000),
            detail=detail,
            answer=answer,
            version=version,
            error=error,
            made_with=made_with,
        )
        return await self.recording.record(order, connector, result)

    def _after(
        self, order: OrderRecord, connector: Connector, answer: Answer
    ) -> tuple[Outcome, Decision]:
        standing = self._standing(order, connector)
        if isinstance(answer, IssuedCertificate):
            return Outcome.ISSUED, Decision(OrderState.ISSUED, None, doubt=Doubt.ENDS)
        if answer is None:
            return Outcome.NOT_FOUND, outcomes.after_not_found(standing, self.schedule)
        schedule = schedule_for(self.schedule, connector)
        return Outcome.PENDING, outcomes.while_pending(standing, schedule, answer.retry_after)

    def _after_error(
        self,
        order: OrderRecord,
        connector: Connector,
        action: Action,
        error: IssuerError,
        started_at: int,
    ) -> Decision:
        standing = self._standing(order, connector)
        schedule = schedule_for(self.schedule, connector)
        match action:
            case "submit":
                since = order.unknown_since or started_at
                standing = replace(standing, doubt=(self.clock.now_ms() - since) / 1000)
                return outcomes.after_submission_error(error, standing, schedule)
            case "poll":
                return outcomes.after_poll_error(error, standing, schedule)
            case "lookup":
                return outcomes.after_lookup_error(error, standing, schedule)

    def _standing(self, order: OrderRecord, connector: Connector) -> Standing:
        now = self.clock.now_ms()
        doubt = None if order.unknown_since is None else (now - order.unknown_since) / 1000
        recovery = connector.recovery
        window, settle = None, outcomes.SETTLE_WAIT
        if recovery is Recovery.IDEMPOTENT and isinstance(connector, RecoversFor):
            window = connector.recovery_window
        if recovery is Recovery.LOOKUP and isinstance(connector, ListsLate):
            settle = connector.listing_delay
        return Standing(
            recovery=recovery,
            attempts=order.attempts,
            failures=order.failures,
            age=(now - (order.accepted_at or now)) / 1000,
            doubt=doubt,
            window=window,
            settle=settle,
            jitter=_jitter(),
        )

    def _hindered(self, order: OrderRecord) -> _Hindrance | None:
        """Why the issuer's CA is not asked now, None where it may be."""
        later = self._in(_NOT_READY_WAIT * self.schedule.scale)
        try:
            issuer = self.catalog.issuer(order.issuer_id)
        except NotFound as error:
            return _Hindrance(error.detail, later)
        words = hindrance(issuer, order.state)
        if words is not None or issuer.connector is None:
            return _Hindrance(words or "this issuer cannot issue", later)
        is_lookup = issuer.connector.recovery is Recovery.LOOKUP
        if order.state is OrderState.SUBMITTING and not is_lookup:
            return None  # what becomes of it is decided without the CA
        return self._left_alone(order, later)

    def _left_alone(self, order: OrderRecord, later: int) -> _Hindrance | None:
        """The issuer's condition, where it keeps this order from being asked for."""
        condition = self.conditions.standing(order.issuer_id)
        if condition is None:
            return None
        if condition.state is ConditionState.OPEN:
            return _Hindrance(condition.problem, later, condition)
        if order.state is not OrderState.READY or condition.due_at is None:
            return None
        spread = outcomes.QUOTA_SPREAD * self.schedule.scale * _jitter()
        return _Hindrance(condition.problem, condition.due_at + round(spread * 1000), condition)

    def _in(self, seconds: float) -> int:
        return self.clock.now_ms() + round(seconds * 1000)

    async def _postpone(self, order: OrderRecord, hindered: _Hindrance) -> OrderRecord:
        """Look at the order later: nobody is asked now."""
        now = self.clock.now_ms()
        age = (now - (order.accepted_at or now)) / 1000
        if order.state is OrderState.PENDING and self.schedule.is_too_old(age):
            decision = Decision(OrderState.EXPIRED, None, counted=False, failures=order.failures)
            given_up = StepResult(
                "poll", Outcome.UNAVAILABLE, decision, now, detail=hindered.problem
            )
            return await self.recording.record(order, None, given_up)
        if order.state is OrderState.SUBMITTING and order.unknown_since is None:
            order = replace(order, unknown_since=order.updated_at)
        postponed = replace(order, due_at=hindered.until, problem=hindered.problem)
        if hindered.condition is not None:
            return await self.recording.put_off(postponed, hindered.condition)
        return await self.recording.store(postponed)


def schedule_for(schedule: PollSchedule, connector: Connector | None) -> PollSchedule:
    """The schedule with the length of a burst that the issuer's settings give."""
    if isinstance(connector, Polls):
        return replace(schedule, max_wait=connector.poll_max_wait)
    return schedule


def hindrance(issuer: Issuer, state: OrderState) -> str | None:
    """Why nothing is asked for at an issuer, None where it is.

    About what a CA has, it is asked while the issuer is disabled or archived, too.
    """
    if issuer.connector is None:
        return f"this issuer cannot issue: {issuer.problem}"
    if state is not OrderState.READY:
        return None
    if issuer.record.archived_at is not None:
        return "the issuer is archived"
    return None if issuer.record.enabled else "the issuer is disabled"


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads load, protects nothing


async def _asked(
    connector: Connector,
    request: IssuanceRequest,
    order: OrderRecord,
    action: Action,
    replaced: Replaced | None,
) -> Answer:
    match action:
        case "submit" if replaced is not None and isinstance(connector, Renews):
            return await connector.renew(request, replaced)
        case "submit":
            return await connector.issue(request)
        case "poll":
            if isinstance(connector, Polls) and order.reference is not None:
                return await connector.poll(request, order.reference)
            raise BadAnswer("this type of issuer cannot be asked about a pending order")
        case "lookup":
            if isinstance(connector, Lookup):
                return await connector.lookup(request)
            raise Refused("this type of issuer cannot look for an order")
