"""Calls about the audit log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.client.calls import Calls, may_pass
from certctl.client.connection import parse
from certctl.client.errors import ClientError, ConnectionFailed, UnexpectedAnswer
from certctl.schemas.audit import AuditEventView, AuditExportKey, AuditVerification
from certctl.schemas.common import Page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_VERIFY_SECONDS = 600.0
_AUDIT = "/api/v1/audit"


@dataclass(frozen=True, slots=True)
class ExportBlock:
    """Whole lines of an export, up to a proof. `cursor` leads on; None: it was the last block."""

    text: bytes
    lines: int
    cursor: str | None


class AuditCalls(Calls):
    """`/api/v1/audit`."""

    def audit_events(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        object_type: str | None = None,
        object_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[AuditEventView]:
        """One page of the audit log, newest first; events fit every part of the filter.

        `action` may be what actions begin with, dot included: `certificate.`. `since` is included,
        `until` is not; both with a time zone.
        """
        wanted = {
            "actor": actor,
            "action": action,
            "object_type": object_type,
            "object_id": object_id,
            "from": None if since is None else since.isoformat(),
            "to": None if until is None else until.isoformat(),
        }
        answer = self._get(_AUDIT, limit=limit, cursor=cursor, **wanted)
        return parse(Page[AuditEventView], answer)

    def verify_audit(self) -> AuditVerification:
        """Have the server check every chain of its audit log."""
        answer = self._connection.send("POST", f"{_AUDIT}/verify", answer_within=_VERIFY_SECONDS)
        return parse(AuditVerification, answer)

    def audit_export_key(self) -> AuditExportKey:
        """The public key that exports are checked with."""
        return parse(AuditExportKey, self._get(f"{_AUDIT}/export/key"))

    def export_audit(self, *, cursor: str | None = None) -> Iterator[ExportBlock]:
        """The whole log, block by block; from a block's cursor on where one is given.

        Carries on by itself where the connection breaks; what comes is whole blocks in any case.
        """
        failures = 0
        while True:
            try:
                for block in self._blocks(cursor):
                    yield block
                    failures = 0
                    cursor = block.cursor
                    if cursor is None:
                        return
                # The server stops, or something in between has cut it off.
                raise ConnectionFailed(
                    "the export ended before its end", hint="is the server being restarted?"
                )
            except ClientError as error:
                failures += 1
                if not may_pass(error):
                    raise
                self._pause_or_raise(error, failures)

    def _blocks(self, cursor: str | None) -> Iterator[ExportBlock]:
        lines: list[bytes] = []
        for line in self._connection.lines(f"{_AUDIT}/export", params={"cursor": cursor}):
            lines.append(line)
            if line.startswith(b'{"type":"proof",') and line.endswith(b"\n"):
                yield ExportBlock(b"".join(lines), len(lines), _continues(line))
                lines = []


def _continues(proof: bytes) -> str | None:
    try:
        continues = json.loads(proof)["continues"]
    except (ValueError, KeyError):
        continues = 0
    if continues is None or isinstance(continues, str):
        return continues
    raise UnexpectedAnswer(
        "the server gave an export that cannot be read", hint="check that its version fits"
    )
