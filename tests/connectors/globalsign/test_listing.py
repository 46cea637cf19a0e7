"""How an order whose answer was lost is looked for: when it begins, and in which lists it is."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.connectors.errors import BadAnswer
from certctl.connectors.globalsign import listing
from certctl.connectors.transport import Reply

DAY = 86_400
NOW = 1_780_000_000
MOMENTS = st.integers(NOW * 1000, (NOW + 60 * DAY) * 1000)


def reply(body: Any, **headers: str) -> Reply:
    return Reply(200, headers, json.dumps(body).encode())


@given(order_id=st.text(max_size=30), sent=MOMENTS, skew=st.integers(0, 100_000))
def test_an_order_begins_within_the_policys_skew_and_always_at_the_same_second(
    order_id: str, sent: int, skew: int
) -> None:
    begin = listing.begins_at(order_id, sent, skew)
    assert 0 <= sent // 1000 - begin <= min(skew // 2, listing.EARLIEST)
    assert begin == listing.begins_at(order_id, sent, skew)


def test_orders_of_one_moment_begin_apart() -> None:
    begins = {listing.begins_at(f"ord-{n}", NOW * 1000, 3600) for n in range(100)}
    assert len(begins) > 50


@given(sent=MOMENTS, waited=st.integers(0, 100 * DAY * 1000))
def test_the_lists_that_are_asked_for_cover_the_time_in_pieces_of_at_most_thirty_days(
    sent: int, waited: int
) -> None:
    windows = list(listing.windows(sent, sent + waited))
    assert windows[0][0] <= sent // 1000 - listing.EARLIEST
    assert windows[-1][1] >= (sent + waited) // 1000
    for begin, end in windows:
        assert 0 < end - begin <= 30 * DAY
    for (_, end), (begin, _) in pairwise(windows):
        assert begin == end


@given(
    begins=st.lists(st.integers(NOW, NOW + 100), max_size=20), expected=st.integers(NOW, NOW + 9)
)
def test_the_likeliest_come_first_and_each_once(begins: list[int], expected: int) -> None:
    rows = [listing.Row(f"{number % 7:x}", begin) for number, begin in enumerate(begins)]
    ordered = listing.by_likeness(rows, expected)
    assert {row.serial for row in ordered} == {row.serial for row in rows}
    assert len(ordered) == len({row.serial for row in rows})
    distances = [abs(row.not_before - expected) for row in ordered]
    assert distances == sorted(distances)


@pytest.mark.parametrize(
    ("headers", "seen", "rows", "last"),
    [
        ({"total-count": "250"}, 100, 100, False),
        ({"total-count": "250"}, 250, 50, True),
        # A total that is never reached does not keep us there.
        ({"total-count": "250"}, 240, 0, True),
        # A server that gives less than was asked for.
        ({"total-count": "250"}, 50, 50, False),
        ({"links": '</stats/issued?page=2>; rel="next"'}, 50, 50, False),
        ({"links": '</stats/issued?page=1>; rel="previous"'}, 50, 50, True),
        ({}, 100, 100, False),
        ({"total-count": "many"}, 100, 30, True),
    ],
)
def test_pages_are_counted(headers: dict[str, str], seen: int, rows: int, *, last: bool) -> None:
    assert listing.is_last(reply([], **headers), seen, rows) is last


@pytest.mark.parametrize(
    "body",
    [{}, None, "x", [1], [{}], [{"serial_number": 5, "not_before": 1}], [{"serial_number": "5"}]],
)
def test_what_is_no_list_is_a_bad_answer(body: Any) -> None:
    with pytest.raises(BadAnswer):
        listing.rows_in(reply(body))


def test_a_list_is_read() -> None:
    body = [{"serial_number": "01F6", "not_before": 5, "not_after": 9}]
    assert listing.rows_in(reply(body)) == [listing.Row("01F6", 5)]
