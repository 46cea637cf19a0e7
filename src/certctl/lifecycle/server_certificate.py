"""The certificate of our own HTTPS: from the Local CA, or the operator's; changed while serving.

A live `SSLContext` keeps the old certificate of another key type when a new one is loaded into it,
so a change builds a new context, and the listener's `sni_callback` hands out the current one. A
build that fails leaves the old one in place.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certctl.connectors.contract import ExposesChain
from certctl.domain.clock import to_ms
from certctl.domain.errors import CertctlError, Misconfigured
from certctl.domain.names import parse_name
from certctl.domain.serials import serial_hex
from certctl.lifecycle.access import SYSTEM
from certctl.lifecycle.catalog import pause
from certctl.lifecycle.enrolment import EnrolmentRequest
from certctl.lifecycle.own_use import OwnUse
from certctl.lifecycle.seeding import LOCAL_ISSUER_ID
from certctl.pki.certificates import chain_pem, split_pem_certificates, to_pem
from certctl.pki.request_builder import build_request
from certctl.storage.files import replace_file
from certctl.storage.sealed_values import StoredState, swap
from certctl.storage.statuses import find_status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from certctl.domain.clock import Clock
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.enrolment import Enrolment
    from certctl.storage.database import Database

log = structlog.get_logger(__name__)

CHECK_SECONDS = 60.0
_PROFILE_ID = "prof-tls-server"


def own_use(names: Sequence[str]) -> OwnUse:
    """What an `OwnCertificate` for these names is ordered with."""
    return OwnUse(_PROFILE_ID, LOCAL_ISSUER_ID, tuple(names))


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its issuers (PEM, leaf first) and its key (PEM, PKCS#8)."""

    certificates: str
    key: bytes


class Source(Protocol):
    """Where the key pair comes from."""

    async def current(self) -> KeyPair:
        """The pair to serve now; raises CertctlError where there is none."""
        ...


class OperatorFiles:
    """The operator's own certificate and key, read again when the files change."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key

    async def current(self) -> KeyPair:
        """What the files hold now."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> KeyPair:
        try:
            return KeyPair(self._certificate.read_text(), self._key.read_bytes())
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(
                "server-certificate-unreadable",
                "the server's own certificate or key file cannot be read",
                field="CERTCTL_SERVER_TLS_CERT_PATH",
                hint=error.strerror if isinstance(error, OSError) else "the file must be PEM",
            ) from None


class OwnCertificate:
    """A certificate from our own Local CA, shared by all processes that serve the same names."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        enrolment: Enrolment,
        clock: Clock,
        names: Sequence[str],
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._enrolment = enrolment
        self._clock = clock
        self._names = tuple(names)
        digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
        self._slot = f"tls:{digest[:32]}"

    async def current(self) -> KeyPair:
        """The stored pair, or a new one when it is missing, nearly over, revoked, of another CA."""
        state = StoredState(self._database, "server")
        stored = await state.get(self._slot)
        if stored is not None:
            pair = _unpack(stored)
            if not self._is_due(pair) and not await self._is_revoked(pair):
                return pair
        made = _pack(await self._make())
        # Processes may get here together; the first one's certificate is everybody's.
        kept = await swap(self._database, "server", self._slot, expected=stored, new=made)
        return _unpack(kept)

    def _is_due(self, pair: KeyPair) -> bool:
        leaf, *chain = split_pem_certificates(pair.certificates)
        start, end = to_ms(leaf.not_valid_before_utc), to_ms(leaf.not_valid_after_utc)
        if self._clock.now_ms() >= end - (end - start) // 3:
            return True
        issuer = self._catalog.issuer(LOCAL_ISSUER_ID)
        if not isinstance(issuer.connector, ExposesChain) or not chain:
            return False
        return issuer.connector.chain()[0] != chain[0]

    async def _is_revoked(self, pair: KeyPair) -> bool:
        leaf = split_pem_certificates(pair.certificates)[0]
        serial = serial_hex(leaf.serial_number)
        status = await self._database.read(
            lambda connection: find_status(connection, LOCAL_ISSUER_ID, serial)
        )
        return status is not None and status.revoked_at is not None

    async def _make(self) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [parse_name(name, "server_names") for name in self._names]
        enrolled = await self._enrolment.enrol(
            SYSTEM,
            EnrolmentRequest(
                issuer_id=LOCAL_ISSUER_ID,
                profile_id=_PROFILE_ID,
                csr=build_request(key, names),
                owner="certctl",
            ),
        )
        version = enrolled.certificate.version
        if version is None:
            raise Misconfigured(
                "server-certificate-missing",
                "the Local CA did not issue the server's certificate at once",
            )
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return KeyPair(to_pem(version.der) + version.chain, pem)


def _pack(pair: KeyPair) -> bytes:
    return pair.key + pair.certificates.encode()


def _unpack(stored: bytes) -> KeyPair:
    end = stored.index(b"-----BEGIN CERTIFICATE")
    return KeyPair(stored[end:].decode(), stored[:end])


class ServerTls:
    """The TLS context of the listener, following its source."""

    def __init__(self, source: Source, data_dir: Path) -> None:
        self._source = source
        self._data_dir = data_dir
        self._pair: KeyPair | None = None
        self._current: ssl.SSLContext | None = None

    async def load(self) -> None:
        """Take over what the source has now; writes the trust anchor for clients to `ca.pem`.

        Raises CertctlError where it cannot be served; what was served before stays.
        """
        pair = await self._source.current()
        if pair == self._pair:
            return
        self._current = await asyncio.to_thread(_context, pair, self._data_dir)
        self._pair = pair
        anchor = split_pem_certificates(pair.certificates)[-1]
        await asyncio.to_thread(
            replace_file, self._data_dir / "ca.pem", chain_pem([anchor]).encode(), 0o644
        )
        log.info("server certificate loaded", **_describe(pair))

    def listener_context(self) -> ssl.SSLContext:
        """The context to listen with; each handshake gets the one that is current then."""
        context = self._require()

        def hand_out(connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
            connection.context = self._require()

        # A context of its own: the one that is replaced must not be the one that replaces.
        listener = _copy_settings(context)
        listener.sni_callback = hand_out
        return listener

    def _require(self) -> ssl.SSLContext:
        if self._current is None:
            raise RuntimeError("load() comes first")
        return self._current

    async def maintain(self, stopping: asyncio.Event) -> None:
        """Look again every minute until `stopping` is set."""
        while not stopping.is_set():
            await pause(stopping, CHECK_SECONDS)
            try:
                await self.load()
            except CertctlError as error:
                log.error("server certificate not renewed", problem=error.detail)


def _copy_settings(context: ssl.SSLContext) -> ssl.SSLContext:
    copy = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    copy.minimum_version = context.minimum_version
    return copy


def _context(pair: KeyPair, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # OpenSSL's loader takes files only. What touches the disk is encrypted under a password that
    # exists in this call alone.
    password = secrets.token_hex(16)
    descriptor, path = tempfile.mkstemp(dir=directory, prefix=".tls-")
    try:
        key = serialization.load_pem_private_key(pair.key, None)
        with os.fdopen(descriptor, "wb") as file:
            file.write(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.BestAvailableEncryption(password.encode()),
                )
            )
            file.write(pair.certificates.encode())
        context.load_cert_chain(path, password=password)
    except (ssl.SSLError, ValueError, TypeError):
        raise Misconfigured(
            "server-certificate-invalid",
            "the server's certificate and key cannot be used: not PEM, or not a pair",
            hint="check CERTCTL_SERVER_TLS_CERT_PATH and CERTCTL_SERVER_TLS_KEY_PATH",
        ) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - a descriptor's path, not a Path
    return context


def _describe(pair: KeyPair) -> dict[str, str]:
    leaf = x509.load_pem_x509_certificate(pair.certificates.encode())
    return {"serial": f"{leaf.serial_number:x}", "until": leaf.not_valid_after_utc.isoformat()}
