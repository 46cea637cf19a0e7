"""What every event says outside."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.events import LONGEST_DETAIL, MEANINGS, Event, EventKind

AT = 1_767_225_600_123  # 2026-01-01T00:00:00.123Z


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_says_what_to_do_under_a_name_of_its_own(kind: EventKind) -> None:
    meaning = MEANINGS[kind]
    assert meaning.type.startswith("certctl.")
    assert meaning.when
    assert meaning.hint
    assert [other.type for other in MEANINGS.values()].count(meaning.type) == 1


def test_the_body_is_what_standard_webhooks_ask_for() -> None:
    event = Event(
        EventKind.ORDER_UNCERTAIN, AT, "iss-a", "no answer", order_id="ord-1", certificate_id="c-1"
    )
    assert json.loads(event.body()) == {
        "type": "certctl.order.uncertain",
        "timestamp": "2026-01-01T00:00:00.123Z",
        "data": {
            "issuer_id": "iss-a",
            "order_id": "ord-1",
            "certificate_id": "c-1",
            "severity": "error",
            "detail": "no answer",
            "hint": MEANINGS[EventKind.ORDER_UNCERTAIN].hint,
        },
    }


@given(st.text(), st.sampled_from(EventKind), st.integers(0, 4_000_000_000_000))
def test_any_words_of_a_ca_come_through_as_one_line_of_ascii(
    words: str, kind: EventKind, at_ms: int
) -> None:
    body = Event(kind, at_ms, "iss-a", words).body()
    assert body.isascii()
    assert body.isprintable()
    assert json.loads(body)["data"]["detail"] == words[:LONGEST_DETAIL]


def test_a_ca_that_never_ends_is_cut_off() -> None:
    body = Event(EventKind.ATTEMPT_FAILED, AT, "iss-a", "x" * 1_000_000).body()
    assert len(body) < 2 * LONGEST_DETAIL
