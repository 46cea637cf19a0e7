"""When API keys were last used: gathered in memory, written now and then, on nobody's way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from certctl.domain.errors import CertctlError
from certctl.lifecycle.catalog import pause
from certctl.storage.api_keys import note_use

if TYPE_CHECKING:
    import asyncio

    from certctl.storage.api_keys import ApiKeyRecord
    from certctl.storage.database import Database, Transaction

log = structlog.get_logger(__name__)

#: A key's last use is written at most this often, by all processes together.
INTERVAL_SECONDS = 60.0


class LastUse:
    """Remembers uses until they are written."""

    def __init__(self, database: Database, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._database = database
        self._interval = interval_seconds
        self._used: dict[str, int] = {}

    def note(self, key_id: str, now_ms: int) -> None:
        """A key was used."""
        self._used[key_id] = now_ms

    def last_used(self, record: ApiKeyRecord) -> int | None:
        """When a key was last used, as far as this process knows, in milliseconds."""
        return max(record.last_used_at or 0, self._used.get(record.id, 0)) or None

    async def run(self, stopping: asyncio.Event) -> None:
        """Write what was gathered each minute, and once more when `stopping` is set."""
        while not stopping.is_set():
            await pause(stopping, self._interval)
            await self.flush()

    async def flush(self) -> None:
        """Write what was gathered; what cannot be written now is kept for the next time."""
        used, self._used = self._used, {}
        interval_ms = round(self._interval * 1000)
        try:
            if used:
                await self._database.write(partial(_write, used=used, interval_ms=interval_ms))
        except CertctlError as error:
            self._used = {**used, **self._used}
            log.warning("last use of keys not written", problem=error.detail)


def _write(transaction: Transaction, used: dict[str, int], interval_ms: int) -> None:
    note_use(transaction, used, interval_ms)
