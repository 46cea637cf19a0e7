"""A certctl process that is killed in the middle of a call to its CA.

It runs in a process of its own, forked from one that has imported everything already. The process
claims what is due, and ends by SIGKILL before or after its connector has made one kind of call:
nothing of what it learned is recorded.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certctl.domain.clock import SystemClock
from certctl.lifecycle.assembly import assemble
from certctl.lifecycle.catalog import Catalog
from certctl.storage.database import open_database
from certctl.storage.sealing import Keyring
from tests.conformance.driver import all_drivers
from tests.conformance.world import SCHEDULE
from tests.support.targets import SECRET

if TYPE_CHECKING:
    from certctl.connectors.contract import Connector, ConnectorContext
    from tests.conformance.driver import Driver
    from tests.support.targets import DatabaseTarget

#: So long others leave alone what a process has claimed that is gone.
LEASE_SECONDS = 0.5
_LIVES_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Moment:
    """When: before or after a method of the connector."""

    when: str
    method: str

    def __str__(self) -> str:
        return f"{self.when}-{self.method}"


def die(driver: Driver, target: DatabaseTarget, moment: Moment) -> None:
    """Have a process take up what is due, and be killed at that moment.

    Raises AssertionError when its time never comes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    arguments = (driver.name, target.url, str(target.data_dir), moment)
    process = context.Process(target=_live, args=arguments, daemon=True)
    process.start()
    process.join(_LIVES_SECONDS + 20)
    code = process.exitcode
    process.close()
    assert code == -signal.SIGKILL, f"the process ended with {code}, and was not killed"


def _live(name: str, url: str | None, data_dir: str, moment: Moment) -> None:
    asyncio.run(_work(name, url, Path(data_dir), moment))


async def _work(name: str, url: str | None, data_dir: Path, moment: Moment) -> None:
    """What a server does but serve."""
    (driver,) = [driver for driver in all_drivers() if driver.name == name]
    clock = SystemClock()
    database = await open_database(url=url, data_dir=data_dir, clock=clock, keyring=Keyring(SECRET))
    catalog = Catalog(database, clock, _doomed(driver, moment).find)
    await catalog.refresh()
    its = assemble(
        database, catalog, clock, SCHEDULE, lease_seconds=LEASE_SECONDS, idle_seconds=0.05
    )
    async with asyncio.timeout(_LIVES_SECONDS):
        await its.scheduler.run(asyncio.Event())


def _doomed(driver: Driver, moment: Moment) -> Driver:
    """The driver with connectors that kill their process."""

    async def build(config: Any, context: ConnectorContext) -> Connector:
        connector = await driver.connector.factory(config, context)
        kind = type(connector)
        method = getattr(kind, moment.method)

        async def call(self: Connector, *arguments: Any) -> Any:
            if moment.when == "after":
                await method(self, *arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        # A subclass, because what a connector can do is read from its methods.
        doomed = type(f"Doomed{kind.__name__}", (kind,), {moment.method: call, "__slots__": ()})
        connector.__class__ = doomed
        return connector

    return replace(driver, connector=replace(driver.connector, factory=build))
