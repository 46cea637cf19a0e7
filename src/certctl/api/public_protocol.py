"""HTTP for a listener that anybody may connect to: bounds on what one client can hold.

uvicorn's own protocol waits for ever for the end of a request, and keeps a head of any length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

#: An OCSP query of the greatest length, as base64 and percent-encoded throughout, fits.
MAX_HEAD_BYTES = 24 * 1024
#: More connections at a time are closed at once: the API needs descriptors too.
MAX_CONNECTIONS = 512
#: A request that is not complete after this time is given up, and a response nobody takes.
PATIENCE_SECONDS = 10.0


class PublicProtocol(HttpToolsProtocol):
    """One connection; a client that is too slow, or whose head is too long, is disconnected."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        self._head_bytes = 0
        self._completed = False
        self._asking_since: float | None = None
        self._check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # its base does so too
        """Take a connection, or turn it away where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._asking_since = self.loop.time()
        self._check = self.loop.call_later(PATIENCE_SECONDS, self._check_progress, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._check is not None:
            self._check.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._asking_since is None:
            self._asking_since = self.loop.time()
        self._completed = False
        super().data_received(data)
        if self._in_head and not self._completed:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins, perhaps right behind another one."""
        if self._asking_since is None:
            self._asking_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._in_head, self._head_bytes, self._completed = True, 0, True
        self._asking_since = None
        super().on_message_complete()

    def _check_progress(self, unsent_before: int) -> None:
        since = self._asking_since
        unsent = self.transport.get_write_buffer_size()
        too_slow = since is not None and self.loop.time() - since >= PATIENCE_SECONDS
        if too_slow or 0 < unsent_before <= unsent:
            self.transport.abort()
            return
        self._check = self.loop.call_later(PATIENCE_SECONDS, self._check_progress, unsent)
