"""The audit log as a list: every filter finds what fits, page by page, by an index."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from certctl.domain.audit import AuditEvent
from certctl.storage.audit_list import ALL_EVENTS, EventFilter, StoredEvent, list_events

if TYPE_CHECKING:
    from certctl.storage.database import Connection, Database

pytestmark = pytest.mark.anyio

KINDS = (
    ("certificate.issued", "certificate"),
    ("certificate.revoked", "certificate"),
    ("order.pending", "certificate"),
    ("ocsp_responder.certified", "issuer"),
    ("issuer.created", "issuer"),
)
ACTORS = ("admin", "key-a", "system")


def some_events() -> list[AuditEvent]:
    """Every kind by every actor, three times, many at one moment."""
    return [
        AuditEvent(1_000 + number // 4, actor, action, kind, f"{kind}-{number % 5}", {"n": number})
        for number, (_, (action, kind), actor) in enumerate(product(range(3), KINDS, ACTORS))
    ]


async def page_through(database: Database, wanted: EventFilter, size: int = 4) -> list[StoredEvent]:
    """Everything a filter finds, in pages."""
    seen: list[StoredEvent] = []
    while True:
        before = (seen[-1].at, seen[-1].chain_id, seen[-1].seq) if seen else None
        page = await database.read(partial(list_events, limit=size, before=before, wanted=wanted))
        seen += page
        if len(page) < size:
            return seen


def fits(event: StoredEvent, wanted: EventFilter) -> bool:
    """The filter in other words."""
    return (
        wanted.actor in {None, event.actor}
        and (
            wanted.action in {None, event.action}
            or (
                (wanted.action or "").endswith(".") and event.action.startswith(wanted.action or "")
            )
        )
        and wanted.object_type in {None, event.object_type}
        and wanted.object_id in {None, event.object_id}
        and (wanted.not_before is None or event.at >= wanted.not_before)
        and (wanted.before is None or event.at < wanted.before)
    )


def maybe(*values: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


filters = st.builds(
    EventFilter,
    actor=maybe(*ACTORS, "key-b"),
    action=maybe(*[action for action, _ in KINDS], "certificate.", "order.", "o", "none.", "."),
    object_type=maybe("certificate", "issuer", "audit_chain", "nothing"),
    object_id=maybe("certificate-1", "issuer-3", "nothing"),
    not_before=maybe(0, 1_003, 1_020),
    before=maybe(1_000, 1_007, 2_000),
)


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=150)
@given(wanted=filters)
async def test_a_filter_finds_what_fits_newest_first(filled: Database, wanted: EventFilter) -> None:
    everything = await page_through(filled, ALL_EVENTS, 500)
    assert len(everything) == 46
    assert await page_through(filled, wanted) == [e for e in everything if fits(e, wanted)]


@pytest.fixture
async def filled(database: Database) -> Database:
    await database.append([], some_events())
    return database


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (ALL_EVENTS, "ix_audit_events_at"),
        (EventFilter(not_before=1_005, before=1_008), "ix_audit_events_at"),
        (EventFilter(object_id="certificate-1"), "ix_audit_events_object_id"),
        (
            EventFilter(object_id="certificate-1", action="certificate.", actor="admin"),
            "ix_audit_events_object_id",
        ),
        (EventFilter(actor="admin"), "ix_audit_events_actor"),
        (EventFilter(action="certificate.revoked"), "ix_audit_events_action"),
        (EventFilter(action="certificate.", actor="system"), "ix_audit_events_actor"),
        (EventFilter(object_type="issuer"), "ix_audit_events_action"),
    ],
)
async def test_no_filter_scans(filled: Database, wanted: EventFilter, index: str) -> None:
    """The plan of every statement that a page takes."""
    plans = await filled.read(partial(plans_of, wanted))
    steps = [line for line in plans if "SEARCH audit" in line or " on audit_events" in line]
    assert steps
    for step in steps:
        assert f"{index} " in f"{step} "
        assert "SEARCH" in step or "Index" in step
    assert not any("SCAN audit" in line for line in plans)


def plans_of(wanted: EventFilter, connection: Connection) -> list[str]:
    """The lines of the plans; PostgreSQL, which would scan so few rows, has to do without."""
    if connection.dialect.name != "sqlite":
        for kind in ("seqscan", "bitmapscan", "sort"):
            connection.exec_driver_sql(f"SET LOCAL enable_{kind} = off")
    statements: list[tuple[str, Any]] = []

    def keep(_c: Any, _cur: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", keep)
    list_events(connection, limit=5, before=None, wanted=wanted)
    event.remove(connection, "before_cursor_execute", keep)
    lines: list[str] = []
    for statement, parameters in statements:
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        rows = connection.exec_driver_sql(explain + statement, parameters).all()
        lines += [str(row[-1]).strip() for row in rows]
    return lines
