"""The audit log as a file: JSON lines in blocks, each closed by a line that proves it.

A proof names the SHA-256 of each line of its block, where the block begins and where the next one
does, and is signed: what is altered, removed, put in or moved shows, and so does a cut end, because
only the last proof says that nothing follows. What the signature is, is the caller's: no key here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from certctl.domain.clock import from_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FORMAT = 1
#: The lines of a block are not more than these: who checks a file keeps one block.
MAX_BLOCK_LINES = 500

#: What every proof begins with, and no other line.
PROOF = b'{"type":"proof",'
#: Before the proof in what is signed, so that no signature made for something else fits.
CONTEXT = b"certctl audit export 1\n"
_SIGNATURE = b',"signature":"'
_END = b'"}'

_dump = json.JSONEncoder(separators=(",", ":")).encode


class ExportedEvent(NamedTuple):
    """An event as its row has it: `detail` is JSON text, `at` milliseconds."""

    chain_id: str
    seq: int
    at: int
    actor: str
    action: str
    object_type: str
    object_id: str
    detail: str
    request_id: str | None
    mac: bytes


@dataclass(slots=True)
class Block:
    """Lines, and what is wrong with them: the index of a line, and words."""

    lines: list[bytes] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: bytes, problems: Sequence[str] = ()) -> None:
        """Add a line."""
        self.problems += [(len(self.lines), words) for words in problems]
        self.lines.append(line)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof says. `begins` and `continues` are cursors: of the block, and of the next one;
    None for the first block, and after the last one."""

    export_id: str
    key_id: str
    begins: str | None
    continues: str | None
    digests: tuple[str, ...]
    problems: tuple[tuple[int, str], ...]


def opening_line(export_id: str, started_at: int) -> bytes:
    """The first line of all."""
    return _line(
        {
            "type": "export",
            "format": FORMAT,
            "export_id": export_id,
            "started_at": _moment(started_at),
        }
    )


def chain_line(chain_id: str, base_seq: int, base_mac: bytes) -> bytes:
    """The line before a chain's events: what its first event that is kept is linked to."""
    return _line(
        {
            "type": "chain",
            "chain_id": chain_id,
            "base_seq": base_seq,
            "base_mac": base_mac.hex(),
        }
    )


def event_line(event: ExportedEvent) -> bytes:
    """One event, whatever its row may hold."""
    try:
        detail = json.loads(event.detail)
    except ValueError:  # altered in the database
        detail = event.detail
    return _line(
        {
            "type": "event",
            **event._asdict(),
            "at": _moment(event.at),
            "detail": detail,
            "mac": event.mac.hex(),
        }
    )


def chain_end_line(chain_id: str, last_seq: int, last_mac: bytes) -> bytes:
    """The line after a chain's events: its head."""
    return _line(
        {
            "type": "chain_end",
            "chain_id": chain_id,
            "last_seq": last_seq,
            "last_mac": last_mac.hex(),
        }
    )


def digest(line: bytes) -> str:
    """What a proof says of a line, given without its end of line."""
    return sha256(line).hexdigest()


def proof_line(proof: Proof, sign: Callable[[bytes], bytes]) -> bytes:
    """The line that closes a block."""
    body = _line(
        {
            "type": "proof",
            "export_id": proof.export_id,
            "key_id": proof.key_id,
            "begins": proof.begins,
            "continues": proof.continues,
            "lines": proof.digests,
            "problems": proof.problems,
        }
    )
    return body[:-1] + _SIGNATURE + sign(CONTEXT + body).hex().encode() + _END


def is_proof(line: bytes) -> bool:
    """Whether a line is a proof, or was one before somebody altered it."""
    return line.startswith(PROOF)


def read_proof(line: bytes, is_signed: Callable[[bytes, bytes], bool]) -> Proof | None:
    """What a proof says; None where the signature (called with the text and itself) is not good."""
    start, found, rest = line.rpartition(_SIGNATURE)
    if not found or not rest.endswith(_END):
        return None
    body = start + b"}"
    try:
        signature = bytes.fromhex(rest[: -len(_END)].decode("ascii"))
    except ValueError:
        return None
    # Only one way to write it: else an altered line would have a good signature.
    if signature.hex().encode() + _END != rest or not is_signed(CONTEXT + body, signature):
        return None
    said: dict[str, Any] = json.loads(body)
    return Proof(
        export_id=said["export_id"],
        key_id=said["key_id"],
        begins=said["begins"],
        continues=said["continues"],
        digests=tuple(said["lines"]),
        problems=tuple((index, words) for index, words in said["problems"]),
    )


def read_unproven(line: bytes) -> dict[str, Any]:
    """The fields of a line of which nothing is known; none where it is no JSON object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _line(fields: dict[str, Any]) -> bytes:
    return _dump(fields).encode()


def _moment(milliseconds: int) -> str | int:
    try:
        moment = from_ms(milliseconds)
    except (ValueError, OverflowError, OSError):  # altered in the database
        return milliseconds
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
