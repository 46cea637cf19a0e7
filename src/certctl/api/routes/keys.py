"""`/api/v1/keys`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from certctl.api.cursors import Cursor, Limit, decode_cursor, encode_cursor
from certctl.api.key_views import created_view, key_view
from certctl.api.services import ObjectId, actor, services, use_cases
from certctl.domain.access import Role
from certctl.domain.clock import to_ms
from certctl.domain.profiles import SECONDS_PER_DAY
from certctl.lifecycle.keys import NewKey, ScopeRequest
from certctl.schemas.common import Page
from certctl.schemas.keys import KeyCreate, KeyCreated, KeyView

router = APIRouter(prefix="/keys", tags=["keys"])


@router.post("", response_model=KeyCreated, status_code=201, summary="Make an API key")
async def create(request: Request, response: Response, body: KeyCreate) -> KeyCreated:
    """Make a key. The answer shows it, and nothing else ever does: put it where it is needed."""
    now = services(request).clock.now_ms()
    expires_at = None if body.expires_at is None else to_ms(body.expires_at)
    if body.days is not None:
        expires_at = now + body.days * SECONDS_PER_DAY * 1000
    scope = body.scope
    state, key = await use_cases(request).keys.create(
        actor(request),
        NewKey(
            name=body.name,
            role=Role(body.role),
            scope=None
            if scope is None
            else ScopeRequest(issuers=scope.issuers, profiles=scope.profiles, names=scope.names),
            expires_at=expires_at,
        ),
    )
    response.headers["Location"] = f"/api/v1/keys/{state.record.id}"
    return created_view(state, key, now)


@router.get("", response_model=Page[KeyView], summary="List API keys")
async def list_all(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Page[KeyView]:
    """Keys, newest first, the revoked and the expired ones too.

    A key with a scope sees those that it has made.
    """
    before = decode_cursor(cursor, str)[0] if cursor is not None else None
    found = await use_cases(request).keys.list(actor(request), limit=limit + 1, before=before)
    now = services(request).clock.now_ms()
    return Page(
        data=[key_view(state, now) for state in found[:limit]],
        next=encode_cursor(found[limit - 1].record.id) if len(found) > limit else None,
    )


@router.get("/{key_id}", response_model=KeyView, summary="Show an API key")
async def get_one(request: Request, key_id: ObjectId) -> KeyView:
    """What a key may do, and when it was last used."""
    return key_view(await use_cases(request).keys.get(key_id), services(request).clock.now_ms())


@router.post("/{key_id}/revoke", response_model=KeyView, summary="Revoke an API key")
async def revoke(request: Request, key_id: ObjectId) -> KeyView:
    """Refuse it from now on; other processes do within a second. Repeating is harmless."""
    state = await use_cases(request).keys.revoke(actor(request), key_id)
    return key_view(state, services(request).clock.now_ms())
