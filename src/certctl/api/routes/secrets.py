"""`/api/v1/secrets`."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request

from certctl.api.services import actor, use_cases
from certctl.lifecycle.secrets import SealingState
from certctl.schemas.secrets import Rotation, SealingKey, SealingStatus

router = APIRouter(prefix="/secrets", tags=["secrets"])


@router.get("", response_model=SealingStatus, summary="Show the sealing keys")
async def status(request: Request) -> SealingStatus:
    """The ids of the keys that seal what is stored, and how many values each of them seals."""
    state = await use_cases(request).secrets.status()
    return SealingStatus(source=_source(state), keys=_keys(state))


@router.post("/rotate", response_model=Rotation, summary="Rotate the sealing key")
async def rotate(request: Request) -> Rotation:
    """Seal everything that is stored under a new key; what an earlier call left is finished."""
    outcome = await use_cases(request).secrets.rotate(actor(request))
    return Rotation(
        source=_source(outcome.state), keys=_keys(outcome.state), resealed=outcome.resealed
    )


def _source(state: SealingState) -> Literal["environment", "file"]:
    return "file" if state.from_file else "environment"


def _keys(state: SealingState) -> list[SealingKey]:
    return [
        SealingKey(key_id=each.key_id, current=each.current, values=each.values)
        for each in state.keys
    ]
