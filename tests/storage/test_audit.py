"""The audit chains: whatever is done to the rows shows."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, text, update

from certctl.domain.request_ids import current_request_id
from certctl.storage import audit_verification
from certctl.storage.audit import encode_event, list_events, verify
from certctl.storage.database import Database, open_database
from certctl.storage.macs import EncodedEvent, Head, encode_event_at, head_mac
from certctl.storage.tables import audit_chains, audit_events
from tests.storage.samples import sample_event

if TYPE_CHECKING:
    from sqlalchemy import Executable

    from certctl.storage.audit import AuditReport, StoredEvent
    from certctl.storage.sealing import Keyring
    from tests.support.clock import TurnableClock
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

EVENTS = 10


async def report(database: Database) -> AuditReport:
    return await database.read(lambda c: verify(c, database.audit_key))


async def problems(database: Database) -> str:
    """All problems as one text, without the name of the only chain."""
    chain_id = await only_chain(database, None)
    return "; ".join((await report(database)).problems).replace(f"chain {chain_id}: ", "")


async def only_chain(database: Database, default: str | None = "?") -> str:
    def find(connection: Any) -> str:
        return str(connection.execute(select(audit_events.c.chain_id)).scalars().first() or default)

    return await database.read(find)


@pytest.fixture
async def filled(database: Database) -> Database:
    """A chain of an opening and ten events (seq 1 to 11), written one by one and together."""
    for number in range(EVENTS // 2):
        await database.append([], [sample_event(number)])
    await database.append([], [sample_event(number) for number in range(EVENTS // 2, EVENTS)])
    return database


async def tamper(database: Database, *statements: Executable) -> None:
    def write(transaction: Any) -> None:
        for statement in statements:
            transaction.execute(statement)

    await database.write(write)


def event_at(seq: int) -> Any:
    return audit_events.c.seq == seq


async def test_an_untouched_chain_has_no_problems(filled: Database) -> None:
    found = await report(filled)
    assert (found.chains, found.events, found.problems) == (1, EVENTS + 1, [])


async def test_without_events_there_is_no_chain(database: Database) -> None:
    await database.write(lambda _: None)
    assert (await report(database)).chains == 0


async def test_another_key_verifies_nothing(filled: Database) -> None:
    found = await filled.read(lambda c: verify(c, b"x" * 32))
    assert len(found.problems) == EVENTS + 2  # each event, and the chain's row


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", 1),
        ("actor", "key-b"),
        ("action", "certificate.revoked"),
        ("object_type", "order"),
        ("object_id", "cert-77"),
        ("detail", "{}"),
        ("request_id", "another-request"),
    ],
)
async def test_an_altered_field(filled: Database, field: str, value: object) -> None:
    await tamper(filled, update(audit_events).where(event_at(5)).values({field: value}))
    assert await problems(filled) == "event 5 was altered, moved or put in"


async def test_an_altered_mac(filled: Database) -> None:
    await tamper(filled, update(audit_events).where(event_at(5)).values(mac=b"\x00" * 32))
    assert "event 5 was altered" in await problems(filled)


@pytest.mark.parametrize(
    ("seqs", "words"),
    [
        ([1], "event 1 is missing"),
        ([5], "event 5 is missing"),
        ([5, 6, 7], "events 5 to 7 are missing"),
        ([EVENTS + 1], f"event {EVENTS + 1} is missing"),
        (list(range(1, EVENTS + 2)), f"events 1 to {EVENTS + 1} are missing"),
    ],
)
async def test_deleted_events(filled: Database, seqs: list[int], words: str) -> None:
    chain_id = await only_chain(filled)
    await tamper(filled, delete(audit_events).where(audit_events.c.seq.in_(seqs)))
    assert (await report(filled)).problems == [f"chain {chain_id}: {words}"]


async def test_a_gap_that_was_closed(filled: Database) -> None:
    """An event is removed and the later ones renumbered."""
    renumber = [
        update(audit_events).where(event_at(seq)).values(seq=seq - 1)
        for seq in range(6, EVENTS + 2)
    ]
    await tamper(filled, delete(audit_events).where(event_at(5)), *renumber)
    found = await problems(filled)
    assert "event 5 was altered, moved or put in" in found
    assert f"event {EVENTS + 1} is missing" in found


async def test_a_cut_tail_with_an_edited_head(filled: Database) -> None:
    last = await filled.read(
        lambda c: c.execute(select(audit_events.c.mac).where(event_at(8))).scalar_one()
    )
    await tamper(
        filled,
        delete(audit_events).where(audit_events.c.seq > 8),
        update(audit_chains).values(last_seq=8, last_mac=last),
    )
    assert await problems(filled) == "the row that holds its beginning and end was altered"


async def test_reordered_events(filled: Database) -> None:
    await tamper(
        filled,
        update(audit_events).where(event_at(4)).values(seq=99),
        update(audit_events).where(event_at(5)).values(seq=4),
        update(audit_events).where(event_at(99)).values(seq=5),
    )
    found = await problems(filled)
    assert "event 4 was altered, moved or put in" in found
    assert "event 5 was altered, moved or put in" in found


async def test_an_event_put_in_at_the_end(filled: Database) -> None:
    chain_id = await only_chain(filled)
    row = {"chain_id": chain_id, "seq": EVENTS + 2, "mac": b"\x00" * 32}
    event = encode_event(sample_event())._asdict()
    await tamper(filled, insert(audit_events).values(**row, **event))
    found = await problems(filled)
    assert f"event {EVENTS + 2} was altered, moved or put in" in found
    assert f"beyond its recorded end at {EVENTS + 1}" in found


async def test_an_event_put_in_before_the_beginning(filled: Database) -> None:
    chain_id = await only_chain(filled)
    row = {"chain_id": chain_id, "seq": 0, "mac": b"\x00" * 32}
    await tamper(
        filled, insert(audit_events).values(**row, **encode_event(sample_event())._asdict())
    )
    assert await problems(filled) == "event 0 is before the beginning of the chain"


@pytest.mark.parametrize(
    "values",
    [
        {"base_seq": 3},
        {"base_mac": b"\x00" * 32},
        {"last_seq": 5},
        {"last_mac": b"\x00" * 32},
        {"head_mac": b"\x00" * 32},
    ],
)
async def test_an_edited_head(filled: Database, values: dict[str, Any]) -> None:
    await tamper(filled, update(audit_chains).values(values))
    assert "the row that holds its beginning and end was altered" in await problems(filled)


async def test_a_removed_head(filled: Database) -> None:
    await tamper(filled, delete(audit_chains))
    assert await problems(filled) == "the row that holds its beginning and end was removed"


async def test_many_problems_are_counted(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_verification, "MAX_PROBLEMS", 3)
    await tamper(filled, update(audit_events).values(actor="x"))
    found = (await report(filled)).problems
    assert len(found) == 4
    assert found[-1] == f"and {EVENTS + 1 - 3} more problems"


async def test_a_chain_goes_on_after_its_head_was_touched(filled: Database) -> None:
    """A new chain begins: the evidence stays, and nothing that follows is lost."""
    await tamper(filled, update(audit_chains).values(last_seq=5))
    await filled.append([], [sample_event(99)])
    found = await report(filled)
    assert found.chains == 2
    assert found.events == EVENTS + 3
    assert any("was altered" in problem for problem in found.problems)


async def test_retention_moves_the_base(filled: Database) -> None:
    key, chain_id = filled.audit_key, await only_chain(filled)

    def cut(transaction: Any) -> None:
        row = transaction.execute(select(audit_chains)).one()
        base = transaction.execute(select(audit_events.c.mac).where(event_at(4))).scalar_one()
        head = Head(chain_id, 4, base, row.last_seq, row.last_mac)
        transaction.execute(delete(audit_events).where(audit_events.c.seq <= 4))
        transaction.execute(
            update(audit_chains).values(base_seq=4, base_mac=base, head_mac=head_mac(key, head))
        )

    await filled.write(cut)
    assert (await report(filled)).problems == []


async def reopened(target: DatabaseTarget, clock: TurnableClock, keyring: Keyring) -> Database:
    clock.turn(seconds=1)
    return await open_database(
        url=target.url, data_dir=target.data_dir, clock=clock, keyring=keyring
    )


async def test_each_process_has_a_chain_and_a_missing_one_shows(
    filled: Database, database_target: DatabaseTarget, clock: TurnableClock, keyring: Keyring
) -> None:
    first = await only_chain(filled)
    openings = []
    for number in range(3):
        later = await reopened(database_target, clock, keyring)
        await later.append([], [sample_event(number)])
        events = await later.read(lambda c: list_events(c, limit=1, before=None))
        openings.append(events[0])
        await later.close()
    found = await report(filled)
    assert (found.chains, found.problems) == (4, [])
    # Each opening names what no earlier one has named as it is now: one chain, not all.
    assert [len(event.detail["chains"]) for event in openings] == [1, 1, 1]
    assert openings[0].detail == {"chains": {first: EVENTS + 1}}
    await tamper(
        filled,
        delete(audit_events).where(audit_events.c.chain_id == first),
        delete(audit_chains).where(audit_chains.c.id == first),
    )
    assert (await report(filled)).problems == [
        f"chain {first}: is missing altogether; chain {openings[0].chain_id} names it"
    ]


async def test_a_chain_put_back_to_an_earlier_state(
    filled: Database, database_target: DatabaseTarget, clock: TurnableClock, keyring: Keyring
) -> None:
    first = await only_chain(filled)
    earlier = await filled.read(lambda c: dict(c.execute(select(audit_chains)).mappings().one()))
    await filled.append([], [sample_event(99)])
    later = await reopened(database_target, clock, keyring)
    await later.append([], [sample_event()])
    await later.close()
    own = audit_events.c.chain_id == first
    await tamper(
        filled,
        delete(audit_events).where(own, audit_events.c.seq > EVENTS + 1),
        update(audit_chains).where(audit_chains.c.id == first).values(earlier),
    )
    (problem,) = (await report(filled)).problems
    assert f"ends with event {EVENTS + 1}, but reached event {EVENTS + 2}" in problem


def after(seen: list[StoredEvent]) -> tuple[int, str, int] | None:
    return (seen[-1].at, seen[-1].chain_id, seen[-1].seq) if seen else None


async def test_events_are_listed_newest_first(database: Database) -> None:
    for number in (3, 1, 2, 2):
        await database.append([], [replace(sample_event(number), detail={"n": [number, "ü\x00"]})])
    seen: list[StoredEvent] = []
    while page := await database.read(partial(list_events, limit=2, before=after(seen))):
        seen += page
    assert [event.at for event in seen[1:]] == [1003, 1002, 1002, 1001]
    assert seen[0].action == "audit.chain_opened"
    assert seen[1].detail == {"n": [3, "ü\x00"]}
    assert len({(event.chain_id, event.seq) for event in seen}) == 5


async def test_memory_stays_flat(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows arrive in small parts: the cursor never holds all of them."""
    monkeypatch.setattr(audit_verification, "_ROWS_AT_ONCE", 3)
    assert (await report(filled)).problems == []


texts = st.text(alphabet="0:1a", max_size=4)
numbers = st.integers(0, 12)
places = st.tuples(
    texts,
    numbers,
    st.builds(EncodedEvent, numbers, texts, texts, texts, texts, texts, st.none() | texts),
)


@given(places, places)
def test_the_encoding_is_unambiguous(
    one: tuple[str, int, EncodedEvent], other: tuple[str, int, EncodedEvent]
) -> None:
    assert (encode_event_at(*one) == encode_event_at(*other)) == (one == other)


def test_an_event_without_a_request_id_is_encoded_as_before_there_were_any() -> None:
    event = encode_event(sample_event(1))
    assert event.request_id is None
    assert encode_event_at("chain-1", 2, event) == (
        b'event:2:1001:7:chain-15:key-a18:certificate.issued11:certificate6:cert-17:{"n":1}'
    )


async def test_the_request_that_is_answered_is_stored_with_its_events(filled: Database) -> None:
    """Whether they are given as data or by a function, which runs in another thread."""
    context = current_request_id.set("request-1")
    try:
        await filled.append([], [sample_event(50)])
        await filled.write(lambda transaction: transaction.audit(sample_event(51)))
    finally:
        current_request_id.reset(context)
    await filled.write(lambda transaction: transaction.audit(sample_event(52)))
    events = await filled.read(lambda c: list_events(c, limit=50, before=None))
    of_it = sorted(event.detail["n"] for event in events if event.request_id == "request-1")
    assert of_it == [50, 51]
    assert {event.request_id for event in events} == {None, "request-1"}
    assert (await report(filled)).problems == []
    removed = update(audit_events).where(event_at(EVENTS + 2)).values(request_id=None)
    await tamper(filled, removed)
    assert await problems(filled) == f"event {EVENTS + 2} was altered, moved or put in"


def test_fields_cannot_flow_into_each_other() -> None:
    first = EncodedEvent(1, "a", "bc", "", "", "")
    assert encode_event_at("c", 1, first) != encode_event_at(
        "c", 1, first._replace(actor="ab", action="c")
    )


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode_event(replace(sample_event(), detail={"x": float("nan")}))


async def test_the_key_is_not_in_the_database(filled: Database) -> None:
    key = filled.audit_key
    rows = await filled.read(lambda c: c.execute(text("SELECT * FROM audit_chains")).all())
    assert all(key not in value for row in rows for value in row if isinstance(value, bytes))
