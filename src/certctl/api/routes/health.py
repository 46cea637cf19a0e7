"""`/healthz` and `/readyz`: for load balancers, without a key."""

from __future__ import annotations

from fastapi import APIRouter, Request

from certctl.api.services import services
from certctl.schemas.common import Health

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=Health, summary="Alive?")
async def healthz() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", response_model=Health, summary="Ready?")
async def readyz(request: Request) -> Health:
    """The process can do its work: the database answers and takes writes (else 503)."""
    await services(request).database.ping()
    return Health(status="ok")
