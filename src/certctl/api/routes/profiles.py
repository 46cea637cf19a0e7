"""`/api/v1/profiles`."""

from __future__ import annotations

from fastapi import APIRouter, Request

from certctl.api.services import ObjectId, services
from certctl.api.views import profile_view
from certctl.schemas.common import Page
from certctl.schemas.issuers import ProfileView

router = APIRouter(prefix="/profiles", tags=["profiles"])


@router.get("", response_model=Page[ProfileView], summary="List profiles")
async def list_all(request: Request) -> Page[ProfileView]:
    """Every profile."""
    return Page(data=[profile_view(record) for record in services(request).catalog.profiles()])


@router.get("/{profile_id}", response_model=ProfileView, summary="Show a profile")
async def get_one(request: Request, profile_id: ObjectId) -> ProfileView:
    """One profile."""
    return profile_view(services(request).catalog.profile(profile_id))
