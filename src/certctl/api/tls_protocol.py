"""HTTP over TLS that ends when the server does."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: So long a client has to answer the end of TLS; the event loop would give it half a minute.
GOODBYE_SECONDS = 1.0


class TLSProtocol(HttpToolsProtocol):
    """One connection. A client that keeps it open and does not listen holds up no shutdown."""

    def shutdown(self) -> None:
        """Close the connection, or have it closed after the answer that is being made."""
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)
