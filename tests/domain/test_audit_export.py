"""Exports of the audit log: whatever is done to a file shows, and at which line."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain import audit_check
from certctl.domain.audit_check import ExportCheck
from certctl.domain.audit_export import (
    MAX_BLOCK_LINES,
    ExportedEvent,
    Proof,
    event_line,
    is_proof,
    proof_line,
    read_proof,
)
from tests.support import audit_exports
from tests.support.audit_exports import chain, event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.domain.audit_check import ExportReport

KEY_ID = "0123456789abcdef"


def sign(text: bytes, key: bytes = b"the key") -> bytes:
    return hmac.digest(key, text, "sha256")


def is_signed(text: bytes, signature: bytes) -> bool:
    return hmac.compare_digest(sign(text), signature)


def exported(lines: Sequence[bytes], **more: Any) -> list[bytes]:
    return audit_exports.exported(lines, sign=sign, key_id=KEY_ID, **more)


def check(lines: Sequence[bytes]) -> ExportReport:
    checking = ExportCheck(is_signed, KEY_ID)
    for line in lines:
        checking.take(line)
    return checking.report()


def told(lines: Sequence[bytes]) -> list[str]:
    return [f"{line}: {what}" for line, what in check(lines).problems]


#: Four blocks of four lines and their proof.
WHOLE = exported([*chain("chain-a", 6), *chain("chain-b", 5, {"chain-a": 6})])


def test_a_whole_file_has_no_problems() -> None:
    report = check(WHOLE)
    assert report.problems == []
    assert (report.chains, report.events, report.lines) == (2, 11, len(WHOLE))
    assert report.export_id == "exp-1"
    assert report.started_at == "1970-01-01T00:00:01.000Z"
    assert [number for number, line in enumerate(WHOLE, 1) if is_proof(line)] == [5, 10, 15, 20]


def test_what_a_proof_says_comes_back() -> None:
    proof = Proof("exp-1", KEY_ID, "a", None, ("00", "11"), ((1, "wrong"),))
    line = proof_line(proof, sign)
    assert is_proof(line)
    assert read_proof(line, is_signed) == proof
    assert read_proof(line, lambda text, signature: signature == sign(text, b"other")) is None


content_lines = st.sampled_from([n for n, line in enumerate(WHOLE) if not is_proof(line)])
any_line = st.integers(0, len(WHOLE) - 1)


@given(any_line, st.data())
def test_an_altered_line_is_named(index: int, data: st.DataObject) -> None:
    line = WHOLE[index]
    at = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b not in {line[at], 10}))
    altered = line[:at] + bytes([byte]) + line[at + 1 :]
    problems = check([*WHOLE[:index], altered, *WHOLE[index + 1 :]]).problems
    assert problems
    if not is_proof(line):
        assert problems == [(index + 1, "was altered")]
    else:
        # A proof that no longer looks like one is found with the lines that it closed.
        assert any(index - 4 < problem.line <= index + 1 for problem in problems)


@given(content_lines)
def test_a_removed_line_is_named(index: int) -> None:
    (problem,) = check([*WHOLE[:index], *WHOLE[index + 1 :]]).problems
    assert problem == (index + 1, "1 line is missing before this one")


@given(st.integers(0, len(WHOLE)), st.sampled_from([b"", b"{}", b"{", event("chain-a", 3, "x.y")]))
def test_a_line_that_was_put_in_is_named(index: int, line: bytes) -> None:
    problems = check([*WHOLE[:index], line, *WHOLE[index:]]).problems
    assert len(problems) == 1
    assert problems[0].line == index + 1


@given(any_line, any_line)
def test_lines_that_were_moved_are_named(one: int, other: int) -> None:
    lines = list(WHOLE)
    lines[one], lines[other] = lines[other], lines[one]
    problems = check(lines).problems
    assert bool(problems) == (one != other)
    if one != other and not is_proof(WHOLE[one]) and not is_proof(WHOLE[other]):
        assert {problem.line for problem in problems} & {one + 1, other + 1}


@given(any_line, st.integers(0, len(WHOLE)))
def test_a_line_that_is_there_twice_is_named(index: int, at: int) -> None:
    problems = check([*WHOLE[:at], WHOLE[index], *WHOLE[at:]]).problems
    assert problems
    assert min(problem.line for problem in problems) <= at + 6


@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_end_is_named(kept: int) -> None:
    problems = check(WHOLE[:kept]).problems
    assert problems
    assert all(problem.line <= kept + 1 for problem in problems)


@given(st.integers(1, len(WHOLE)))
def test_a_cut_beginning_shows(cut: int) -> None:
    assert check(WHOLE[cut:]).problems


@given(st.permutations(range(4)), st.sets(st.integers(0, 3)))
def test_whole_blocks_that_are_removed_or_moved_show(order: list[int], removed: set[int]) -> None:
    blocks = [WHOLE[start : start + 5] for start in range(0, 20, 5)]
    kept = [number for number in order if number not in removed]
    problems = check([line for number in kept for line in blocks[number]]).problems
    assert (problems == []) == (kept == [0, 1, 2, 3])


def test_a_removed_block_is_named() -> None:
    assert told(WHOLE[:5] + WHOLE[10:]) == [
        "6: lines are missing before this one, or it is not in its place"
    ]


def test_a_block_after_the_end_is_named() -> None:
    assert told([*WHOLE, *WHOLE[5:10]]) == [
        "21: the export ended before this line: it was put in, or moved"
    ]


def test_an_altered_proof_names_what_it_no_longer_proves() -> None:
    lines = list(WHOLE)
    lines[9] = lines[9].replace(b'"begins":"at-4"', b'"begins":"at-8"')
    assert told(lines) == ["10: this proof was altered: lines 6 to 9 not proven"]


def test_a_signature_can_be_written_in_one_way_only() -> None:
    lines = list(WHOLE)
    start, mark, signature = lines[4].rpartition(b'"signature":"')
    lines[4] = start + mark + signature.upper()
    assert told(lines) == ["5: this proof was altered: lines 1 to 4 not proven"]


def test_another_key_is_said_to_be_one() -> None:
    checking = ExportCheck(lambda text, signature: signature == sign(text, b"other"), "another")
    for line in WHOLE:
        checking.take(line)
    first = checking.report().problems[0]
    assert first == (5, "this proof was made with another key, or altered: lines 1 to 4 not proven")


def test_parts_of_two_exports_do_not_make_one() -> None:
    """An older export, all of it signed, whose chains were shorter."""
    older = exported(chain("chain-a", 6), export_id="exp-0")
    problems = told([*WHOLE[:5], *older[5:]])
    assert problems[0] == "10: belongs to another export: lines 6 to 9 not proven"


def test_what_the_server_found_is_told_with_its_line() -> None:
    lines = exported(chain("chain-a", 6), problems={6: "event 5 was altered"})
    assert told(lines) == ["8: event 5 was altered"]
    # Also where that line was removed from the file.
    removed = [line for number, line in enumerate(lines, 1) if number != 8]
    assert told(removed) == ["8: 1 line is missing before this one", "9: event 5 was altered"]


def test_a_chain_that_is_missing_or_shorter_than_another_one_saw_it() -> None:
    lines = exported(
        [*chain("chain-a", 3), *chain("chain-b", 2, {"chain-a": 6, "chain-0": 2})], size=20
    )
    assert told(lines) == [
        "8: chain chain-b names chain chain-0, which is missing altogether",
        "8: chain chain-b saw chain chain-a reach event 6, but it ends with event 3",
    ]


def test_an_empty_file() -> None:
    assert told([]) == ["1: the file ends too early: lines are missing here"]


def test_a_file_of_something_else_takes_little_memory() -> None:
    checking = ExportCheck(is_signed, KEY_ID)
    for _ in range(3 * MAX_BLOCK_LINES):
        checking.take(b"x")
    assert len(checking._block) == MAX_BLOCK_LINES
    assert [problem.line for problem in checking.report().problems] == [MAX_BLOCK_LINES + 1, 1]


def test_many_problems_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_check, "MAX_PROBLEMS", 3)
    report = check([line.replace(b"admin", b"x") for line in WHOLE])
    assert (len(report.problems), report.unlisted) == (3, 8)


@pytest.mark.parametrize("at", [2**62, -(2**62)])
def test_what_no_row_should_hold_is_exported_all_the_same(at: int) -> None:
    line = event_line(ExportedEvent("c", 1, at, "a", "b", "c", "d", 'no JSON\n"', None, b""))
    record = json.loads(line)
    assert b"\n" not in line
    assert (record["at"], record["detail"]) == (at, 'no JSON\n"')
