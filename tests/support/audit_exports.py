"""Exports of audit logs, made without a server."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from certctl.domain.audit_export import (
    Block,
    ExportedEvent,
    Proof,
    chain_end_line,
    chain_line,
    digest,
    event_line,
    opening_line,
    proof_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def event(chain_id: str, seq: int, action: str = "certificate.issued", detail: str = "{}") -> bytes:
    """The line of one event."""
    mac = hashlib.sha256(f"{chain_id}/{seq}".encode()).digest()
    return event_line(
        ExportedEvent(
            chain_id, seq, 1_000 + seq, "admin", action, "certificate", "c", detail, None, mac
        )
    )


def chain(chain_id: str, events: int, names: dict[str, int] | None = None) -> list[bytes]:
    """The lines of a chain whose first event names others with their last numbers."""
    detail = json.dumps({"chains": names or {}})
    return [
        chain_line(chain_id, 0, b"base"),
        event(chain_id, 1, "audit.chain_opened", detail),
        *[event(chain_id, seq) for seq in range(2, events + 1)],
        chain_end_line(chain_id, events, b"mac"),
    ]


def exported(
    lines: Sequence[bytes],
    *,
    sign: Callable[[bytes], bytes],
    key_id: str,
    size: int = 4,
    export_id: str = "exp-1",
    problems: dict[int, str] | None = None,
) -> list[bytes]:
    """A file of these lines, in blocks of a size. `problems` by the number of the content line."""
    contents = [opening_line(export_id, 1_000), *lines]
    starts = list(range(0, len(contents), size))
    found: list[bytes] = []
    for start in starts:
        block = Block()
        for offset, line in enumerate(contents[start : start + size]):
            words = (problems or {}).get(start + offset)
            block.add(line, () if words is None else (words,))
        proof = Proof(
            export_id=export_id,
            key_id=key_id,
            begins=None if start == 0 else f"at-{start}",
            continues=None if start == starts[-1] else f"at-{start + size}",
            digests=tuple(digest(line) for line in block.lines),
            problems=tuple(block.problems),
        )
        found += [*block.lines, proof_line(proof, sign)]
    return found
