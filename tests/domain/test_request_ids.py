"""Which id a request gets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.request_ids import LONGEST, choose_request_id

MADE = re.compile(r"[0-9a-f]{16}")


@given(st.text("abcXYZ019._-", min_size=1, max_size=LONGEST).filter(lambda word: word[0].isalnum()))
def test_a_well_formed_one_is_taken_as_it_is(word: str) -> None:
    assert choose_request_id(word.encode()) == word


@given(st.none() | st.binary(max_size=80))
def test_whatever_is_sent_what_comes_of_it_may_stand_anywhere(sent: bytes | None) -> None:
    chosen = choose_request_id(sent)
    assert re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST - 1}}}", chosen)
    assert chosen.encode() == sent or MADE.fullmatch(chosen)


@pytest.mark.parametrize(
    "sent",
    [None, b"", b"a b", b"a\nb", b"x" * (LONGEST + 1), b"-rf", b'a"b', b"caf\xc3\xa9", b"abc\n"],
    ids=["none", "empty", "space", "line", "long", "dash", "quote", "letter", "end"],
)
def test_another_one_is_replaced(sent: bytes | None) -> None:
    assert MADE.fullmatch(choose_request_id(sent))
    assert choose_request_id(sent) != choose_request_id(sent)
