"""The test of an issuer: its connector's own call to the CA, with a time limit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from certctl.connectors.config import hide, texts_of
from certctl.connectors.contract import NamesHost
from certctl.connectors.errors import IssuerError
from certctl.lifecycle.calls import call
from certctl.storage.issuer_checks import CheckRecord

if TYPE_CHECKING:
    from certctl.connectors.contract import CheckResult, Connector
    from certctl.domain.clock import Clock
    from certctl.lifecycle.live_issuers import Issuer

#: So long a CA may take to answer.
CHECK_SECONDS = 30.0
_LONGEST_DETAIL = 2000
_LONGEST_CODE = 120
_LONGEST_HOST = 255


async def run_check(issuer: Issuer, clock: Clock, seconds: float) -> CheckRecord:
    """Call the CA; whatever comes of it is the answer, and never an error.

    A failure's host is the one that the connector says it calls.
    """
    checked_at = clock.now_ms()
    begun = time.monotonic()
    connector = issuer.connector
    ok = False
    code: str | None = None
    host: str | None = None
    if connector is None or issuer.problem is not None:
        detail = issuer.problem or "the issuer has no connector"
    else:

        async def ask(asked: Connector) -> CheckResult:
            nonlocal host
            if isinstance(asked, NamesHost):
                host = asked.host
            return await asked.check()

        try:
            result = await call(issuer.record, ask(connector), seconds)
        except IssuerError as error:
            detail, code = error.detail, error.code
        else:
            ok, detail, host = True, result.detail, result.host
    detail = hide(detail, texts_of(issuer.record.secrets))
    return CheckRecord(
        issuer_id=issuer.record.id,
        ok=ok,
        detail=_storable(detail, _LONGEST_DETAIL),
        code=None if code is None else _storable(code, _LONGEST_CODE),
        host=None if host is None else _storable(host, _LONGEST_HOST),
        checked_at=checked_at,
        duration_ms=round((time.monotonic() - begun) * 1000),
    )


def _storable(words: str, longest: int) -> str:
    """Text as every database takes it, whatever a CA sent."""
    return words.replace("\x00", "").encode("utf-8", "replace").decode()[:longest]
