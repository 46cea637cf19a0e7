"""The stand-in's throw-away keys: one CA for what it sells, one for its own TLS and its clients."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from certctl.ca.authority import CertificateAuthority, create_root
from certctl.domain.keys import KeyType
from certctl.domain.names import Name, parse_names
from certctl.domain.usages import Usage
from certctl.pki.certificates import to_pem
from certctl.pki.keys import classify, generate_key, spki_of
from certctl.pki.requests import parse_request
from tests.support.pki import make_csr, make_key, make_live_authority

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from certctl.pki.requests import CertificateRequest

_DAY = 86_400


def now_ms() -> int:
    """The machine's time: what it issues is judged by clients of the same machine."""
    return time.time_ns() // 1_000_000


class Shop:
    """Signs what the stand-in sells, as it should be or not."""

    def __init__(self) -> None:
        self.authority = make_live_authority()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The issuing CA first, then its root."""
        return tuple(self.authority.chain)

    def sell(
        self,
        csr: CertificateRequest,
        names: Sequence[Name],
        usages: Sequence[Usage],
        validity: int,
        *,
        expired: bool = False,
    ) -> x509.Certificate:
        """A certificate for a request; `validity` in seconds."""
        # The issuing CA exists since yesterday, and nothing of it can be older.
        now, lasts = (now_ms() - _DAY * 1000, 3600) if expired else (now_ms(), validity)
        return self.authority.issue(
            public_key=csr.public_key,
            spki=csr.spki,
            key_type=csr.key_type,
            common_name=None,
            names=list(names),
            usages=tuple(usages),
            validity_seconds=lasts,
            must_staple=False,
            now_ms=now,
        )


def strangers_request() -> CertificateRequest:
    """A request with a key that no customer has."""
    return parse_request(make_csr(make_key(KeyType.P256, which=77), ["stranger.example.org"]))


class Infrastructure:
    """Signs the stand-in's server certificate, and its clients'."""

    def __init__(self) -> None:
        key, root = create_root(common_name="Stand-in Infrastructure", now_ms=now_ms())
        self._authority = CertificateAuthority(key, root, ())
        self.anchor = to_pem(root)

    def server(self) -> tuple[str, str]:
        """PEM of a certificate for this machine, and of its key."""
        return self._leaf(None, ["127.0.0.1", "localhost"], Usage.SERVER_AUTH)[:2]

    def client(self, common_name: str) -> tuple[str, str, int]:
        """PEM of a client's certificate and of its key, and its serial."""
        return self._leaf(common_name, [], Usage.CLIENT_AUTH)

    def _leaf(
        self, common_name: str | None, names: Sequence[str], usage: Usage
    ) -> tuple[str, str, int]:
        key = generate_key(KeyType.P256)
        public_key, key_type, _ = classify(key.public_key())
        certificate = self._authority.issue(
            public_key=public_key,
            spki=spki_of(public_key),
            key_type=key_type,
            common_name=common_name,
            names=parse_names(names),
            usages=(usage,),
            validity_seconds=30 * _DAY,
            must_staple=False,
            now_ms=now_ms(),
        )
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return to_pem(certificate), text.decode("ascii"), certificate.serial_number
