"""Hearing of changes at once: PostgreSQL's LISTEN, beside the look at the counter every second.

A notification carries nothing: it says "look now". So none of them need be trusted or counted, and
a lost one costs a second.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from certctl.storage.engine import database_url
from certctl.storage.failures import describe

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

#: The channel that `Transaction.changed` sends to.
CHANNEL = "certctl_changes"
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 5.0


class Notifications:
    """One connection of this process that listens; `heard` is called in the event loop.

    `url` is a PostgreSQL address as `CERTCTL_DATABASE_URL` has it; Misconfigured if it is none.
    """

    def __init__(self, url: str, heard: Callable[[], None]) -> None:
        address = database_url(url, Path())
        name = address.query["application_name"]
        address = address.update_query_dict({"application_name": f"{name} listen"})
        _, self._parameters = address.get_dialect()().create_connect_args(address)
        self._heard = heard
        #: Monotonic time since when nothing is missed; None while nothing is heard.
        self.listening_since: float | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Listen until `stopping` is set, connecting again after each loss."""
        listening = asyncio.create_task(self._listen_for_good())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({listening, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            listening.cancel()
            (ended,) = await asyncio.gather(listening, return_exceptions=True)
        if ended is not None and not isinstance(ended, asyncio.CancelledError):
            raise ended  # a mistake of ours: what PostgreSQL does wrong is tried again

    async def _listen_for_good(self) -> None:
        import psycopg  # only where there is a PostgreSQL: it takes a tenth of a second to import

        wait = _FIRST_WAIT_SECONDS
        while True:
            begun = time.monotonic()
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                log.warning("not listening for changes", problem=describe(error))
            if time.monotonic() - begun > _LONGEST_WAIT_SECONDS:
                wait = _FIRST_WAIT_SECONDS
            # Processes that lost the same server do not all come back in the same moment.
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - protects nothing
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    async def _listen(self) -> None:
        from psycopg import AsyncConnection

        connection: AsyncConnection[Any] = await AsyncConnection.connect(
            **self._parameters, autocommit=True
        )
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            # From here on nothing is missed; what was before, one look finds.
            self.listening_since = time.monotonic()
            self._heard()
            async for _ in connection.notifies():
                self._heard()
        finally:
            self.listening_since = None
            await connection.close()
