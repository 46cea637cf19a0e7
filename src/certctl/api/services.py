"""What the routes work with: made by the composition root, brought by each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Path, Request

if TYPE_CHECKING:
    import asyncio

    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.lifecycle.assembly import UseCases
    from certctl.lifecycle.catalog import Catalog
    from certctl.storage.database import Database

#: An id in a path. Nothing longer, or of other characters, was ever given out.
ObjectId = Annotated[str, Path(max_length=80, pattern=r"^[a-z0-9-]+$")]


@dataclass(frozen=True, slots=True)
class Services:
    """One of each, for one process."""

    database: Database
    catalog: Catalog
    use_cases: UseCases
    clock: Clock
    stopping: asyncio.Event


def services(request: Request) -> Services:
    """The services of the process that serves this request."""
    found: Services = request.state.services
    return found


def use_cases(request: Request) -> UseCases:
    """What can be done, for the application that serves this request."""
    return services(request).use_cases


def actor(request: Request) -> Actor:
    """Who is calling."""
    found: Actor = request.state.actor
    return found
