"""Connections to CAs, kept: one pool for each credential, proxy and host."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certctl.connectors.errors import Unavailable
from certctl.connectors.mtls import UNUSED_SECONDS, TlsContexts, TlsFiles

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from httpx2 import AsyncHTTPTransport

    from certctl.domain.clock import Clock

#: At most so many connections at once to one host with one credential.
MAX_CONNECTIONS = 100
_MAX_KEPT = 20
# Below what load balancers and firewalls allow an idle connection, so that few are found dead.
_KEPT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What connections are shared by. Hosts are apart, so that a slow CA holds up itself alone."""

    files: TlsFiles
    proxy: str | None = field(repr=False)
    authority: str


@dataclass(slots=True, eq=False)
class Pool:
    """Connections that were made with one context."""

    context: ssl.SSLContext
    http: AsyncHTTPTransport
    calls: int = 0
    retired: bool = False
    used: float = 0.0
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class Pools:
    """Every pool of this process. Belongs to one event loop."""

    def __init__(
        self, *, clock: Clock | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._contexts = TlsContexts(clock=clock, monotonic=monotonic)
        self._monotonic = monotonic
        self._swept = monotonic()
        self._pools: dict[PoolKey, Pool] = {}
        self._open: set[Pool] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def prepare(self, key: PoolKey) -> None:
        """Have what a call needs read; raises Misconfigured for files that cannot be used."""
        await self._context(key.files)

    async def take(self, key: PoolKey) -> Pool:
        """The pool for one call, of the files as they are now; to be given back.

        Raises Misconfigured for files that cannot be used, and Unavailable after `close`.
        """
        context = await self._context(key.files)
        proxy_context = None
        if key.proxy is not None and key.proxy.startswith("https:"):
            # The proxy is verified as the CA is, and is not shown the client's certificate.
            proxy_context = await self._context(TlsFiles(trust=key.files.trust))
            context = await self._context(key.files)
        if self._stopped:
            raise Unavailable("this server is being stopped")
        now = self._monotonic()
        pool = self._pools.get(key)
        if pool is None or pool.context is not context:
            if pool is not None:
                self._retire(pool)
            pool = Pool(context, _http(context, key.proxy, proxy_context))
            self._pools[key] = pool
            self._open.add(pool)
        pool.calls += 1
        pool.used = now
        if now - self._swept > UNUSED_SECONDS / 60:
            self._swept = now
            self._close_unused(now)
        return pool

    def give_back(self, pool: Pool) -> None:
        """The call has ended. A pool whose files have changed is closed after its last one."""
        pool.calls -= 1
        pool.used = self._monotonic()
        if pool.retired and not pool.calls:
            self._begin_closing(pool)

    def drop(self, key: PoolKey, pool: Pool) -> None:
        """Use the pool for no further call."""
        if self._pools.get(key) is pool:
            del self._pools[key]
            self._retire(pool)

    async def close(self) -> None:
        """Close every connection, after the calls under way; further ones are refused."""
        self._stopped = True
        for pool in self._pools.values():
            self._retire(pool)
        self._pools.clear()
        while self._open:
            await next(iter(self._open)).closed.wait()

    async def _context(self, files: TlsFiles) -> ssl.SSLContext:
        context = self._contexts.current(files)
        while context is None:
            await self._contexts.build(files)
            # They may have changed once more, and another call may have built from that.
            context = self._contexts.current(files)
        return context

    def _close_unused(self, now: float) -> None:
        for key, pool in list(self._pools.items()):
            if not pool.calls and now - pool.used > UNUSED_SECONDS:
                del self._pools[key]
                self._retire(pool)

    def _retire(self, pool: Pool) -> None:
        pool.retired = True
        if not pool.calls:
            self._begin_closing(pool)

    def _begin_closing(self, pool: Pool) -> None:
        # A task of its own: the call whose end it is may have been cancelled.
        task = asyncio.get_running_loop().create_task(self._close(pool))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, pool: Pool) -> None:
        try:
            await pool.http.aclose()
        finally:
            self._open.discard(pool)
            pool.closed.set()


def _http(
    context: ssl.SSLContext, proxy: str | None, proxy_context: ssl.SSLContext | None
) -> AsyncHTTPTransport:
    # The transport, not the client around it: issuers that share a pool must share no cookies,
    # and there are no redirects, logins or environment to be looked at.
    import httpx2

    return httpx2.AsyncHTTPTransport(
        verify=context,
        trust_env=False,
        http1=True,
        http2=False,
        retries=0,
        limits=httpx2.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_KEPT,
            keepalive_expiry=_KEPT_SECONDS,
        ),
        proxy=None if proxy is None else httpx2.Proxy(proxy, ssl_context=proxy_context),
    )
