"""Callers of the API: keys of every role, with a scope or without, made over the API itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a key of their own."""

    client: AsyncClient
    id: str
    key: str

    async def send(self, method: str, path: str, **more: Any) -> Response:
        """Send a request with that key."""
        headers = {**more.pop("headers", {}), "Authorization": f"Bearer {self.key}"}
        return await self.client.request(method, path, headers=headers, **more)

    async def get(self, path: str, **more: Any) -> Response:
        """Get something."""
        return await self.send("GET", path, **more)

    async def post(self, path: str, json: Any = None, **more: Any) -> Response:
        """Post something."""
        return await self.send("POST", path, json=json, **more)


async def caller(
    client: AsyncClient,
    role: str,
    scope: dict[str, Any] | None = None,
    *,
    by: str | None = None,
    **more: Any,
) -> Caller:
    """A new key, made with the key of that client, or with another one."""
    body = {"name": f"a {role}", "role": role, "scope": scope, **more}
    headers = {} if by is None else {"Authorization": f"Bearer {by}"}
    answer = await client.post("/api/v1/keys", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    return Caller(client, made["id"], made["key"])
