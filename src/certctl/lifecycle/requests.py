"""The request of an order: what a connector is given, and how it is kept with the order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certctl.connectors.contract import IssuanceRequest
from certctl.domain.names import decode_stored
from certctl.domain.usages import Usage
from certctl.pki.requests import load_request

if TYPE_CHECKING:
    from certctl.storage.orders import OrderRecord


def encode_request(request: IssuanceRequest) -> dict[str, Any]:
    """What is stored of a request besides its CSR."""
    return {
        "common_name": request.common_name,
        "names": [str(name) for name in request.names],
        "usages": list(request.usages),
        "validity": request.validity,
        "must_staple": request.must_staple,
    }


def decode_request(order: OrderRecord) -> IssuanceRequest:
    """The request of an order that has its CSR."""
    if order.csr is None:
        raise ValueError("the order has no CSR yet")
    stored = order.request
    return IssuanceRequest(
        order_id=order.id,
        csr=load_request(order.csr),
        common_name=stored["common_name"],
        names=tuple(decode_stored(text) for text in stored["names"]),
        usages=tuple(Usage(value) for value in stored["usages"]),
        validity=stored["validity"],
        must_staple=stored["must_staple"],
    )
