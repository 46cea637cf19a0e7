"""The composition root: the only place that knows everything.

One process serves with SQLite. With `workers` above one, this process binds the sockets, lets a
child prepare the database, forks the workers (after the imports, before any loop, thread or
engine), passes signals on and restarts what dies.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
import uvloop

from certctl import __version__
from certctl.api.app import create_app
from certctl.api.public_protocol import PublicProtocol
from certctl.api.services import Services
from certctl.api.status import StatusApp
from certctl.api.tls_protocol import TLSProtocol
from certctl.connectors.transport import Transports
from certctl.domain.clock import SystemClock
from certctl.domain.errors import CertctlError, Misconfigured
from certctl.domain.polling import PollSchedule
from certctl.domain.profiles import SECONDS_PER_DAY
from certctl.domain.webhooks import parse_target
from certctl.lifecycle.assembly import assemble, free_leases
from certctl.lifecycle.catalog import Catalog
from certctl.lifecycle.metrics import Metrics, SharedFiles
from certctl.lifecycle.seeding import seed, seed_admin_key
from certctl.lifecycle.server_certificate import (
    OperatorFiles,
    OwnCertificate,
    ServerTls,
    own_use,
)
from certctl.logs import configure_logs
from certctl.settings import load_settings
from certctl.storage.database import open_database
from certctl.storage.files import replace_file
from certctl.storage.locks import lock_data_dir
from certctl.storage.restoring import refuse_unfinished
from certctl.storage.sealing import load_keyring
from certctl.supervisor import supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certctl.domain.webhooks import WebhookTarget
    from certctl.settings import Settings
    from certctl.storage.database import Database

log = structlog.get_logger(__name__)

_BACKLOG = 2048
#: Open requests may wait this long for their answers when the server stops.
_GRACE_SECONDS = 30
#: Requests make thousands of short-lived objects and hardly a cycle.
_GC_THRESHOLDS = (20_000, 20, 20)


def serve(overrides: dict[str, Any] | None = None) -> int:
    """Run the server until it is told to stop; returns the process's exit code.

    `overrides` are settings by name, on top of the environment.
    """
    try:
        settings = load_settings(overrides)
        _webhook(settings)  # what is wrong with it is said before anything begins
        configure_logs(settings.log_level)
        os.umask(0o077)  # the database and its logs are for this user alone
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _bind_all(settings) as listeners:
            if settings.database_url is None:
                with lock_data_dir(settings.data_dir):
                    refuse_unfinished(settings.data_dir)
                    return _run(_serve(settings, listeners, first=True))
            if settings.workers == 1:
                return _run(_serve(settings, listeners, first=True))
            counts = settings.data_dir / "metrics"
            SharedFiles.make_empty(counts)
            return supervise(
                prepare=lambda: _run(_prepare(settings)),
                work=lambda number, lifeline: _run(
                    _serve(
                        settings,
                        listeners,
                        first=number == 0,
                        lifeline=lifeline,
                        counts=SharedFiles(counts, number),
                    )
                ),
                workers=settings.workers,
            )
    except CertctlError as error:
        return _report(error)
    except OSError as error:
        print(f"Error: {error.strerror or error}", file=sys.stderr)
        return 1


def _report(error: CertctlError) -> int:
    print(f"Error: {error.detail}", file=sys.stderr)
    if error.hint:
        print(f"Hint: {error.hint}", file=sys.stderr)
    return 1


def _run(main: Any) -> int:
    # Two threads share the interpreter, and the event loop answers to people: let it in sooner.
    sys.setswitchinterval(0.0005)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    except CertctlError as error:
        return _report(error)
    return 0


@dataclass(frozen=True, slots=True)
class _Listeners:
    """The sockets of the API (HTTPS) and of the status service (plain HTTP)."""

    api: socket.socket
    status: socket.socket


@contextmanager
def _bind_all(settings: Settings) -> Iterator[_Listeners]:
    with (
        _bind(settings.server_host, settings.server_port, "CERTCTL_SERVER_PORT") as api,
        _bind(settings.status_host, settings.status_port, "CERTCTL_STATUS_PORT") as status,
    ):
        yield _Listeners(api, status)


@contextmanager
def _bind(host: str, port: int, setting: str) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise Misconfigured(
                "address-not-available",
                f"cannot listen on {host} port {port}: {error.strerror}",
                hint=f"stop what listens there, or set {setting}",
            ) from None
        listener.listen(_BACKLOG)
        listener.set_inheritable(True)
        yield listener
    finally:
        listener.close()


async def _open(settings: Settings) -> Database:
    on_postgresql = settings.database_url is not None
    secret, further = settings.config_encryption_key, settings.config_decryption_keys
    keyring = load_keyring(
        secret.get_secret_value() if secret else None,
        settings.data_dir,
        required=on_postgresql,
        further=further.get_secret_value() if further else None,
    )
    return await open_database(
        url=settings.database_url.get_secret_value() if settings.database_url else None,
        data_dir=settings.data_dir,
        clock=SystemClock(),
        keyring=keyring,
    )


def _webhook(settings: Settings) -> WebhookTarget | None:
    url, secret = settings.webhook_url, settings.webhook_secret
    if url is None or secret is None:
        return None
    return parse_target(url.get_secret_value(), secret.get_secret_value())


async def _prepare(settings: Settings) -> None:
    """Migrate and seed, so that the workers start on a finished database."""
    database = await _open(settings)
    try:
        await _seed(settings, database)
    finally:
        await database.close()


async def _seed(settings: Settings, database: Database) -> None:
    await seed(database, os.environ)
    key = await seed_admin_key(database, settings.data_dir)
    if key is not None:
        path = settings.data_dir / "admin.key"
        log.info("first admin key made", file=str(path))
        if sys.stderr.isatty():  # a person sees it once; a log never does
            print(f"\nFirst admin key: {key}\nIt is also in {path}\n", file=sys.stderr)


async def _serve(
    settings: Settings,
    listeners: _Listeners,
    *,
    first: bool,
    lifeline: int | None = None,
    counts: SharedFiles | None = None,
) -> None:
    database = await _open(settings)
    try:
        if lifeline is None:  # else a child of its own has done it
            await _seed(settings, database)
        if database.dialect == "sqlite":  # one process: whoever held a lease is gone
            await free_leases(database)
        await _serve_with(
            settings, listeners, database, first=first, lifeline=lifeline, counts=counts
        )
    finally:
        await database.close()


async def _serve_with(
    settings: Settings,
    listeners: _Listeners,
    database: Database,
    *,
    first: bool,
    lifeline: int | None,
    counts: SharedFiles | None,
) -> None:
    clock = database.clock
    stopping = asyncio.Event()
    status_address = _url("http", settings.status_host, listeners.status)
    transports = Transports()
    catalog = Catalog(
        database,
        clock,
        transports=transports,
        status_url=_public_status_url(settings, status_address, tell=first),
        listen_url=settings.database_url.get_secret_value() if settings.database_url else None,
    )
    await catalog.refresh()
    its = assemble(
        database,
        catalog,
        clock,
        PollSchedule(
            order_max_age=settings.order_max_age_days * SECONDS_PER_DAY,
            scale=settings.schedule_scale,
        ),
        lease_seconds=settings.lease_seconds,
        environment=os.environ,
        own_use=None if settings.server_tls_cert_path else own_use(settings.names),
        metrics=Metrics(counts),
        webhook=_webhook(settings),
    )
    services = Services(
        database=database,
        catalog=catalog,
        use_cases=its,
        clock=clock,
        stopping=stopping,
    )
    if settings.server_tls_cert_path and settings.server_tls_key_path:
        source: OperatorFiles | OwnCertificate = OperatorFiles(
            settings.server_tls_cert_path, settings.server_tls_key_path
        )
    else:
        source = OwnCertificate(database, catalog, its.enrolment, clock, settings.names)
    tls = ServerTls(source, settings.data_dir)
    await tls.load()
    await its.crls.ensure()
    address = _url("https", settings.server_host, listeners.api)

    def ready() -> None:
        if first:
            replace_file(
                settings.data_dir / "server.json",
                json.dumps(
                    {"url": address, "status_url": status_address, "pid": os.getpid()}
                ).encode(),
                0o644,
            )
        log.info(
            "ready",
            url=address,
            status_url=status_address,
            version=__version__,
            database=database.dialect,
        )
        # What exists now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)

    status = _Server(
        _config(StatusApp(catalog, its.crls, its.ocsp, clock), http=PublicProtocol), None
    )
    api = _Server(
        _config(
            create_app(services),
            http=TLSProtocol,
            ssl_context_factory=lambda _config, _default: tls.listener_context(),
        ),
        ready,
    )

    def stop() -> None:
        stopping.set()
        api.should_exit = status.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if lifeline is not None:
        loop.add_reader(lifeline, stop)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(its.scheduler.run(stopping))
        tasks.create_task(catalog.watch(stopping))
        tasks.create_task(its.conditions.watch(stopping))
        tasks.create_task(its.last_use.run(stopping))
        tasks.create_task(tls.maintain(stopping))
        try:
            async with asyncio.TaskGroup() as serving:
                # Both sockets listen already: who comes before a server is up waits in line.
                serving.create_task(status.serve(sockets=[listeners.status]))
                serving.create_task(api.serve(sockets=[listeners.api]))
        finally:
            stopping.set()
    await transports.close()
    log.info("stopped")


def _config(app: Any, **options: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        **options,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, told to stop by us (it would take the signals for itself)."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._ready = ready

    def capture_signals(self) -> Any:
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready is not None:
            self._ready()


def _url(scheme: str, host: str, listener: socket.socket) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - what everybody means by "all addresses"
        host = "localhost"
    if ":" in host:
        host = f"[{host}]"
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def _public_status_url(settings: Settings, status_address: str, *, tell: bool) -> str | None:
    """What certificates say about where their status is; `tell` to log that they say nothing."""
    if settings.public_status_url is not None:
        return settings.public_status_url
    if settings.is_local:
        return status_address
    if tell:
        log.warning(
            "certificates will not say where their status is: no CRL, OCSP or CA addresses",
            hint="set CERTCTL_PUBLIC_STATUS_URL to the http:// address at which relying parties "
            f"reach {status_address}",
        )
    return None
