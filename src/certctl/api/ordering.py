"""What the routes that order certificates share: their headers, the waiting, the answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from fastapi import Header, Request, Response

from certctl.api.services import services
from certctl.api.views import certificate_view
from certctl.domain.errors import InvalidInput
from certctl.domain.orders import OPEN_STATES, OrderState

if TYPE_CHECKING:
    from certctl.lifecycle.idempotency import Enrolled

MAX_WAIT_SECONDS = 60
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,3})(?:$|[,;\s])")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

IdempotencyHeader = Annotated[
    str | None,
    Header(description="Repeating a request with the same key never orders twice (24 hours)"),
]
PreferHeader = Annotated[
    str | None, Header(description="`wait=N`: wait up to N seconds (60 at most)")
]


def check_idempotency_key(key: str | None) -> None:
    """Raise InvalidInput for a key that is not one."""
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidInput(
            "idempotency-key-invalid",
            "an Idempotency-Key is 1 to 255 visible ASCII characters",
            field="Idempotency-Key",
            hint="use a random UUID",
        )


async def answer(request: Request, enrolled: Enrolled, prefer: str | None) -> Response:
    """201 with the certificate, or 202 with its order as `Location`, after waiting if asked to."""
    its = services(request)
    if (
        enrolled.order_state in OPEN_STATES
        and enrolled.order_state is not OrderState.AWAITING_CSR  # which no waiting ends
        and prefer is not None
        and (wait := _WAIT.search(prefer))
    ):
        seconds = min(int(wait[1]), MAX_WAIT_SECONDS)
        enrolled = await its.use_cases.orders.wait(enrolled, seconds, its.stopping)
    done = enrolled.order_state is OrderState.ISSUED
    location = (
        f"/api/v1/certificates/{enrolled.certificate.id}"
        if done
        else f"/api/v1/orders/{enrolled.order_id}"
    )
    view = certificate_view(enrolled.certificate, its.clock.now_ms())
    return Response(
        view.__pydantic_serializer__.to_json(view),
        201 if done else 202,
        headers={"Location": location},
        media_type="application/json",
    )
