"""Callers who were turned away are written down, some of them a minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from certctl.domain.attempts import Attempts
from certctl.domain.audit import AuditEvent
from certctl.domain.errors import CertctlError

if TYPE_CHECKING:
    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.storage.database import Database

log = structlog.get_logger(__name__)

#: Refusals of one key that are written: so many at once, then one every so many seconds.
BURST = 20
SECONDS = 3.0
#: Keys remembered.
KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """What a caller was refused: the route as the router spells it, the object that it named."""

    method: str
    route: str
    object_type: str
    object_id: str


class Refusals:
    """Puts refusals into the audit log."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._written = Attempts(burst=BURST, seconds=SECONDS, sources=KEYS)

    async def record(self, actor: Actor, what: Target, error: CertctlError) -> None:
        """Write a refusal down, unless too many of this caller were just now.

        How many were left out is said by the next one that is written. A database that is away
        does not turn a refusal into another answer.
        """
        now = self._clock.now_ms()
        left_out = self._written.take(actor.id, now / 1000)
        if left_out is None:
            return
        detail: dict[str, Any] = {"method": what.method, "route": what.route, "code": error.code}
        if error.field is not None:
            detail["field"] = error.field
        if left_out:
            detail["left_out"] = left_out
        event = AuditEvent(
            now, actor.id, "access.refused", what.object_type, what.object_id, detail
        )
        try:
            await self._database.append([], [event])
        except CertctlError as problem:
            log.warning("refusal not written", actor=actor.id, problem=problem.detail)
