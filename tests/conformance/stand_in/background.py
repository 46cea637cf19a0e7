"""A CA made for tests that runs in a thread of this process, with accounts, books and a script."""

from __future__ import annotations

import asyncio
import random
import ssl
import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in.accounts import Account, new_pair
from tests.conformance.stand_in.hierarchy import Infrastructure
from tests.conformance.stand_in.script import Chaos, Misbehaviour
from tests.conformance.stand_in.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cryptography import x509

    from tests.conformance.stand_in.desk import Desk, Parts

_START_SECONDS = 20.0
_Authority = TypeVar("_Authority", bound="RunningAuthority")


class RunningAuthority(ABC):
    """One CA. Its methods may be called from any thread.

    `desk` answers; `pair` makes an API key and a secret for a generation of credentials.
    """

    def __init__(
        self,
        folder: Path,
        parts: Parts,
        desk: Desk,
        *,
        client_certificates: bool = True,
        pair: Callable[[int], tuple[str, str]] = new_pair,
    ) -> None:
        self._folder = folder
        self._infrastructure = Infrastructure()
        self._script = parts.script
        self._doorkeeper = parts.doorkeeper
        self.books = parts.books
        self._desk = desk
        self._pair = pair
        self._client_certificates = client_certificates
        self._wire = Wire(desk.answer)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()
        self.port = 0
        self.trust_path = folder / "stand-in-trust.pem"
        self.trust_path.write_text(self._infrastructure.anchor)

    @property
    @abstractmethod
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The issuing CA, then its root."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """What a connector to it is told as its address."""
        return self.url

    def new_account(self) -> Account:
        """A new generation of credentials, accepted beside the ones before it."""
        generation = self._doorkeeper.next_generation()
        key, secret = self._pair(generation)
        certificate, private_key, serial = self._infrastructure.client(f"client {generation}")
        account = Account(generation, key, secret, certificate, private_key, serial)
        self._doorkeeper.admit(account)
        return account

    def end(self, account: Account) -> None:
        """Accept that generation no longer."""
        self._doorkeeper.end(account)

    def restore(self, account: Account) -> None:
        """Accept it again."""
        self._doorkeeper.restore(account)

    def revoke(self, serial: str) -> None:
        """Revoke a certificate behind the customer's back."""
        self._desk.mark_revoked(serial)

    def settings(self, account: Account, folder: Path, name: str = "client") -> dict[str, str]:
        """What a connector to this CA is told, for an account whose files are written to `folder`.

        The names are those of a connector with an API key and a client certificate.
        """
        certificate, key = account.write(folder, name)
        return {
            "api_url": self.api_url,
            "api_key": account.api_key,
            "api_secret": account.api_secret,
            "client_cert_path": str(certificate),
            "client_key_path": str(key),
            "server_ca_path": str(self.trust_path),
        }

    def misbehave(
        self,
        mischief: Mischief,
        *,
        times: int | None = 1,
        on: Operation | None = Operation.SUBMIT,
        seconds: float = 1.0,
    ) -> None:
        """Do something wrong the next `times` (None: until told otherwise) that `on` is asked.

        `on` None is whatever is asked. `seconds` is how slow SLOW is, and what Retry-After says.
        """
        self._script.add(Misbehaviour(mischief, on, times, seconds))

    def chaos(
        self,
        share: float,
        seed: int,
        ways: Mapping[Operation, tuple[Mischief, ...]],
        *,
        seconds: float = 1.0,
    ) -> None:
        """Let that share of the requests of each kind go wrong, in one of the ways given for it."""
        self._script.set_chaos(Chaos(share, random.Random(seed), dict(ways), seconds))

    def behave(self) -> None:
        """Forget every instruction."""
        self._script.clear()

    def set_latency(self, seconds: float) -> None:
        """Let every answer take at least so long."""
        self._wire.latency = seconds

    def start(self) -> None:
        """Start serving."""
        context = self._context()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(context)), name="stand-in", daemon=True
        )
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise RuntimeError("the stand-in did not start")

    def stop(self) -> None:
        """Stop serving, without regard for what is under way."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_START_SECONDS)
        self._thread = None
        self.books.close()

    async def _run(self, context: ssl.SSLContext) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await self._wire.serve(context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        await self._wire.close(server)

    def _context(self) -> ssl.SSLContext:
        certificate, key = self._infrastructure.server()
        pair = self._folder / "stand-in-server.pem"
        pair.write_text(key + certificate)
        pair.chmod(0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(pair)
        if self._client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.trust_path)
        return context


@contextmanager
def serving(ca: _Authority) -> Iterator[_Authority]:
    """The CA on a free port, until the block ends."""
    ca.start()
    try:
        yield ca
    finally:
        ca.stop()
