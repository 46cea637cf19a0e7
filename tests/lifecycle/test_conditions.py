"""Circuits and quotas: one alarm and not a thousand logins, and what ends them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from certctl.connectors import errors
from certctl.domain.orders import OrderState, Recovery
from certctl.domain.polling import PollSchedule
from certctl.domain.revocations import RevocationReason, RevocationState
from certctl.lifecycle.access import SYSTEM
from certctl.storage.conditions import ConditionState
from certctl.storage.issuers import lock_issuer, update_issuer
from certctl.storage.revocations import RevocationRecord, list_revocations
from tests.support.clock import TurnableClock
from tests.support.workbench import ISSUER, Bench, BenchCA, make_bench

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.storage.database import Database, Transaction

pytestmark = pytest.mark.anyio

NO_ENTRY = errors.Unauthorized("wrong password", code="401")
BAD_PAIR = errors.Misconfigured("certificate and key do not belong together")
EMPTY = errors.QuotaExhausted("nothing left")
MINUTE = 60.0
HOUR = 3600.0


@pytest.fixture
def clock() -> TurnableClock:
    """Stands still between the steps."""
    return TurnableClock()


async def bench_of(database: Database, script: list[Any], **further: Any) -> Bench:
    named = further.pop("settings", None)
    return await make_bench(database, BenchCA(database.clock, script, **further), settings=named)


async def change_settings(bench: Bench, *, refresh: bool = True) -> None:
    """As a PUT does."""

    def write(transaction: Transaction) -> None:
        record = lock_issuer(transaction, bench.database.keyring, ISSUER)
        assert record is not None
        assert update_issuer(transaction, bench.database.keyring, record)

    await bench.database.write(write)
    if refresh:
        await bench.catalog.refresh()


async def state_of(bench: Bench) -> ConditionState | None:
    found = await bench.condition()
    return None if found is None else found.state


@pytest.mark.parametrize("error", [NO_ENTRY, BAD_PAIR])
async def test_a_thousand_orders_are_one_alarm_and_one_login(
    database: Database, error: errors.IssuerError
) -> None:
    bench = await bench_of(database, [error])
    orders = [await bench.order(f"n{number}.example.org") for number in range(20)]
    for _ in range(3):
        await bench.step()
        bench.clock.turn(seconds=61)
    assert bench.ca.books.count("submit") == 1
    assert bench.events.kinds() == ["circuit_open"]
    assert (await bench.audit_actions()).count("issuer.circuit_opened") == 1
    for order_id in orders:
        order = await bench.get(order_id)
        assert (order.state, order.attempts) == (OrderState.READY, 0)
        assert order.problem == error.detail
    first = await bench.history(orders[0])
    assert [(a.outcome, a.code) for a in first] == [
        ("unauthorized" if error is NO_ENTRY else "misconfigured", error.code)
    ]


async def test_orders_under_way_together_are_one_alarm(database: Database) -> None:
    bench = await bench_of(database, [NO_ENTRY])
    for number in range(5):
        await bench.order(f"n{number}.example.org")
    rows = await bench.claim()
    from certctl.storage.orders import load_order

    # None of these steps knows of the others' failure before it asks.
    bench.conditions.standing = lambda issuer_id: None  # type: ignore[method-assign] # before a look
    await asyncio.gather(*[bench.advance(load_order(row)) for row in rows])
    assert bench.ca.books.count("submit") == 5
    assert bench.events.kinds() == ["circuit_open"]


async def test_a_poll_and_a_look_up_open_it_too_and_the_order_stays_where_it_is(
    database: Database,
) -> None:
    bench = await bench_of(database, ["pending", NO_ENTRY])
    order_id = await bench.order()
    await bench.step()
    bench.clock.turn(seconds=10)
    (order,) = await bench.step()
    assert (order.state, order.attempts) == (OrderState.PENDING, 1)
    assert bench.events.kinds() == ["circuit_open"]
    assert await bench.outcomes(order_id) == [("submit", "pending"), ("poll", "unauthorized")]


async def test_a_look_up_that_is_not_let_in_opens_it(database: Database) -> None:
    ca = BenchCA(
        database.clock, [errors.NoAnswer("reset")], Recovery.LOOKUP, lookups=[NO_ENTRY, "issue"]
    )
    bench = await make_bench(database, ca)
    await bench.order()
    await bench.step()
    bench.clock.turn(seconds=10)
    (order,) = await bench.step()
    assert order.state is OrderState.SUBMITTING
    assert bench.events.kinds() == ["attempt_failed", "circuit_open"]
    bench.clock.turn(seconds=61)
    await bench.step_conditions()
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED
    assert ca.books.count("submit") == 1


async def revoked(bench: Bench) -> RevocationRecord:
    found = await bench.database.read(
        lambda c: list_revocations(c, limit=10, before=None, state=None, bulk_id=None, scope=None)
    )
    (record,) = found
    return record


async def test_a_revocation_opens_it_waits_and_goes_on(database: Database) -> None:
    bench = await bench_of(database, ["issue"], revocations=[NO_ENTRY, "done"])
    order_id = await bench.order()
    await bench.step()
    certificate_id = (await bench.get(order_id)).certificate_id
    await bench.its.revocations.revoke(SYSTEM, certificate_id, RevocationReason.SUPERSEDED)
    await bench.step_revocations()
    assert bench.events.kinds() == ["circuit_open"]
    assert ((await revoked(bench)).state, (await revoked(bench)).attempts) == ("requested", 0)
    bench.clock.turn(seconds=61)
    await bench.step_revocations()
    assert bench.ca.books.count("revoke") == 1  # nobody logs in while it is open
    await bench.conditions.close(ISSUER)
    await bench.step_revocations()  # woken, though its minute is not over
    assert (await revoked(bench)).state is RevocationState.CONFIRMED
    assert bench.events.kinds() == ["circuit_open", "circuit_closed"]


async def test_a_refused_revocation_is_told(database: Database) -> None:
    bench = await bench_of(database, ["issue"], revocations=[errors.Refused("not ours")])
    order_id = await bench.order()
    await bench.step()
    certificate_id = (await bench.get(order_id)).certificate_id
    await bench.its.revocations.revoke(SYSTEM, certificate_id, RevocationReason.SUPERSEDED)
    await bench.step_revocations()
    (event,) = bench.events.announced
    assert bench.events.kinds() == ["revocation_refused"]
    assert (event.detail, event.certificate_id) == ("not ours", certificate_id)
    assert event.revocation_id == (await revoked(bench)).id


async def test_a_revocation_that_never_gets_through_is_told_every_fifth_time(
    database: Database,
) -> None:
    bench = await bench_of(database, ["issue"], revocations=[errors.NoAnswer("reset")])
    order_id = await bench.order()
    await bench.step()
    certificate_id = (await bench.get(order_id)).certificate_id
    await bench.its.revocations.revoke(SYSTEM, certificate_id, RevocationReason.SUPERSEDED)
    for _ in range(11):
        await bench.step_revocations()
        bench.clock.turn(seconds=2 * HOUR)
    assert bench.events.kinds() == ["attempt_failed", "attempt_failed"]


async def test_a_probe_closes_it_after_a_minute_and_the_orders_go_on(database: Database) -> None:
    bench = await bench_of(database, [NO_ENTRY, "issue"])
    order_id = await bench.order()
    await bench.step()
    bench.clock.turn(seconds=59)
    await bench.step_conditions()
    assert bench.ca.books.count("check") == 0
    bench.clock.turn(seconds=1)
    await bench.step_conditions()
    assert bench.ca.books.count("check") == 1
    assert bench.conditions.standing(ISSUER) is None
    await bench.step()
    assert (await bench.get(order_id)).state is OrderState.ISSUED
    assert bench.events.kinds() == ["circuit_open"]  # that it is closed has yet to be seen
    bench.clock.turn(seconds=60)
    await bench.step_conditions()
    assert bench.events.kinds() == ["circuit_open", "circuit_closed"]
    assert await bench.condition() is None


@pytest.mark.parametrize(
    "failure", [NO_ENTRY, errors.Misconfigured("no such file"), errors.Unavailable("refused")]
)
async def test_a_probe_that_fails_keeps_it_open_without_an_alarm(
    database: Database, failure: errors.IssuerError
) -> None:
    bench = await bench_of(database, [NO_ENTRY], checks=[failure])
    await bench.order()
    await bench.step()
    for _ in range(5):
        bench.clock.turn(seconds=60)
        await bench.step_conditions()
    assert bench.ca.books.count("check") == 5
    assert await state_of(bench) is ConditionState.OPEN
    assert bench.events.kinds() == ["circuit_open"]
    shown = bench.catalog.condition(ISSUER)
    assert shown is not None
    is_about_it = not isinstance(failure, errors.Unavailable)
    assert shown.problem == (failure.detail if is_about_it else NO_ENTRY.detail)


async def test_a_ca_that_only_passes_its_test_is_tried_ever_less_often_and_silently(
    database: Database,
) -> None:
    bench = await bench_of(database, [NO_ENTRY])
    await bench.order()
    waits = []
    for _ in range(9):
        await bench.step()
        condition = await bench.condition()
        assert condition is not None
        assert condition.state is ConditionState.OPEN
        assert condition.due_at is not None
        waits.append((condition.due_at - bench.clock.ms) / 1000)
        bench.clock.ms = condition.due_at
        await bench.step_conditions()
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert bench.events.kinds() == ["circuit_open"]
    assert bench.ca.books.count("submit") == 9


async def test_changed_settings_close_it_at_once(database: Database) -> None:
    bench = await bench_of(database, [NO_ENTRY, "issue"])
    order_id = await bench.order()
    await bench.step()
    await bench.conditions.look()
    assert await state_of(bench) is ConditionState.OPEN
    await change_settings(bench)
    await bench.conditions.look()
    assert bench.events.kinds() == ["circuit_open", "circuit_closed"]
    await bench.step()  # woken, though its minute is not over
    assert (await bench.get(order_id)).state is OrderState.ISSUED


async def test_two_processes_close_it_once(database: Database) -> None:
    bench = await bench_of(database, [NO_ENTRY, "issue"])
    other = await make_bench(database, bench.ca)
    await bench.order()
    await bench.step()
    await other.catalog.refresh()
    await change_settings(bench)
    await other.catalog.refresh()
    await asyncio.gather(bench.conditions.look(), other.conditions.look())
    assert sorted([*bench.events.kinds(), *other.events.kinds()]) == [
        "circuit_closed",
        "circuit_open",
    ]


@pytest.mark.parametrize("change", ["content", "gone", "replaced"])
async def test_a_changed_file_closes_it(database: Database, tmp_path: Path, change: str) -> None:
    pair = tmp_path / "client.pem"
    pair.write_text("first")
    bench = await bench_of(database, [BAD_PAIR, "issue"], settings={"cert_path": str(pair)})
    order_id = await bench.order()
    await bench.step()
    await bench.conditions.look()
    assert await state_of(bench) is ConditionState.OPEN
    if change == "content":
        pair.write_text("second, and longer")
    elif change == "gone":
        pair.unlink()
    else:
        (tmp_path / "new").write_text("other")
        (tmp_path / "new").replace(pair)
    await bench.conditions.look()
    assert bench.events.kinds() == ["circuit_open", "circuit_closed"]
    (order,) = await bench.step()
    assert (order.id, order.state) == (order_id, OrderState.ISSUED)


async def test_another_process_sees_the_file_change_on_its_own_machine(
    database: Database, tmp_path: Path
) -> None:
    pair = tmp_path / "client.pem"
    pair.write_text("first")
    bench = await bench_of(database, [BAD_PAIR, "issue"], settings={"cert_path": str(pair)})
    other = await make_bench(database, bench.ca)
    await bench.order()
    await bench.step()
    await other.catalog.refresh()
    await other.conditions.look()
    assert other.events.kinds() == []
    pair.write_text("second, and longer")
    await other.conditions.look()
    assert other.events.kinds() == ["circuit_closed"]


async def test_a_half_rotated_pair_costs_no_order_and_raises_no_alarm_when_it_was_whole_again(
    database: Database, tmp_path: Path
) -> None:
    """The second file was moved while the call that met the first one was under way."""
    pair = tmp_path / "client.pem"
    pair.write_text("first")

    bench = await bench_of(database, ["issue"], settings={"cert_path": str(pair)})
    original = bench.ca.issue

    async def meet(request: Any) -> Any:
        if pair.read_text() == "first":
            pair.write_text("second, and longer")
            raise BAD_PAIR
        return await original(request)

    bench.ca.issue = meet  # type: ignore[method-assign] # a file that changes meanwhile
    await bench.order()
    (order,) = await bench.step()
    assert (order.state, order.attempts) == (OrderState.READY, 0)
    assert bench.events.kinds() == []
    bench.clock.turn(seconds=1)
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED


@pytest.mark.parametrize("knows", [True, False])
async def test_credentials_that_were_changed_meanwhile_say_nothing_about_the_new_ones(
    database: Database, knows: bool
) -> None:
    """A login with the old secret is refused after the new one was stored, here or elsewhere."""
    bench = await bench_of(database, ["issue"])
    original = bench.ca.issue

    async def refuse_the_old(request: Any) -> Any:
        bench.ca.issue = original  # type: ignore[method-assign] # the new secret works
        await change_settings(bench, refresh=knows)
        raise NO_ENTRY

    bench.ca.issue = refuse_the_old  # type: ignore[method-assign] # as above
    await bench.order()
    (order,) = await bench.step()
    assert (order.state, order.attempts) == (OrderState.READY, 0)
    assert await bench.condition() is None
    assert bench.events.kinds() == []
    bench.clock.turn(seconds=1)
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED


async def test_failures_with_new_settings_are_a_new_alarm(database: Database) -> None:
    bench = await bench_of(database, [NO_ENTRY])
    await bench.order()
    await bench.step()
    await change_settings(bench)
    await bench.conditions.look()
    await bench.step()
    assert bench.events.kinds() == ["circuit_open", "circuit_closed", "circuit_open"]


async def test_a_successful_test_by_a_person_closes_it(database: Database) -> None:
    bench = await bench_of(database, [NO_ENTRY, "issue"])
    await bench.order()
    await bench.step()
    await bench.conditions.close(ISSUER)
    assert bench.events.kinds() == ["circuit_open", "circuit_closed"]
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED
    await bench.conditions.close(ISSUER)  # there is none: nothing happens
    assert bench.events.kinds() == ["circuit_open", "circuit_closed"]


async def test_the_watch_closes_it_without_anybody_calling(database: Database) -> None:
    bench = await bench_of(database, [NO_ENTRY])
    await bench.order()
    await bench.step()
    stopping = asyncio.Event()
    watching = asyncio.create_task(bench.conditions.watch(stopping))
    await change_settings(bench)
    for _ in range(200):
        if await bench.condition() is None:
            break
        await asyncio.sleep(0.02)
    assert await bench.condition() is None
    stopping.set()
    await asyncio.wait_for(watching, 5)


async def test_an_exhausted_account_is_one_alarm_and_one_question_an_hour(
    database: Database,
) -> None:
    bench = await bench_of(database, [EMPTY])
    for number in range(10):
        await bench.order(f"n{number}.example.org")
    await bench.step()
    assert bench.ca.books.count("submit") == 1
    assert bench.events.kinds() == ["quota_exhausted"]
    shown = bench.catalog.condition(ISSUER)
    assert shown is not None
    assert shown.due_at is not None
    assert shown.due_at == bench.clock.ms + HOUR * 1000
    bench.clock.turn(seconds=HOUR - 1)
    assert await bench.step() == []  # all were postponed behind the hour
    for _ in range(5):
        bench.clock.turn(seconds=HOUR + 301)
        await bench.step_conditions()
        await bench.step()
    assert bench.ca.books.count("submit") <= 6
    assert bench.events.kinds() == ["quota_exhausted"]


async def test_an_account_that_was_filled_up_goes_on_after_the_hour(database: Database) -> None:
    bench = await bench_of(database, [EMPTY, "issue"])
    orders = [await bench.order(f"n{number}.example.org") for number in range(4)]
    await bench.step()
    bench.clock.turn(seconds=HOUR + 301)
    await bench.step_conditions()
    assert bench.conditions.standing(ISSUER) is None
    await bench.step()
    for order_id in orders:
        order = await bench.get(order_id)
        assert order.state is OrderState.ISSUED
        assert order.attempts == 1
    bench.clock.turn(seconds=HOUR)
    await bench.step_conditions()
    assert await bench.condition() is None


async def test_orders_come_apart_behind_the_hour(database: Database) -> None:
    bench = await bench_of(database, [EMPTY])
    orders = [await bench.order(f"n{number}.example.org") for number in range(8)]
    await bench.step()
    dues = {(await bench.get(order_id)).due_at for order_id in orders}
    assert len(dues) > 4
    for due in dues:
        assert due is not None
        assert HOUR <= (due - bench.clock.ms) / 1000 <= HOUR + 300


async def test_a_person_who_filled_the_account_up_need_not_wait(database: Database) -> None:
    bench = await bench_of(database, [EMPTY, "issue"])
    orders = [await bench.order(f"n{number}.example.org") for number in range(3)]
    await bench.step()
    await bench.conditions.close(ISSUER)
    await bench.step()
    for order_id in orders:
        assert (await bench.get(order_id)).state is OrderState.ISSUED
    assert "issuer.quota_ended" in await bench.audit_actions()


async def test_polls_go_on_while_the_account_is_exhausted(database: Database) -> None:
    bench = await bench_of(database, ["pending", EMPTY, "issue"])
    pending = await bench.order("first.example.org")
    await bench.step()
    await bench.order("second.example.org")
    rows = [row for row in await bench.claim() if row.id != pending]
    from certctl.storage.orders import load_order

    await bench.advance(load_order(rows[0]))
    assert await state_of(bench) is ConditionState.QUOTA
    bench.clock.turn(seconds=10)
    (order,) = await bench.step()
    assert (order.id, order.state) == (pending, OrderState.ISSUED)


async def test_a_circuit_that_opens_takes_the_quota_s_place(database: Database) -> None:
    bench = await bench_of(database, ["pending", EMPTY, NO_ENTRY])
    await bench.order("first.example.org")
    await bench.step()
    await bench.order("second.example.org")
    bench.clock.turn(seconds=1)
    await bench.step()
    bench.clock.turn(seconds=10)
    await bench.step()
    assert await state_of(bench) is ConditionState.OPEN
    assert bench.events.kinds() == ["quota_exhausted", "circuit_open"]


async def test_waits_follow_the_scale(database: Database) -> None:
    ca = BenchCA(database.clock, [NO_ENTRY])
    bench = await make_bench(database, ca, schedule=PollSchedule(scale=0.1))
    order_id = await bench.order()
    await bench.step()
    condition = await bench.condition()
    assert condition is not None
    assert condition.due_at == bench.clock.ms + 6000
    assert (await bench.get(order_id)).due_at == bench.clock.ms + 6000


async def test_an_order_of_before_is_not_taken_for_one_after(database: Database) -> None:
    """A condition that is ended by what an old look saw is the one that was seen, or none."""
    bench = await bench_of(database, [NO_ENTRY])
    await bench.order()
    await bench.step()
    seen = bench.catalog.condition(ISSUER)
    assert seen is not None
    await bench.conditions.close(ISSUER)
    bench.clock.turn(seconds=5)
    await bench.step()
    await bench.conditions._end(replace(seen), "too late")
    assert await state_of(bench) is ConditionState.OPEN


async def test_a_pending_order_is_not_asked_about_while_the_circuit_is_open(
    database: Database,
) -> None:
    bench = await bench_of(database, ["pending", NO_ENTRY])
    pending = await bench.order("first.example.org")
    await bench.step()
    await bench.order("second.example.org")
    await bench.step()
    assert await state_of(bench) is ConditionState.OPEN
    bench.clock.turn(seconds=10)
    (order,) = await bench.step()
    assert (order.id, order.state) == (pending, OrderState.PENDING)
    assert bench.ca.books.count("poll") == 0
    assert order.due_at == bench.clock.ms + 60_000


async def test_the_end_of_a_quota_wakes_nothing_but_what_waited_for_it(database: Database) -> None:
    bench = await bench_of(database, ["pending", EMPTY, "issue"])
    bench.ca.poll_max_wait = 0.0  # parked at once
    pending = await bench.order("first.example.org")
    await bench.step()
    waiting = await bench.order("second.example.org")
    await bench.step()
    due = (await bench.get(pending)).due_at
    await bench.conditions.close(ISSUER)
    assert (await bench.get(pending)).due_at == due
    (order,) = await bench.step()
    assert (order.id, order.state) == (waiting, OrderState.ISSUED)


@pytest.mark.parametrize("error", [EMPTY, NO_ENTRY])
async def test_a_process_that_has_not_heard_of_the_end_puts_no_order_off(
    database: Database, error: errors.IssuerError
) -> None:
    first = await bench_of(database, [error])
    order_id = await first.order()
    await first.step()
    second = await bench_of(database, ["issue"])
    await first.conditions.close(ISSUER)
    await second.step()
    second.clock.turn(seconds=1)
    await second.catalog.refresh()
    await second.step()
    assert (await second.get(order_id)).state is OrderState.ISSUED
