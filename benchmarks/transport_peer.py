"""A CA's server for `benchmarks.transport`: demands a client certificate, answers at once.

Writes a client's pair and the trust bundle into a folder, prints its port, ends with its input.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.pki import make_key
from tests.support.tls_peer import Exchange, Hierarchy, key_pem, pem, running_peer, server_context

_ANSWER = b'{"id": "0123456789abcdef", "status": "pending"}'
_JSON = {"Content-Type": "application/json"}


async def _accepted(exchange: Exchange) -> None:
    await exchange.answer(202, _ANSWER, _JSON)


def main() -> None:
    folder = Path(sys.argv[1])
    hierarchy = Hierarchy()
    key = make_key(which=1)
    (folder / "client.crt").write_bytes(pem(hierarchy.issue(key, "client", client=True)))
    (folder / "client.key").write_bytes(key_pem(key))
    (folder / "trust.pem").write_bytes(pem(hierarchy.root))
    with running_peer(server_context(folder, hierarchy, clients=hierarchy)) as peer:
        peer.script = _accepted
        print(peer.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
