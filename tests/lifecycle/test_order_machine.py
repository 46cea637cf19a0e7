"""Whatever answers and deaths an order meets: it ends, or waits for a time or a person, and the CA
is never asked a second time before it was decided that it may be."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certctl.connectors import errors
from certctl.connectors.contract import IssuedCertificate, Pending
from certctl.domain.orders import OPEN_STATES, OrderState, Recovery
from certctl.storage.database import open_database
from certctl.storage.engine import DATABASE_FILE
from certctl.storage.leases import TakenOver
from certctl.storage.orders import load_order
from certctl.storage.sealing import Keyring
from certctl.storage.versions import list_versions
from tests.support.clock import TurnableClock
from tests.support.targets import SECRET
from tests.support.workbench import LEASE_MS, Bench, BenchCA, make_bench

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.connectors.contract import IssuanceRequest
    from certctl.storage.orders import OrderRecord

#: What the CA does with a call. What is booked is made, whether or not anybody hears of it.
ANSWERS = (
    "answer",
    "later",
    "booked, no answer",
    "no answer",
    "garbage",
    "not now",
    "not reached",
    "not you",
    "unknown",
)
#: What becomes of the process that made the call.
FATES = ("goes on", "goes on", "dies before", "dies after", "stands still")
CALLS = st.lists(
    st.tuples(st.sampled_from(ANSWERS), st.sampled_from(FATES)), min_size=3, max_size=14
)


class BookingCA(BenchCA):
    """Keeps the orders that it was given, and answers as `answer` says."""

    def __init__(self, clock: TurnableClock, recovery: Recovery) -> None:
        super().__init__(clock, ["issue"], recovery)
        self.bookings: dict[str, list[IssuedCertificate]] = {}
        self.answer = "answer"
        self.fate = "goes on"
        self.go_on = asyncio.Event()
        self.at_work = asyncio.Event()

    async def issue(self, request: IssuanceRequest) -> Any:
        await self._die_before()
        booked = self.bookings.setdefault(request.order_id, [])
        if self.answer in {"answer", "later", "booked, no answer", "garbage"} and not (
            self.recovery is Recovery.IDEMPOTENT and booked
        ):
            booked.append(self._sign(request, "issue"))
        return await self._say(booked[-1] if booked else None, request)

    async def poll(self, request: IssuanceRequest, reference: Any) -> Any:
        await self._die_before()
        (number,) = reference.values()
        return await self._say(self.bookings[request.order_id][number], request, number)

    async def lookup(self, request: IssuanceRequest) -> Any:
        await self._die_before()
        booked = self.bookings.get(request.order_id)
        if not booked and self.answer in {"answer", "later"}:
            return await self._then(None)
        return await self._say(booked[0] if booked else None, request, 0)

    async def _die_before(self) -> None:
        if self.fate == "dies before":
            self.at_work.set()
            await asyncio.Event().wait()

    async def _say(
        self, made: IssuedCertificate | None, request: IssuanceRequest, number: int | None = None
    ) -> Any:
        failure = {
            "booked, no answer": errors.NoAnswer("reset"),
            "no answer": errors.NoAnswer("reset"),
            "garbage": errors.BadAnswer("garbage"),
            "not now": errors.RateLimited("later"),
            "not reached": errors.Unavailable("refused"),
            "not you": errors.Unauthorized("who?"),
            "unknown": errors.UnknownOrder("404"),
        }.get(self.answer)
        if failure is not None:
            return await self._then(failure)
        if self.answer == "later":
            which = len(self.bookings[request.order_id]) - 1 if number is None else number
            return await self._then(Pending({"number": which}))
        return await self._then(made)

    async def _then(self, answer: Any) -> Any:
        if self.fate in {"dies after", "stands still"}:
            go_on = self.go_on
            self.at_work.set()
            await go_on.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Machine:
    """One order, one CA, and processes that come and go."""

    def __init__(self, bench: Bench, ca: BookingCA, order_id: str) -> None:
        self.bench = bench
        self.ca = ca
        self.order_id = order_id
        self.standing_still: list[tuple[asyncio.Task[OrderRecord], asyncio.Event]] = []

    async def call(self, answer: str, fate: str) -> None:
        """The next step, with this answer and this end of the process."""
        await self._turn_until_due()
        for row in await self.bench.claim():
            self.ca.answer, self.ca.fate = answer, fate
            self.ca.go_on, self.ca.at_work = asyncio.Event(), asyncio.Event()
            task = asyncio.create_task(self.bench.advance(load_order(row)))
            at_work = asyncio.create_task(self.ca.at_work.wait())
            await asyncio.wait({task, at_work}, return_when=asyncio.FIRST_COMPLETED)
            at_work.cancel()
            if task.done():
                task.result()
                continue
            if fate == "stands still":
                self.standing_still.append((task, self.ca.go_on))
            else:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            self.bench.clock.ms += LEASE_MS + 1
        await self.check()

    async def _turn_until_due(self) -> None:
        order = await self.bench.get(self.order_id)
        condition = await self.bench.condition()
        if condition is not None:
            self.bench.clock.ms = max(self.bench.clock.ms, condition.due_at or 0)
            await self.bench.step_conditions()
        self.bench.clock.ms = max(self.bench.clock.ms, order.due_at or 0)

    async def wake_all(self) -> None:
        """Whoever stood still goes on, with what it has."""
        for task, go_on in self.standing_still:
            go_on.set()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            assert not isinstance(result, BaseException) or isinstance(result, TakenOver)
            await self.check()

    async def check(self) -> None:
        """What holds after every step."""
        order = await self.bench.get(self.order_id)
        if order.state in OPEN_STATES and order.state is not OrderState.UNCERTAIN:
            assert order.due_at is not None
        else:
            assert order.due_at is None

    async def finish(self) -> OrderRecord:
        """With a CA that is well again, the order comes to its end, or to a person."""
        for _ in range(80):
            order = await self.bench.get(self.order_id)
            if order.due_at is None:
                return order
            await self.call("answer", "goes on")
        raise AssertionError(f"the order has no end: {order}")

    async def audit_the_books(self) -> None:
        """What the CA made is known here, or it is shown why it is not."""
        order = await self.bench.get(self.order_id)
        history = await self.bench.history(self.order_id)
        outcomes = [attempt.outcome for attempt in history]
        made = [
            f"{booked.certificate.serial_number:x}"
            for booked in self.ca.bookings.get(self.order_id, [])
        ]
        kept = [
            version.serial
            for version in await self.bench.database.read(
                lambda c: list_versions(c, order.certificate_id, limit=100)
            )
        ]
        assert set(kept) <= set(made)
        doubled = outcomes.count("doubled")
        if self.ca.recovery in {Recovery.IDEMPOTENT, Recovery.ASK}:
            assert len(made) <= 1
            assert doubled == 0
        unsure = sum(outcomes.count(word) for word in ("lost", "no_answer", "bad_answer"))
        assert len(made) <= 1 + unsure
        if self.ca.recovery is Recovery.LOOKUP:
            # Only a process that stood still can have made a second one, and it has told of it.
            assert len(made) <= 1 + len(self.standing_still)
        if order.state is OrderState.ISSUED:
            assert kept
        # Of each certificate that is too many, and came back, the CA is told.
        await self.bench.step_revocations()
        spare = len(kept) - (order.version_id is not None)
        assert self.ca.books.count("revoke") == spare
        assert doubled >= spare


async def play(folder: Path, template: Path, recovery: Recovery, calls: list[Any]) -> None:
    shutil.copy(template, folder / DATABASE_FILE)
    clock = TurnableClock()
    database = await open_database(url=None, data_dir=folder, clock=clock, keyring=Keyring(SECRET))
    try:
        ca = BookingCA(clock, recovery)
        bench = await make_bench(database, ca)
        machine = Machine(bench, ca, await bench.order())
        await machine.check()
        for answer, fate in calls:
            await machine.call(answer, fate)
        half = len(machine.standing_still) // 2
        late = machine.standing_still[half:]
        machine.standing_still = machine.standing_still[:half]
        await machine.wake_all()
        order = await machine.finish()
        machine.standing_still = [*machine.standing_still, *late]
        await machine.wake_all()
        order = await machine.finish()
        if order.state is OrderState.UNCERTAIN:
            asks = recovery is Recovery.ASK or "unknown" in {answer for answer, _ in calls}
            assert asks or order.problem
        else:
            assert order.state is OrderState.ISSUED
        await machine.audit_the_books()
        assert set(bench.events.announced) <= set(bench.events.recorded)
    finally:
        await database.close()


@pytest.mark.parametrize(
    "recovery", [Recovery.IDEMPOTENT, Recovery.LOOKUP, Recovery.REPEATABLE, Recovery.ASK]
)
def test_an_order_always_has_an_end_a_time_or_a_person(
    recovery: Recovery, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> None:
    @settings(max_examples=8, deadline=None, database=None)
    @given(calls=CALLS)
    def run(calls: list[Any]) -> None:
        folder = tmp_path_factory.mktemp("machine", numbered=True)
        asyncio.run(play(folder, sqlite_template, recovery, calls))
        shutil.rmtree(folder)

    run()
