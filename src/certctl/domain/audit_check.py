"""Checks an exported audit log, line by line: pure, and in the memory of one block."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from certctl.domain.audit_actions import CHAIN_OPENED
from certctl.domain.audit_export import MAX_BLOCK_LINES, digest, is_proof, read_proof, read_unproven

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from certctl.domain.audit_export import Proof

#: More problems than these are counted, not listed.
MAX_PROBLEMS = 1000


class LineProblem(NamedTuple):
    """What is wrong at a line, counted from 1."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class ExportReport:
    """How much was proven, and what is wrong. Nothing is wrong without problems.

    `started_at` is when the export began, in ISO 8601: what was stored by then is in the file. It
    is None, like `export_id`, where the beginning is not proven.
    """

    lines: int
    chains: int
    events: int
    export_id: str | None
    started_at: str | None
    problems: list[LineProblem]
    unlisted: int


class _Link(Enum):
    """What a block is to begin with, where that is no cursor."""

    UNKNOWN = "unknown"  # the block before is not proven
    NOTHING = "nothing"  # the last block has been


class _Line(NamedTuple):
    number: int
    digest: str
    text: bytes


@dataclass(slots=True)
class ExportCheck:
    """`take` every line, then ask for the `report`.

    `is_signed` is called with a text and its signature; `key_id` is the key's that it knows.
    """

    is_signed: Callable[[bytes, bytes], bool]
    key_id: str
    _number: int = 0
    _block: list[_Line] = field(default_factory=list)
    _overlong: bool = False
    _expected: str | _Link | None = None
    _export_id: str | None = None
    _started_at: str | None = None
    _chains: int = 0
    _events: int = 0
    _named: dict[str, tuple[int, str, int]] = field(default_factory=dict)  # seq, by whom, line
    _ends: dict[str, int] = field(default_factory=dict)
    _problems: list[LineProblem] = field(default_factory=list)
    _unlisted: int = 0

    def take(self, text: bytes) -> None:
        """Check the next line, given without its end of line."""
        self._number += 1
        if is_proof(text):
            self._close(text)
            self._block, self._overlong = [], False
        elif len(self._block) < MAX_BLOCK_LINES:
            self._block.append(_Line(self._number, digest(text), text))
        elif not self._overlong:
            self._overlong = True
            self._problem(self._number, "no block is so long: this and what follows is not proven")

    def report(self) -> ExportReport:
        """Check the end, and sum up."""
        if self._block:
            self._problem(
                self._block[0].number,
                f"no proof follows {_lines(self._block)}: the end was cut off, or they were put in",
            )
        elif not isinstance(self._expected, _Link):  # else it ended, or is not proven anyway
            self._problem(self._number + 1, "the file ends too early: lines are missing here")
        if not self._problems:
            self._check_named()
        return ExportReport(
            lines=self._number,
            chains=self._chains,
            events=self._events,
            export_id=self._export_id,
            started_at=self._started_at,
            problems=self._problems,
            unlisted=self._unlisted,
        )

    def _close(self, text: bytes) -> None:
        proof = read_proof(text, self.is_signed)
        if proof is None:
            self._problem(self._number, f"{self._why_not(text)}: {_lines(self._block)} not proven")
            self._expected = _Link.UNKNOWN
            return
        if self._export_id is None:
            self._export_id = proof.export_id
        if proof.export_id != self._export_id:
            self._problem(
                self._number, f"belongs to another export: {_lines(self._block)} not proven"
            )
            self._expected = _Link.UNKNOWN
            return
        first = self._block[0].number if self._block else self._number
        if self._expected is _Link.NOTHING:
            self._problem(first, "the export ended before this line: it was put in, or moved")
            return
        if self._expected is not _Link.UNKNOWN and proof.begins != self._expected:
            self._problem(first, "lines are missing before this one, or it is not in its place")
        self._expected = _Link.NOTHING if proof.continues is None else proof.continues
        self._compare(proof)

    def _why_not(self, text: bytes) -> str:
        other = read_unproven(text).get("key_id")
        if isinstance(other, str) and other != self.key_id:
            return "this proof was made with another key, or altered"
        return "this proof was altered"

    def _compare(self, proof: Proof) -> None:
        """Find the lines that the proof names; say what became of the others."""
        block = self._block
        found = [line.digest for line in block]
        lines: dict[int, _Line] = {}
        if tuple(found) == proof.digests and not self._overlong:
            lines = dict(enumerate(block))
        else:
            matcher = SequenceMatcher(None, proof.digests, found, autojunk=False)
            for tag, i1, i2, j1, j2 in matcher.get_opcodes():
                if tag == "equal":
                    lines |= dict(zip(range(i1, i2), block[j1:j2], strict=True))
                else:
                    self._explain(proof, found, range(i1, i2), range(j1, j2))
        for index in sorted(lines):
            self._read(lines[index])
        for index, words in proof.problems:
            at = lines[index].number if index in lines else self._number
            self._problem(at, words)

    def _explain(self, proof: Proof, found: Sequence[str], listed: range, there: range) -> None:
        """Lines that are `there` in place of those that are `listed`."""
        known, present = set(proof.digests), set(found)
        gone = sum(proof.digests[index] not in present for index in listed)
        for index in there:
            number = self._block[index].number
            if found[index] in known:
                self._problem(number, "is not in its place, or there twice")
            elif gone:
                gone -= 1
                self._problem(number, "was altered")
            else:
                self._problem(number, "was put in")
        if gone:
            number = self._number
            if there.stop < len(self._block):
                number = self._block[there.stop].number
            words = "1 line is" if gone == 1 else f"{gone} lines are"
            self._problem(number, f"{words} missing before this one")

    def _read(self, line: _Line) -> None:
        """Count a line that is proven, and remember what the end is checked by."""
        record: dict[str, Any] = json.loads(line.text)
        match record["type"]:
            case "export":
                self._started_at = record["started_at"]
            case "chain":
                self._chains += 1
            case "event":
                self._events += 1
                if record["action"] == CHAIN_OPENED:
                    self._note_named(record, line.number)
            case "chain_end":
                self._ends[record["chain_id"]] = record["last_seq"]

    def _note_named(self, record: dict[str, Any], number: int) -> None:
        chains = record["detail"].get("chains") if isinstance(record["detail"], dict) else None
        if not isinstance(chains, dict):
            return  # altered in the database; the proof says so
        for chain_id, seq in chains.items():
            if seq > self._named.get(chain_id, (-1, "", 0))[0]:
                self._named[chain_id] = (seq, record["chain_id"], number)

    def _check_named(self) -> None:
        """Find chains that are missing altogether, or that are shorter than a later one saw them.

        Only in a file that is whole: else the answer would be about what is missing of the file.
        """
        for chain_id, (seq, witness, number) in sorted(self._named.items()):
            last = self._ends.get(chain_id)
            if last is None:
                self._problem(
                    number, f"chain {witness} names chain {chain_id}, which is missing altogether"
                )
            elif last < seq:
                self._problem(
                    number,
                    f"chain {witness} saw chain {chain_id} reach event {seq}, but it ends with "
                    f"event {last}",
                )

    def _problem(self, line: int, what: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(LineProblem(line, what))
        else:
            self._unlisted += 1


def _lines(block: Sequence[_Line]) -> str:
    if not block:
        return "no lines"
    first, last = block[0].number, block[-1].number
    return f"line {first}" if first == last else f"lines {first} to {last}"
