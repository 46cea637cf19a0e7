"""`/api/v1/profiles`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from certctl.api.profile_views import profile_view, wanted_profile
from certctl.api.services import ObjectId, actor, use_cases
from certctl.schemas.common import Page
from certctl.schemas.profiles import ProfileCreate, ProfileUpdate, ProfileView

router = APIRouter(prefix="/profiles", tags=["profiles"])


@router.get("", response_model=Page[ProfileView], summary="List profiles")
async def list_all(
    request: Request,
    archived: Annotated[bool, Query(description="The archived ones as well")] = False,
) -> Page[ProfileView]:
    """Every profile within the key's scope, by id."""
    scope = actor(request).scope
    found = await use_cases(request).profiles.list(archived=archived)
    return Page(
        data=[
            profile_view(state)
            for state in found
            if scope is None or scope.admits_profile(state.record.profile.id)
        ]
    )


@router.post("", response_model=ProfileView, status_code=201, summary="Make a profile")
async def create(request: Request, response: Response, body: ProfileCreate) -> ProfileView:
    """Make rules for a class of certificates.

    They are held against what each allowed issuer can do; about an issuer that is not ready there
    is a warning.
    """
    wanted = wanted_profile(body, body.id or "")
    made = await use_cases(request).profiles.create(actor(request), wanted, enabled=body.enabled)
    response.headers["Location"] = f"/api/v1/profiles/{made.record.profile.id}"
    return profile_view(made)


@router.get("/{profile_id}", response_model=ProfileView, summary="Show a profile")
async def get_one(request: Request, profile_id: ObjectId) -> ProfileView:
    """One profile, archived or not."""
    return profile_view(await use_cases(request).profiles.get(profile_id))


@router.put("/{profile_id}", response_model=ProfileView, summary="Change a profile")
async def update(request: Request, profile_id: ObjectId, body: ProfileUpdate) -> ProfileView:
    """Replace all of a profile but its id.

    Requests and renewals that come after it are held against the new rules. What was issued stays
    as it is, and what was ordered goes on as it was ordered.
    """
    wanted = wanted_profile(body, profile_id)
    changed = await use_cases(request).profiles.update(
        actor(request), wanted, enabled=body.enabled, revision=body.revision
    )
    return profile_view(changed)


@router.delete("/{profile_id}", status_code=204, summary="Delete or archive a profile")
async def delete(
    request: Request,
    profile_id: ObjectId,
    archive: Annotated[
        bool, Query(description="Put it away instead, with all that was ordered with it")
    ] = False,
) -> Response:
    """Delete a profile that no certificate uses, or archive one.

    An archived profile takes no requests and no renewals, and its name is free.
    """
    if archive:
        await use_cases(request).profiles.archive(actor(request), profile_id)
    else:
        await use_cases(request).profiles.delete(actor(request), profile_id)
    return Response(status_code=204)


@router.post("/{profile_id}/enable", response_model=ProfileView, summary="Enable a profile")
async def enable(request: Request, profile_id: ObjectId) -> ProfileView:
    """Let requests name it again."""
    return profile_view(await use_cases(request).profiles.enable(actor(request), profile_id))


@router.post("/{profile_id}/disable", response_model=ProfileView, summary="Disable a profile")
async def disable(request: Request, profile_id: ObjectId) -> ProfileView:
    """Take no more requests and renewals for it."""
    return profile_view(await use_cases(request).profiles.disable(actor(request), profile_id))
