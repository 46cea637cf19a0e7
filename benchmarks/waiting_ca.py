"""A certificate authority that is never done, for the server's own process; see `polling`.

It is installed as another package's connector would be. It notes when it was asked for which order,
in the file that the environment names.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, ClassVar

from certctl.connectors.config import ConnectorConfig
from certctl.connectors.contract import CheckResult, ConnectorType, Pending, Revoked
from certctl.domain.orders import Recovery
from certctl.domain.profiles import Abilities

if TYPE_CHECKING:
    from certctl.connectors.contract import (
        ConnectorContext,
        IssuanceRequest,
        Reference,
        RevocationRequest,
    )

BOOKS_SETTING = "BENCH_BOOKS"


class WaitingConfig(ConnectorConfig):
    """No settings."""

    env_prefix: ClassVar[str] = "CERTCTL_WAITING_"


class WaitingCA:
    """Answers `Pending` at once."""

    recovery = Recovery.REPEATABLE
    abilities = Abilities()
    poll_max_wait = 600.0

    def __init__(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._books = os.open(os.environ[BOOKS_SETTING], flags, 0o600)

    async def issue(self, request: IssuanceRequest) -> Pending:
        return Pending({"id": request.order_id})

    async def poll(self, request: IssuanceRequest, reference: Reference) -> Pending:
        os.write(self._books, f"{time.time_ns() // 1_000_000} {request.order_id}\n".encode())
        return Pending(reference)

    async def revoke(self, request: RevocationRequest) -> Revoked:
        return Revoked()

    async def check(self) -> CheckResult:
        return CheckResult(None, "waits")


async def _build(config: WaitingConfig, context: ConnectorContext) -> WaitingCA:
    del config, context
    return WaitingCA()


CONNECTOR = ConnectorType("Waiting", (), "Waiting CA", "iss-waiting", WaitingConfig, _build)
