"""Calls about API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.client.calls import Calls, at
from certctl.client.connection import parse
from certctl.schemas.common import Page
from certctl.schemas.keys import KeyCreated, KeyView

if TYPE_CHECKING:
    from certctl.schemas.keys import KeyCreate

_KEYS = "/api/v1/keys"


class KeyCalls(Calls):
    """`/api/v1/keys`."""

    def keys(self, *, limit: int | None = None, cursor: str | None = None) -> Page[KeyView]:
        """One page of keys, newest first."""
        return parse(Page[KeyView], self._get(_KEYS, limit=limit, cursor=cursor))

    def key(self, key_id: str) -> KeyView:
        """One key, without the key itself."""
        return parse(KeyView, self._get(at("keys", key_id)))

    def create_key(self, wanted: KeyCreate) -> KeyCreated:
        """Make a key; the answer is the only one that shows it.

        It is not sent again by itself: after an error that is `uncertain` there may be a key that
        nobody has. It shows in `keys()`, and can be revoked.
        """
        answer = self._connection.send("POST", _KEYS, body=wanted)
        return parse(KeyCreated, answer)

    def revoke_key(self, key_id: str) -> KeyView:
        """Refuse a key from now on; twice is harmless."""
        return parse(KeyView, self._post(at("keys", key_id, "revoke")))
