"""One order, step by step: what each answer of its CA makes of it, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from certctl.connectors import errors
from certctl.domain.errors import Unavailable
from certctl.domain.orders import OrderState, Recovery
from certctl.domain.polling import PollSchedule
from certctl.lifecycle import recording
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.calls import call
from certctl.lifecycle.resolution import Finding
from certctl.storage.leases import TakenOver
from certctl.storage.orders import MOST_ATTEMPTS, AttemptRecord, add_attempt, load_order
from tests.support.clock import TurnableClock
from tests.support.workbench import ISSUER, LEASE_MS, Bench, BenchCA, make_bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.storage.database import Database, Transaction

pytestmark = pytest.mark.anyio

HOUR = 3600.0
UNSURE = (errors.NoAnswer("reset"), errors.BadAnswer("half a document"))


@pytest.fixture
def clock() -> TurnableClock:
    """Stands still between the steps."""
    return TurnableClock()


async def bench_of(
    database: Database, script: list[Any], recovery: Recovery = Recovery.ASK, **further: Any
) -> tuple[Bench, str]:
    bench = await make_bench(database, BenchCA(database.clock, script, recovery, **further))
    return bench, await bench.order()


async def until_due(bench: Bench, order_id: str) -> None:
    due = (await bench.get(order_id)).due_at
    assert due is not None
    bench.clock.ms = max(bench.clock.ms, due)


async def test_every_attempt_is_kept_with_the_ca_s_words_and_code(database: Database) -> None:
    refused = errors.Refused("domain not validated", code="E-17")
    bench, order_id = await bench_of(
        database, [errors.RateLimited("slow down"), "pending", refused]
    )
    for _ in range(3):
        await until_due(bench, order_id)
        await bench.step()
    history = await bench.history(order_id)
    assert [(a.number, a.action, a.outcome, a.code, a.detail) for a in history] == [
        (1, "submit", "rate_limited", None, "slow down"),
        (2, "submit", "pending", None, None),
        (3, "poll", "refused", "E-17", "domain not validated"),
    ]
    assert (await bench.get(order_id)).state is OrderState.REJECTED
    assert bench.events.kinds() == ["attempt_failed"]


async def test_the_history_of_a_stuck_order_is_bounded(database: Database) -> None:
    bench, order_id = await bench_of(database, ["pending"])

    def write(transaction: Transaction) -> None:
        for number in range(MOST_ATTEMPTS + 5):
            add_attempt(
                transaction, order_id, AttemptRecord("poll", "pending", f"{number}", number, 0)
            )

    await database.write(write)
    history = await bench.history(order_id)
    assert len(history) == MOST_ATTEMPTS
    assert (history[0].detail, history[-1].detail) == ("0", f"{MOST_ATTEMPTS + 4}")


async def test_a_burst_is_as_long_as_the_issuer_says_and_then_the_order_is_parked(
    database: Database,
) -> None:
    bench, order_id = await bench_of(database, ["pending"])
    bench.ca.poll_max_wait = 50.0
    waits = []
    for _ in range(6):
        await until_due(bench, order_id)
        before = bench.clock.ms
        (order,) = await bench.step()
        assert order.due_at is not None
        waits.append((order.due_at - before) / 1000)
    for wait, step in zip(waits, [5, 15, 45, 3600, 3600, 3600], strict=True):
        assert 0.8 * step <= wait <= 1.2 * step


async def test_what_went_before_the_ca_s_yes_does_not_slow_the_first_polls(
    database: Database,
) -> None:
    bench, order_id = await bench_of(database, [*[errors.RateLimited("later")] * 8, "pending"])
    for _ in range(9):
        await until_due(bench, order_id)
        await bench.step()
    order = await bench.get(order_id)
    assert order.state is OrderState.PENDING
    assert order.due_at is not None
    assert order.due_at - bench.clock.ms <= 6000


async def test_a_pending_order_expires_when_its_time_is_over_and_not_an_hour_later(
    database: Database,
) -> None:
    schedule = PollSchedule(order_max_age=2.5 * HOUR)
    ca = BenchCA(database.clock, ["pending"])
    bench = await make_bench(database, ca, schedule=schedule)
    order_id = await bench.order()
    begun = bench.clock.ms
    while (await bench.get(order_id)).state is not OrderState.EXPIRED:
        await until_due(bench, order_id)
        await bench.step()
    assert bench.clock.ms - begun == 2.5 * HOUR * 1000
    assert bench.events.kinds() == ["order_expired"]
    assert (await bench.get(order_id)).problem == "the CA did not finish the order in time"


@pytest.mark.parametrize("answers_again", [False, True])
async def test_an_order_that_the_ca_does_not_know_for_an_hour_is_a_person_s(
    database: Database, answers_again: bool
) -> None:
    bench, order_id = await bench_of(database, ["pending", errors.UnknownOrder("404")])
    await bench.step()
    await until_due(bench, order_id)
    (order,) = await bench.step()
    assert order.state is OrderState.PENDING
    since = bench.clock.ms
    assert order.unknown_since == since
    if answers_again:
        bench.ca.script = ["pending"]
        await until_due(bench, order_id)
        (order,) = await bench.step()
        assert order.unknown_since is None
        bench.ca.script = [errors.UnknownOrder("404")]
        since = bench.clock.ms
    while order.state is OrderState.PENDING:
        await until_due(bench, order_id)
        (order,) = await bench.step()
    assert order.state is OrderState.UNCERTAIN
    assert bench.clock.ms - since >= HOUR * 1000
    assert bench.clock.ms - since <= HOUR * 1200
    assert bench.events.kinds() == ["order_uncertain"]


async def test_five_polls_in_a_row_that_tell_nothing_are_told_once(database: Database) -> None:
    script = ["pending", *UNSURE, *UNSURE, errors.Unavailable("refused"), *UNSURE, "pending"]
    bench, order_id = await bench_of(database, script)
    for _ in range(8):
        await until_due(bench, order_id)
        await bench.step()
    assert bench.events.kinds() == ["attempt_failed"]
    assert (await bench.get(order_id)).failures == 7
    await until_due(bench, order_id)
    await bench.step()
    assert (await bench.get(order_id)).failures == 0


async def test_a_submission_that_fails_is_told_at_once_and_then_every_fifth(
    database: Database,
) -> None:
    bench, order_id = await bench_of(database, [errors.Unavailable("connection refused")])
    for count in range(1, 7):
        await until_due(bench, order_id)
        await bench.step()
        assert len(bench.events.kinds()) == (1 if count < 5 else 2)
    assert (await bench.get(order_id)).state is OrderState.READY


@pytest.mark.parametrize("error", UNSURE)
async def test_a_ca_that_only_repeats_itself_for_a_while_is_not_asked_after_it(
    database: Database, error: errors.IssuerError
) -> None:
    bench, order_id = await bench_of(database, [error], Recovery.IDEMPOTENT, window=300.0)
    begun = bench.clock.ms
    order = await bench.get(order_id)
    while order.state is OrderState.READY:
        await until_due(bench, order_id)
        assert bench.clock.ms - begun < 300_000
        (order,) = await bench.step()
    assert order.state is OrderState.UNCERTAIN
    assert bench.ca.books.count("submit") > 5
    assert bench.events.kinds()[-1] == "order_uncertain"


async def test_the_window_counts_while_nobody_works(database: Database) -> None:
    script = [errors.NoAnswer("reset"), "issue"]
    bench, _ = await bench_of(database, script, Recovery.IDEMPOTENT, window=300.0)
    await bench.step()
    bench.clock.turn(seconds=301)
    (order,) = await bench.step()
    assert order.state is OrderState.UNCERTAIN
    assert bench.ca.books.count("submit") == 1


@pytest.mark.parametrize(("seconds", "state"), [(299, "ready"), (301, "uncertain")])
async def test_the_window_counts_while_the_process_was_dead(
    database: Database, seconds: float, state: str
) -> None:
    bench, order_id = await bench_of(database, ["hang", "issue"], Recovery.IDEMPOTENT, window=300.0)
    await die_while_asking(bench)
    bench.clock.turn(seconds=seconds)
    (order,) = await bench.step()
    assert order.state.value == state
    assert await bench.outcomes(order_id) == [("submit", "lost")]


async def die_while_asking(bench: Bench) -> None:
    """Send an order and vanish before there is an answer."""
    import asyncio

    task = asyncio.create_task(bench.step())
    await asyncio.wait_for(bench.ca.called.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bench.free_leases()


@pytest.mark.parametrize(
    ("recovery", "states", "asked"),
    [
        (Recovery.IDEMPOTENT, ["ready", "issued"], ["submit", "submit"]),
        (Recovery.REPEATABLE, ["ready", "issued"], ["submit", "submit"]),
        (Recovery.LOOKUP, ["issued"], ["submit", "lookup"]),
        (Recovery.ASK, ["uncertain"], ["submit"]),
    ],
)
async def test_a_death_between_sending_and_recording_by_class(
    database: Database, recovery: Recovery, states: list[str], asked: list[str]
) -> None:
    bench, order_id = await bench_of(database, ["hang", "issue"], recovery, lookups=["issue"])
    await die_while_asking(bench)
    assert (await bench.get(order_id)).state is OrderState.SUBMITTING
    assert [order.state.value for _ in states for order in await bench.step()] == states
    assert [action for action, _ in bench.ca.books.asked] == asked
    assert (await bench.outcomes(order_id))[0] == ("submit", "lost")


async def test_an_order_that_is_not_found_is_sent_again_only_when_the_first_has_settled(
    database: Database,
) -> None:
    script = [errors.NoAnswer("reset"), "issue"]
    bench, order_id = await bench_of(database, script, Recovery.LOOKUP, lookups=[None])
    await bench.step()
    begun = bench.clock.ms
    while (await bench.get(order_id)).state is OrderState.SUBMITTING:
        assert bench.ca.books.count("submit") == 1
        await until_due(bench, order_id)
        await bench.step()
    assert bench.clock.ms - begun >= 60_000
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED
    assert bench.ca.books.count("submit") == 2
    assert order.unknown_since is None


async def test_a_ca_that_lists_orders_late_is_given_the_time(database: Database) -> None:
    script = [errors.NoAnswer("reset"), "issue"]
    bench, order_id = await bench_of(
        database, script, Recovery.LOOKUP, lookups=[None], listing_delay=900.0
    )
    await bench.step()
    begun = bench.clock.ms
    while (await bench.get(order_id)).state is OrderState.SUBMITTING:
        await until_due(bench, order_id)
        await bench.step()
    assert bench.clock.ms - begun >= 900_000
    assert bench.ca.books.count("submit") == 1


@pytest.mark.parametrize("is_killed", [True, False])
async def test_a_look_up_knows_when_the_order_was_sent(
    database: Database, *, is_killed: bool
) -> None:
    first = "hang" if is_killed else errors.NoAnswer("reset")
    bench, order_id = await bench_of(database, [first, "issue"], Recovery.LOOKUP, lookups=[None])
    if is_killed:
        await die_while_asking(bench)
    else:
        await bench.step()
    stored = (await bench.get(order_id)).updated_at
    while (await bench.get(order_id)).state is not OrderState.ISSUED:
        bench.clock.ms += 7_000
        await bench.step()
    actions = [action for action, _ in bench.ca.books.asked]
    sent, *looked_for, again = bench.ca.books.submitted_at
    assert actions == ["submit", *["lookup"] * len(looked_for), "submit"]
    assert looked_for
    assert set(looked_for) == {sent}
    assert sent is not None
    assert sent <= stored
    assert again is not None
    assert again >= sent + 60_000


@pytest.mark.parametrize("answer", [errors.Refused("no such call"), "wrong-key"])
async def test_a_look_up_that_cannot_tell_asks_a_person(database: Database, answer: Any) -> None:
    script = [errors.NoAnswer("reset")]
    bench, order_id = await bench_of(database, script, Recovery.LOOKUP, lookups=[answer])
    await bench.step()
    await until_due(bench, order_id)
    (order,) = await bench.step()
    assert order.state is OrderState.UNCERTAIN


async def test_nothing_is_sent_once_the_lease_is_over(database: Database) -> None:
    bench, _ = await bench_of(database, ["issue"])
    claimed = await bench.claim_one()
    bench.clock.ms += LEASE_MS
    after = await bench.advance(claimed)
    assert after.state is OrderState.READY
    assert bench.ca.books.asked == []
    (order,) = await bench.step()
    assert order.state is OrderState.ISSUED


async def test_a_second_claim_fences_the_first(database: Database) -> None:
    bench, _ = await bench_of(database, ["issue"])
    first = await bench.claim_one()
    await bench.free_leases()
    await bench.claim_one()
    with pytest.raises(TakenOver):
        await bench.advance(first)
    assert bench.ca.books.asked == []


async def test_a_connector_that_breaks_is_a_bad_answer_and_shows_no_secret(
    database: Database,
) -> None:
    bench, order_id = await bench_of(database, [ValueError("key hunter22")])
    (order,) = await bench.step()
    assert order.state is OrderState.UNCERTAIN  # it may have been sent, and the class is `ask`
    assert await bench.outcomes(order_id) == [("submit", "bad_answer")]
    assert "hunter22" not in (order.problem or "")


async def test_a_connector_s_words_lose_the_issuer_s_secrets(database: Database) -> None:
    bench, _ = await bench_of(database, ["issue"])
    issuer = replace(bench.catalog.issuers()[0].record, secrets={"token": {"value": "hunter22"}})

    async def fail() -> None:
        raise errors.Unauthorized("no entry for hunter22")

    with pytest.raises(errors.Unauthorized) as caught:
        await call(issuer, fail())
    assert "hunter22" not in caught.value.detail


async def test_a_certificate_of_another_order_is_not_taken(database: Database) -> None:
    bench, first = await bench_of(database, ["issue"])
    await bench.step()
    version = (await bench.get(first)).version_id
    kept = bench.ca.kept[-1]
    second = await bench.order()
    bench.ca.script = [kept]
    (order,) = await bench.step()
    assert (order.id, order.state) == (second, OrderState.REJECTED)
    assert await bench.outcomes(second) == [("submit", "wrong_certificate")]
    assert (await bench.get(first)).version_id == version


async def test_a_pending_order_of_a_ca_without_polls_is_given_up_in_the_end(
    database: Database,
) -> None:
    ca = BenchCA(database.clock, ["pending"])
    ca.answer_without_reference = True
    bench = await make_bench(database, ca, schedule=PollSchedule(order_max_age=HOUR))
    order_id = await bench.order()
    order = await bench.get(order_id)
    while order.state is not OrderState.EXPIRED:
        await until_due(bench, order_id)
        (order,) = await bench.step()
    assert await bench.condition() is None  # that a type cannot poll is not the issuer's fault


@pytest.mark.parametrize("change", ["disabled", "archived"])
async def test_an_issuer_that_takes_no_orders_still_ends_those_it_has(
    database: Database, change: str
) -> None:
    from certctl.storage.issuers import lock_issuer, update_issuer

    bench, pending = await bench_of(database, ["pending", "issue"])
    await bench.step()
    waiting = await bench.order()

    def write(transaction: Transaction) -> None:
        record = lock_issuer(transaction, database.keyring, ISSUER)
        assert record is not None
        changed = (
            replace(record, enabled=False)
            if change == "disabled"
            else replace(record, archived_at=1)
        )
        update_issuer(transaction, database.keyring, changed)

    await database.write(write)
    await bench.catalog.refresh()
    await until_due(bench, pending)
    await bench.step()
    assert (await bench.get(pending)).state is OrderState.ISSUED
    order = await bench.get(waiting)
    assert (order.state, order.problem) == (OrderState.READY, f"the issuer is {change}")
    assert order.due_at == bench.clock.ms + 60_000
    assert bench.ca.books.count("submit") == 1


@pytest.mark.parametrize("stored", [False, True])
async def test_an_answer_in_hand_outlives_a_moment_without_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    """Whether or not the commit, of which nothing was heard, had been made."""
    monkeypatch.setattr(recording, "_STORE_AGAIN", (0.0, 0.0))
    bench, order_id = await bench_of(database, ["issue"])
    (row,) = await bench.claim()
    original = type(database).write
    failures = iter([False, True])  # the order is marked first

    async def fail_once(self: Database, fn: Callable[[Transaction], Any]) -> Any:
        fails = next(failures, False)
        if not fails or stored:
            value = await original(self, fn)
        if fails:
            raise Unavailable("database-unavailable", "away")
        return value

    monkeypatch.setattr(type(database), "write", fail_once)
    order = await bench.advance(load_order(row))
    assert order.state is OrderState.ISSUED
    assert await bench.get(order_id) == replace(order, lease_until=None)
    assert await bench.outcomes(order_id) == [("submit", "issued")]
    assert bench.ca.books.count("submit") == 1


async def test_an_order_that_a_person_found_at_the_ca_has_all_its_time_again(
    database: Database,
) -> None:
    bench, order_id = await bench_of(database, ["pending", errors.UnknownOrder("404")])
    await bench.step()
    while (await bench.get(order_id)).state is OrderState.PENDING:
        await until_due(bench, order_id)
        await bench.step()
    bench.clock.turn(days=40)
    bench.ca.script = ["pending"]
    found = Finding(OrderState.PENDING, {"id": order_id})
    await bench.its.resolution.resolve(SYSTEM, order_id, found)
    (order,) = await bench.step()
    assert order.state is OrderState.PENDING
    assert order.due_at is not None
    assert order.due_at - bench.clock.ms <= 6000  # a new burst


async def test_the_window_counts_while_the_issuer_is_broken(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, _ = await bench_of(database, ["hang", "issue"], Recovery.IDEMPOTENT, window=300.0)
    await die_while_asking(bench)
    issuer = bench.catalog.issuer(ISSUER)
    bench.clock.turn(seconds=290)
    with monkeypatch.context() as broken:
        nothing = replace(issuer, connector=None, problem="no such file")
        broken.setattr(bench.catalog, "issuer", lambda _issuer_id: nothing)
        (order,) = await bench.step()
    assert order.state is OrderState.SUBMITTING
    assert order.problem == "this issuer cannot issue: no such file"
    bench.clock.turn(seconds=60)
    (order,) = await bench.step()
    assert order.state is OrderState.UNCERTAIN
