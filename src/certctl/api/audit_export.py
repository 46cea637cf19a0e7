"""The audit log as a stream of signed blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from certctl.api.cursors import decode_cursor, encode_cursor, not_ours
from certctl.domain.audit_export import (
    MAX_BLOCK_LINES,
    Block,
    Proof,
    digest,
    opening_line,
    proof_line,
)
from certctl.domain.ids import new_id
from certctl.pki.audit_keys import ExportSigner
from certctl.storage.audit_export import Place, fill_block

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from certctl.domain.clock import Clock
    from certctl.storage.database import Connection, Database

_ID = re.compile(r"[a-z0-9-]+", re.ASCII)
_SEQ = re.compile(r"-?[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Part:
    """A block as it is sent, and what comes next (None: it was the last one)."""

    text: bytes
    cursor: str | None


class Export:
    """One request's way through the log; the first block is there before the answer begins."""

    def __init__(
        self, database: Database, stopping: asyncio.Event, export_id: str, opening: bytes | None
    ) -> None:
        self._database = database
        self._stopping = stopping
        self._id = export_id
        self._opening = opening
        self._signer = ExportSigner(database.audit_key)
        self._first: _Part | None = None

    @classmethod
    async def begin(
        cls, database: Database, clock: Clock, stopping: asyncio.Event, cursor: str | None
    ) -> Export:
        """Begin an export, or carry one on. Raises InvalidInput for a cursor of nobody's."""
        if cursor is None:
            now = clock.now_ms()
            export_id = new_id("exp", now)
            made = cls(database, stopping, export_id, opening_line(export_id, now))
        else:
            made = cls(database, stopping, _decode(cursor)[0], None)
        made._first = await made._part(cursor)
        return made

    async def lines(self) -> AsyncIterator[bytes]:
        """Block after block. Ends early when the server stops: the last proof says what follows."""
        part = self._first
        while part is not None:
            yield part.text
            if part.cursor is None or self._stopping.is_set():
                return
            part = await self._part(part.cursor)

    async def _part(self, cursor: str | None) -> _Part:
        return await self._database.read(partial(self._read, cursor))

    def _read(self, cursor: str | None, connection: Connection) -> _Part:
        """Runs in a thread: reading, checking and signing keep no other request waiting."""
        block, place = Block(), None
        if cursor is not None:
            place = _decode(cursor)[1]
        elif self._opening is not None:
            block.add(self._opening)
        after = fill_block(connection, self._database.audit_key, block, place, MAX_BLOCK_LINES)
        continues = None if after is None else _encode(self._id, after)
        proof = Proof(
            export_id=self._id,
            key_id=self._signer.public.key_id,
            begins=cursor,
            continues=continues,
            digests=tuple(digest(line) for line in block.lines),
            problems=tuple(block.problems),
        )
        text = b"\n".join([*block.lines, proof_line(proof, self._signer.sign), b""])
        return _Part(text, continues)


def _encode(export_id: str, place: Place) -> str:
    return encode_cursor(export_id, place.chain_id, str(place.seq), int(place.is_ended))


def _decode(cursor: str) -> tuple[str, Place]:
    export_id, chain_id, seq, is_ended = decode_cursor(cursor, str, str, str, int)
    if not (_ID.fullmatch(export_id) and _SEQ.fullmatch(seq) and abs(int(seq)) < 2**63):
        raise not_ours()
    return export_id, Place(chain_id, int(seq), bool(is_ended))
