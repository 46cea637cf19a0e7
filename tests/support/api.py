"""A client for a running server, as plain as can be: what a test sends is what the wire sees."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from tests.support.server import ServerProcess


def client_for(
    server: ServerProcess, *, key: str | None = None, url: str | None = None
) -> httpx2.Client:
    """An HTTPS client that trusts only the server's own anchor and sends its admin key.

    A server that is being started again does not say its address: then it is to be given.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(server.ca)
    return httpx2.Client(
        base_url=url or server.url,
        verify=context,
        trust_env=False,
        timeout=httpx2.Timeout(20),
        headers={"Authorization": f"Bearer {key or server.key}"},
    )
