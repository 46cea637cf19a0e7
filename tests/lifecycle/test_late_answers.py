"""A process was stopped for longer than its lease, and wakes with an answer in its hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from certctl.connectors import errors
from certctl.connectors.contract import Pending
from certctl.domain.orders import OrderState, Recovery
from certctl.domain.revocations import RevocationReason, RevocationState
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.resolution import Finding
from certctl.storage.leases import TakenOver
from certctl.storage.orders import load_order
from certctl.storage.revocations import revocations_of
from certctl.storage.versions import list_versions
from tests.support.clock import TurnableClock
from tests.support.workbench import LEASE_MS, Bench, BenchCA, make_bench

if TYPE_CHECKING:
    from certctl.connectors.contract import IssuanceRequest
    from certctl.storage.database import Database
    from certctl.storage.orders import OrderRecord
    from certctl.storage.revocations import RevocationRecord
    from certctl.storage.versions import VersionRecord

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> TurnableClock:
    """Stands still between the steps."""
    return TurnableClock()


class Stopped:
    """A first process that has sent the order and stands still; `wake` lets it go on.

    The CA answers it with `answer`, a step of a script.
    """

    def __init__(self, bench: Bench, order: OrderRecord, answer: Any) -> None:
        self.bench = bench
        self.sent = asyncio.Event()
        self._go_on = asyncio.Event()
        self._answer = answer
        self._normal = bench.ca.issue
        bench.ca.issue = self._issue  # type: ignore[method-assign] # the first call only
        self.task = asyncio.create_task(bench.advance(order))

    async def _issue(self, request: IssuanceRequest) -> Any:
        self.bench.ca.issue = self._normal  # type: ignore[method-assign] # as above
        script, self.bench.ca.script = self.bench.ca.script, [self._answer]
        try:
            answer = await self._normal(request)
        except errors.IssuerError as error:
            answer = error  # type: ignore[assignment] # raised when it wakes
        self.bench.ca.script = script
        self.sent.set()
        await self._go_on.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def wake(self) -> OrderRecord:
        self._go_on.set()
        return await asyncio.wait_for(self.task, 10)


async def stopped(
    database: Database,
    recovery: Recovery,
    answer: Any,
    script: list[Any],
    **further: Any,
) -> tuple[Stopped, str]:
    """An order that one process has sent, and whose lease has run out since."""
    bench = await make_bench(database, BenchCA(database.clock, script, recovery, **further))
    order_id = await bench.order()
    process = Stopped(bench, await bench.claim_one(), answer)
    await asyncio.wait_for(process.sent.wait(), 10)
    bench.clock.ms += LEASE_MS + 1
    return process, order_id


async def versions(bench: Bench, order_id: str) -> list[VersionRecord]:
    order = await bench.get(order_id)
    return await bench.database.read(lambda c: list_versions(c, order.certificate_id, limit=10))


async def revocations(bench: Bench, order_id: str) -> list[RevocationRecord]:
    order = await bench.get(order_id)
    found = await bench.database.read(lambda c: revocations_of(c, order.certificate_id))
    return list(found.values())


async def doubled(bench: Bench, order_id: str, *, newest: str | None) -> None:
    """The spare certificate is kept, told of, and on its way to be revoked; the newest is not."""
    kept = {version.id for version in await versions(bench, order_id)}
    (revocation,) = await revocations(bench, order_id)
    assert kept - {newest} == {revocation.version_id}
    assert revocation.reason is RevocationReason.SUPERSEDED
    assert revocation.state is RevocationState.REQUESTED
    (attempt,) = [a for a in await bench.history(order_id) if a.outcome == "doubled"]
    assert revocation.serial in (attempt.detail or "")
    assert bench.events.kinds()[-1] == "order_doubled"
    assert "order.doubled" in await bench.audit_actions()
    await bench.step_revocations()
    (revocation,) = await revocations(bench, order_id)
    assert revocation.state is RevocationState.CONFIRMED
    assert bench.ca.books.count("revoke") == 1


@pytest.mark.parametrize("recovery", [Recovery.ASK, Recovery.IDEMPOTENT, Recovery.REPEATABLE])
@pytest.mark.parametrize("answer", ["issue", "pending"])
async def test_an_order_that_nobody_has_sent_again_goes_on_with_the_answer(
    database: Database, recovery: Recovery, answer: str
) -> None:
    process, order_id = await stopped(database, recovery, answer, ["issue"])
    bench = process.bench
    (recovered,) = await bench.step()
    assert recovered.state.value == ("uncertain" if recovery is Recovery.ASK else "ready")
    after = await process.wake()
    stored = await bench.get(order_id)
    assert after == stored
    assert stored.state.value == {"issue": "issued", "pending": "pending"}[answer]
    assert await bench.outcomes(order_id) == [("submit", "lost"), ("submit", "late")]
    assert bench.ca.books.count("submit") == 1
    assert stored.unknown_since is None
    if answer == "issue":
        (version,) = await versions(bench, order_id)
        assert stored.version_id == version.id
        assert "certificate.issued" in await bench.audit_actions()
    else:
        bench.clock.turn(seconds=10)
        (order,) = await bench.step()
        assert order.state is OrderState.ISSUED


async def test_whoever_was_about_to_send_it_again_does_not(database: Database) -> None:
    process, order_id = await stopped(database, Recovery.REPEATABLE, "issue", ["issue"])
    bench = process.bench
    await bench.step()
    claimed = await bench.claim_one()  # a second process holds it, and has not marked it yet
    await process.wake()
    with pytest.raises(TakenOver):
        await bench.advance(claimed)
    assert bench.ca.books.count("submit") == 1
    assert (await bench.get(order_id)).state is OrderState.ISSUED


async def test_an_answer_before_anybody_looked_is_taken_too(database: Database) -> None:
    """Claimed by another process, which has not found out yet what became of it."""
    process, order_id = await stopped(database, Recovery.ASK, "issue", ["issue"])
    bench = process.bench
    claimed = await bench.claim_one()
    await process.wake()
    with pytest.raises(TakenOver):
        await bench.advance(claimed)
    assert (await bench.get(order_id)).state is OrderState.ISSUED


async def test_a_certificate_that_the_ca_made_twice_is_found_shown_and_revoked(
    database: Database,
) -> None:
    process, order_id = await stopped(database, Recovery.REPEATABLE, "issue", ["issue"])
    bench = process.bench
    await bench.step()
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED
    with pytest.raises(TakenOver):
        await process.wake()
    stored = await bench.get(order_id)
    assert stored.version_id == order.version_id
    await doubled(bench, order_id, newest=order.version_id)


async def test_the_same_certificate_twice_is_no_double(database: Database) -> None:
    process, order_id = await stopped(database, Recovery.IDEMPOTENT, "issue", ["issue"])
    bench = process.bench
    await bench.step()
    bench.ca.script = [bench.ca.kept[0]]  # what the CA answered the first time
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED
    with pytest.raises(TakenOver):
        await process.wake()
    assert len(await versions(bench, order_id)) == 1
    assert await revocations(bench, order_id) == []
    assert [outcome for _, outcome in await bench.outcomes(order_id)] == ["lost", "issued", "late"]
    assert bench.events.kinds() == []


@pytest.mark.parametrize(
    ("recovery", "is_double"), [(Recovery.REPEATABLE, True), (Recovery.IDEMPOTENT, False)]
)
async def test_an_answer_while_another_process_is_sending(
    database: Database, recovery: Recovery, is_double: bool
) -> None:
    process, order_id = await stopped(database, recovery, "issue", ["issue"])
    bench = process.bench
    await bench.step()
    kept = bench.ca.kept[0]
    second = Stopped(bench, await bench.claim_one(), "issue" if is_double else kept)
    await asyncio.wait_for(second.sent.wait(), 10)
    if is_double:
        with pytest.raises(TakenOver):
            await process.wake()
        order = await second.wake()
        assert order.state is OrderState.ISSUED
        await doubled(bench, order_id, newest=order.version_id)
    else:
        order = await process.wake()
        assert order.state is OrderState.ISSUED
        with pytest.raises(TakenOver):
            await second.wake()
        assert await revocations(bench, order_id) == []
        assert len(await versions(bench, order_id)) == 1


async def test_a_second_order_at_the_ca_is_shown_with_what_it_is_called_there(
    database: Database,
) -> None:
    process, order_id = await stopped(
        database, Recovery.REPEATABLE, Pending({"id": "first"}), [Pending({"id": "second"})]
    )
    bench = process.bench
    await bench.step()
    (order,) = await bench.step()
    assert order.state is OrderState.PENDING
    with pytest.raises(TakenOver):
        await process.wake()
    (attempt,) = [a for a in await bench.history(order_id) if a.outcome == "doubled"]
    assert '{"id": "first"}' in (attempt.detail or "")
    assert bench.events.kinds() == ["order_doubled"]
    assert (await bench.get(order_id)).reference == {"id": "second"}


async def test_an_order_that_a_look_up_found_is_the_same_one(database: Database) -> None:
    process, order_id = await stopped(
        database, Recovery.LOOKUP, "issue", ["issue"], lookups=["pending"]
    )
    bench = process.bench
    (order,) = await bench.step()
    assert order.state is OrderState.PENDING
    after = await process.wake()
    assert after.state is OrderState.ISSUED
    assert bench.events.kinds() == []
    assert [outcome for _, outcome in await bench.outcomes(order_id)] == [
        "lost",
        "pending",
        "late",
    ]


async def test_an_order_that_was_looked_for_and_sent_again_is_doubled(database: Database) -> None:
    process, order_id = await stopped(database, Recovery.LOOKUP, "issue", ["pending"])
    bench = process.bench
    await bench.step()  # not found, though it was there: the CA was slow
    (order,) = await bench.step()
    assert order.state is OrderState.PENDING
    with pytest.raises(TakenOver):
        await process.wake()
    await doubled(bench, order_id, newest=None)


@pytest.mark.parametrize("lost", [errors.NoAnswer("reset"), errors.BadAnswer("garbage")])
async def test_a_lost_answer_to_what_was_sent_again_meanwhile_may_hide_a_second_order(
    database: Database, lost: errors.IssuerError
) -> None:
    process, order_id = await stopped(database, Recovery.LOOKUP, lost, ["issue"])
    bench = process.bench
    await bench.step()  # not found: nothing had arrived yet
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED
    with pytest.raises(TakenOver):
        await process.wake()
    stored = await bench.get(order_id)
    assert stored.version_id == order.version_id
    assert len(await versions(bench, order_id)) == 1
    (attempt,) = [a for a in await bench.history(order_id) if a.outcome == "perhaps_doubled"]
    assert lost.detail in (attempt.detail or "")
    assert bench.events.kinds() == ["order_doubled"]
    assert "order.doubled" in await bench.audit_actions()


async def test_a_lost_answer_keeps_an_order_from_being_sent_again_unlooked_for(
    database: Database,
) -> None:
    lost = errors.NoAnswer("reset")
    process, _ = await stopped(database, Recovery.LOOKUP, lost, ["issue"], lookups=[None, "issue"])
    bench = process.bench
    (order,) = await bench.step()
    assert order.state is OrderState.READY  # not found: nothing had arrived yet
    order = await process.wake()
    assert order.state is OrderState.SUBMITTING
    assert order.unknown_since is not None
    bench.clock.turn(seconds=600)
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED
    assert bench.ca.books.count("submit") == 1
    assert bench.events.kinds() == []


async def test_an_answer_is_taken_though_what_was_sent_since_may_be_a_second_order(
    database: Database,
) -> None:
    script: list[Any] = [errors.NoAnswer("reset"), "issue"]
    process, order_id = await stopped(database, Recovery.LOOKUP, "issue", script)
    bench = process.bench
    await bench.step()  # not found: nothing had arrived yet
    (order,) = await bench.step()
    assert order.state is OrderState.SUBMITTING
    after = await process.wake()
    assert after.state is OrderState.ISSUED
    assert [outcome for _, outcome in await bench.outcomes(order_id)][-2:] == [
        "late",
        "perhaps_doubled",
    ]
    assert bench.events.kinds()[-1] == "order_doubled"


async def test_a_lost_answer_to_what_is_being_looked_for_says_nothing_new(
    database: Database,
) -> None:
    lost = errors.NoAnswer("reset")
    process, order_id = await stopped(
        database, Recovery.LOOKUP, lost, ["issue"], lookups=[errors.Unavailable("no"), "issue"]
    )
    bench = process.bench
    (order,) = await bench.step()
    assert order.state is OrderState.SUBMITTING
    with pytest.raises(TakenOver):
        await process.wake()
    assert [outcome for _, outcome in await bench.outcomes(order_id)][-1] == "late"
    assert "order_doubled" not in bench.events.kinds()


async def test_a_certificate_for_a_cancelled_order_is_kept_and_revoked(database: Database) -> None:
    process, order_id = await stopped(database, Recovery.ASK, "issue", ["issue"])
    bench = process.bench
    await bench.step()
    await bench.its.orders.cancel(SYSTEM, order_id)
    with pytest.raises(TakenOver):
        await process.wake()
    assert (await bench.get(order_id)).state is OrderState.CANCELLED
    await doubled(bench, order_id, newest=None)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (errors.Refused("not your domain"), "rejected"),
        (errors.Unavailable("connection refused"), "ready"),
        (errors.RateLimited("later"), "ready"),
        (errors.NoAnswer("reset"), "uncertain"),
    ],
)
async def test_a_no_settles_an_order_of_which_nobody_knew(
    database: Database, answer: errors.IssuerError, state: str
) -> None:
    process, order_id = await stopped(database, Recovery.ASK, answer, ["issue"])
    bench = process.bench
    (order,) = await bench.step()
    assert order.state is OrderState.UNCERTAIN
    if state == "uncertain":
        with pytest.raises(TakenOver):
            await process.wake()
    else:
        await process.wake()
    assert (await bench.get(order_id)).state.value == state
    late = (await bench.history(order_id))[-1]
    assert late.outcome == "late"
    assert answer.detail in (late.detail or "")


async def test_a_no_to_the_first_says_nothing_of_a_second_submission(database: Database) -> None:
    script: list[Any] = [errors.NoAnswer("reset")]
    process, order_id = await stopped(database, Recovery.ASK, errors.Unavailable("no"), script)
    bench = process.bench
    await bench.step()
    await bench.its.resolution.resolve(SYSTEM, order_id, Finding(OrderState.READY))
    (order,) = await bench.step()
    assert order.state is OrderState.UNCERTAIN
    with pytest.raises(TakenOver):
        await process.wake()
    assert (await bench.get(order_id)).state is OrderState.UNCERTAIN


async def test_what_was_never_sent_is_no_longer_in_doubt(database: Database) -> None:
    """It stood still between marking the order and sending it."""
    bench = await make_bench(database, BenchCA(database.clock, ["issue"]))
    order_id = await bench.order()
    claimed = await bench.claim_one()
    original = bench.advance.recording.store
    other = await make_bench(database, bench.ca)

    async def stand_still(order: OrderRecord, *, release: bool = True) -> OrderRecord:
        after = await original(order, release=release)
        bench.clock.ms += LEASE_MS + 1
        (found,) = [await other.advance(load_order(row)) for row in await other.claim()]
        assert found.state is OrderState.UNCERTAIN
        return after

    class _Slow:
        store = staticmethod(stand_still)
        record = bench.advance.recording.record

    from dataclasses import replace

    slow: Any = _Slow()
    after = await replace(bench.advance, recording=slow)(claimed)
    assert after.state is OrderState.READY
    assert (await bench.get(order_id)).state is OrderState.READY
    assert bench.ca.books.asked == []


async def test_a_late_poll_is_about_the_same_order(database: Database) -> None:
    bench = await make_bench(database, BenchCA(database.clock, ["pending", "hang", "issue"]))
    order_id = await bench.order()
    await bench.step()
    bench.clock.turn(seconds=10)
    claimed = await bench.claim_one()
    asked, release = asyncio.Event(), asyncio.Event()
    original = bench.ca.poll

    async def slow(request: Any, reference: Any) -> Any:
        bench.ca.poll = original  # type: ignore[method-assign] # the first call only
        bench.ca.script = ["issue"]
        answer = await original(request, reference)
        asked.set()
        await release.wait()
        return answer

    bench.ca.poll = slow  # type: ignore[method-assign] # as above
    task = asyncio.create_task(bench.advance(claimed))
    await asyncio.wait_for(asked.wait(), 10)
    bench.ca.script = ["pending"]
    bench.clock.ms += LEASE_MS + 1
    await bench.step()
    release.set()
    after = await asyncio.wait_for(task, 10)
    assert after.state is OrderState.ISSUED
    assert (await bench.get(order_id)).state is OrderState.ISSUED
    assert await revocations(bench, order_id) == []
