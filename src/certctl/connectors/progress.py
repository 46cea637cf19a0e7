"""How far a call came, as the HTTP library tells step by step (its `trace` extension)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

# Between these, the wait for a server's word about a connection lasts as long as connecting did:
# that was two ways there and back, and this is one. Only servers without tickets use it up.
_LEAST_WAIT = 0.3
_GREATEST_WAIT = 2.0
_FIRST_LOOK = 0.001


class Progress:
    """What happened to one call until now."""

    __slots__ = (
        "_begun",
        "answered",
        "kept",
        "secured",
        "sent",
        "tunnel",
        "tunnelling",
    )

    def __init__(self) -> None:
        self._begun = 0.0
        #: The connection was there before.
        self.kept = True
        #: The proxy was asked for a way to the CA.
        self.tunnel = False
        #: It was, and there is no TLS with the CA yet.
        self.tunnelling = False
        #: A TLS handshake ended well.
        self.secured = False
        #: The first byte for the CA may have left.
        self.sent = False
        #: The head of an answer came.
        self.answered = False

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        """Note one step; a new connection is not used before the server has accepted it."""
        if event == "http11.send_request_headers.started":
            if info["request"].method == b"CONNECT":
                self.tunnel = self.tunnelling = True
                self.secured = False  # what was secured is the way to the proxy
            else:
                self.sent = True
        elif event == "http11.receive_response_headers.complete":
            self.answered = self.sent
        elif event == "connection.connect_tcp.started":
            self.kept = False
            self._begun = time.monotonic()
        elif event.endswith(".start_tls.complete"):
            self.secured = True
            waited = time.monotonic() - self._begun
            patience = min(max(waited, _LEAST_WAIT), _GREATEST_WAIT)
            await _accepted(info["return_value"], patience)
            self.tunnelling = False


async def _accepted(stream: Any, patience: float) -> None:
    """Wait until the server has accepted the connection, at most `patience` seconds.

    With TLS 1.3 the client's handshake ends before the server looked at its certificate, or missed
    it (RFC 8446 §2), and a refusal arrives when the request is on its way: then nobody can tell
    whether it was acted upon, and often the reset of the connection overtakes the reason. Servers
    send a session ticket when they have accepted, so that there is something to wait for. Raises
    what the server's refusal raises, before anything was sent.
    """
    import httpcore2

    connection: ssl.SSLObject | None = stream.get_extra_info("ssl_object")
    if connection is None or connection.version() != "TLSv1.3":
        return
    until = time.monotonic() + patience
    look = _FIRST_LOOK
    try:
        while not _has_ticket(connection) and time.monotonic() < until:
            try:
                # A ticket ends no read: it waits for an answer, which nobody asked for.
                await stream.read(1, timeout=look)
            except httpcore2.ReadTimeout:
                look *= 2
            else:
                raise httpcore2.ConnectError("closed after the handshake")
    except BaseException:
        await stream.aclose()
        raise


def _has_ticket(connection: ssl.SSLObject) -> bool:
    session = connection.session
    return session is not None and session.has_ticket
