"""The request of an order: what a connector is given, and how it is kept with the order."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from certctl.connectors.contract import IssuanceRequest
from certctl.domain.names import decode_stored
from certctl.domain.usages import Usage
from certctl.pki.requests import load_request

if TYPE_CHECKING:
    from certctl.storage.orders import OrderRecord


def encode_request(request: IssuanceRequest) -> dict[str, Any]:
    """What is stored of a request besides its CSR."""
    stored = {
        "common_name": request.common_name,
        "names": [str(name) for name in request.names],
        "usages": list(request.usages),
        "validity": request.validity,
        "must_staple": request.must_staple,
    }
    if request.key_signature is not None:
        stored["key_signature"] = base64.b64encode(request.key_signature).decode("ascii")
    return stored


def decode_request(order: OrderRecord, submitted_at: int | None = None) -> IssuanceRequest:
    """The request of an order that has its CSR."""
    if order.csr is None:
        raise ValueError("the order has no CSR yet")
    stored = order.request
    key_signature = stored.get("key_signature")
    return IssuanceRequest(
        order_id=order.id,
        csr=load_request(order.csr),
        common_name=stored["common_name"],
        names=tuple(decode_stored(text) for text in stored["names"]),
        usages=tuple(Usage(value) for value in stored["usages"]),
        validity=stored["validity"],
        must_staple=stored["must_staple"],
        key_signature=None if key_signature is None else base64.b64decode(key_signature),
        submitted_at=submitted_at,
    )
