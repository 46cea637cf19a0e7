"""A peer with client certificates, and the files of a client, for tests of calls over TLS."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from certctl.connectors.transport import Endpoint, Transports
from tests.support.pki import make_key
from tests.support.tls_peer import Hierarchy, Peer, key_pem, pem

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.connectors.transport import Transport

SERVERS = Hierarchy("Servers Root", which=0)
CLIENTS = Hierarchy("Clients Root", which=1)
STRANGERS = Hierarchy("Strangers Root", which=2)


def replace(path: Path, content: bytes) -> None:
    """Put a new file in the place of an old one at once, as `mv -f` does."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.rename(path)


@dataclass
class Stage:
    """Files of a client in a folder, connections, and the peer that is called."""

    folder: Path
    peer: Peer
    transports: Transports = field(default_factory=Transports)

    def __post_init__(self) -> None:
        self.trust.write_bytes(pem(SERVERS.root))

    @property
    def certificate(self) -> Path:
        return self.folder / "client.crt"

    @property
    def key(self) -> Path:
        return self.folder / "client.key"

    @property
    def trust(self) -> Path:
        return self.folder / "trust.pem"

    def file(self, which: str) -> Path:
        """`certificate`, `key` or `trust`."""
        return {"certificate": self.certificate, "key": self.key, "trust": self.trust}[which]

    def new_pair(self, which: int, hierarchy: Hierarchy = CLIENTS, days: int = 10) -> NewPair:
        """A key and its certificate, not yet in their places."""
        key = make_key(which=2600 + which)
        certificate = hierarchy.issue(key, f"client {which}", client=True, days=days)
        return NewPair(pem(certificate), key_pem(key), certificate.serial_number)

    def install(self, pair: NewPair, *, older: bool = False) -> int:
        """Put a pair into its places; its serial. `older`: with times long before the last one."""
        for path, content in ((self.certificate, pair.certificate), (self.key, pair.key)):
            replace(path, content)
            if older:
                os.utime(path, ns=(10**18, 10**18))
        return pair.serial

    def open(self, **changes: Any) -> Transport:
        """A transport with the pair and the bundle; `changes` are other fields of the endpoint."""
        fields: dict[str, Any] = {
            "base_url": self.peer.url,
            "certificate_path": str(self.certificate),
            "key_path": str(self.key),
            "trust_path": str(self.trust),
            "timeout": 5.0,
        }
        return self.transports.open(Endpoint(**{**fields, **changes}))


@dataclass(frozen=True)
class NewPair:
    """PEM of a pair, and the serial of its certificate."""

    certificate: bytes
    key: bytes
    serial: int
