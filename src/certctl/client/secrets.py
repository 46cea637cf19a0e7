"""Calls about the keys that seal what the server stores."""

from __future__ import annotations

from certctl.client.calls import Calls
from certctl.client.connection import parse
from certctl.schemas.secrets import Rotation, SealingStatus

_SECRETS = "/api/v1/secrets"
_ROTATE_SECONDS = 600.0


class SecretCalls(Calls):
    """`/api/v1/secrets`."""

    def sealing_status(self) -> SealingStatus:
        """Which keys seal the stored values, and how many values each."""
        return parse(SealingStatus, self._get(_SECRETS))

    def rotate_secrets(self) -> Rotation:
        """Have everything sealed anew under the newest key; safe to repeat.

        It may take minutes. After an error that is `uncertain` the server may still be at it:
        `sealing_status()` tells, and another call finishes what is left.
        """
        answer = self._connection.send("POST", f"{_SECRETS}/rotate", answer_within=_ROTATE_SECONDS)
        return parse(Rotation, answer)
