"""A process is killed between sending and recording: the next one brings the order to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from certctl.domain.orders import Recovery
from certctl.lifecycle.assembly import free_leases
from tests.conformance.driver import for_drivers
from tests.conformance.dying import Moment, die
from tests.conformance.world import open_world, outcomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from certctl.storage.database import Database
    from tests.conformance.driver import Driver, Peer
    from tests.conformance.world import Json, World
    from tests.support.targets import DatabaseTarget

pytestmark = pytest.mark.anyio

SURE = (Recovery.IDEMPOTENT, Recovery.LOOKUP)


@dataclass(frozen=True)
class Scene:
    """A control plane that does nothing by itself, on a database where other processes die."""

    world: World
    database: Database
    target: DatabaseTarget

    async def die(self, when: str, method: str) -> None:
        """Have a process take up what is due, and killed."""
        await asyncio.to_thread(die, self.world.driver, self.target, Moment(when, method))
        if self.target.url is None:  # as the start of a server does; elsewhere the lease ends
            await free_leases(self.database)

    async def end(self, order_id: str, state: str) -> Json:
        """Have the next process bring the order to an end."""
        async with self.world.at_work():
            return await self.world.until(order_id, state)


@pytest.fixture(scope="module")
async def quiet_world(
    driver: Driver,
    peer: Peer,
    shared_database: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("world")
    async with open_world(shared_database, folder, driver, peer, run_scheduler=False) as world:
        yield world


@pytest.fixture
def scene(
    quiet_world: World,
    shared_database: Database,
    shared_target: DatabaseTarget,
    socket_enabled: None,
) -> Scene:
    del socket_enabled
    return Scene(quiet_world, shared_database, shared_target)


@for_drivers(recovery=set(Recovery) - {Recovery.ASK})
async def test_before_sending_it_is_sent_by_the_next(scene: Scene) -> None:
    order_id = await scene.world.order()
    await scene.die("before", "issue")
    assert await scene.world.ordered(order_id) == 0
    await scene.end(order_id, "issued")
    assert await scene.world.ordered(order_id) == 1


@for_drivers(recovery=SURE)
async def test_after_sending_it_is_found_and_not_ordered_again(scene: Scene) -> None:
    order_id = await scene.world.order()
    await scene.die("after", "issue")
    assert await scene.world.ordered(order_id) == 1
    await scene.end(order_id, "issued")
    assert await scene.world.ordered(order_id) == 1


@for_drivers(recovery=[Recovery.REPEATABLE])
async def test_after_sending_there_is_one_spare_and_the_history_says_so(scene: Scene) -> None:
    order_id = await scene.world.order()
    await scene.die("after", "issue")
    order = await scene.end(order_id, "issued")
    assert await scene.world.ordered(order_id) == 2
    assert outcomes(order, "submit")[0] == "lost"


@for_drivers(recovery=[Recovery.ASK])
@pytest.mark.parametrize(("when", "ordered"), [("before", 0), ("after", 1)])
async def test_where_only_a_person_can_tell_a_person_is_asked(
    scene: Scene, when: str, ordered: int
) -> None:
    order_id = await scene.world.order()
    await scene.die(when, "issue")
    order = await scene.end(order_id, "uncertain")
    assert await scene.world.ordered(order_id) == ordered
    assert outcomes(order)[0] == "lost"
    assert outcomes(order, "submit") == ["lost"]
    assert order["due_at"] is None


@for_drivers(asynchronous=True)
async def test_after_a_poll_the_next_one_polls_again(scene: Scene) -> None:
    order_id = await scene.world.order()
    await scene.die("after", "poll")
    order = await scene.end(order_id, "issued")
    assert await scene.world.ordered(order_id) == 1
    assert outcomes(order, "submit") == ["pending"]


@for_drivers(representative=True)
async def test_after_telling_a_revocation_it_is_told_again(scene: Scene) -> None:
    world = scene.world
    order = await scene.end(await world.order(), "issued")
    certificate = await world.certificate(order)
    await world.post(f"certificates/{certificate['id']}/revoke", {"reason": "superseded"})
    await scene.die("after", "revoke")
    assert world.peer.revoked(certificate["version"]["serial"]) == "superseded"
    async with world.at_work():
        await world.revocation_until(certificate, "confirmed")
