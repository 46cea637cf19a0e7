"""One call to a connector: it ends, whatever code is behind it, and no secret comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from certctl.connectors.config import texts_of
from certctl.connectors.errors import BadAnswer, IssuerError, NoAnswer
from certctl.lifecycle.building import report_fault, without_secrets

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from certctl.storage.issuers import IssuerRecord

T = TypeVar("T")

#: Longer than any connector waits for its CA: an order is not held for ever by code that hangs.
CALL_SECONDS = 300.0


async def call(issuer: IssuerRecord, made: Awaitable[T], seconds: float = CALL_SECONDS) -> T:
    """Await a call that an issuer's connector makes; raises IssuerError and nothing else.

    What a connector should not have raised is a BadAnswer: nobody knows what the CA did. The log
    has the traceback.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await made
    except IssuerError as error:
        raise without_secrets(error, texts_of(issuer.secrets)) from None
    except Exception as error:  # noqa: BLE001 - code that is not ours may do anything
        if limit.expired():
            raise NoAnswer(f"no answer within {seconds:g} seconds") from None
        words = report_fault(issuer.id, error, texts_of(issuer.secrets))
        raise BadAnswer(words) from None
