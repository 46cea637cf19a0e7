"""Orders."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from certctl.schemas.common import Label, Moment, RequestBody, ResponseBody

OrderStatus = Literal[
    "awaiting_csr",
    "ready",
    "submitting",
    "pending",
    "uncertain",
    "issued",
    "rejected",
    "expired",
    "cancelled",
]


class AttemptView(ResponseBody):
    """One time the CA was asked about an order."""

    number: int
    action: str
    outcome: str = Field(description="Class of the answer")
    code: str | None = Field(default=None, description="The CA's own error code")
    detail: str | None = Field(description="The CA's words, where there are any")
    started_at: Moment
    duration_ms: int


class OrderView(ResponseBody):
    """One request to an issuer for one version."""

    id: str
    state: OrderStatus
    certificate_id: str
    issuer_id: str
    version_id: str | None
    problem: str | None = Field(description="Why it stands where it does, in words")
    reference: dict[str, Any] | None = Field(description="What the CA calls it")
    attempts: int
    due_at: Moment | None = Field(description="When the CA is asked next")
    created_at: Moment
    updated_at: Moment


class OrderDetail(OrderView):
    """An order with its history, oldest attempt first."""

    waits_for: str | None = Field(
        default=None, description="What it waits for, in words; null once it has come to its end"
    )
    history: list[AttemptView]


class OrderResolve(RequestBody):
    """What an operator found out about an order in `uncertain`."""

    state: Literal["ready", "pending", "issued", "rejected", "cancelled"] = Field(
        description="`ready`: the CA does not have it, and is asked again; `pending`: the CA has "
        "it, under `reference`; `issued`: here is the certificate; `rejected`: the CA refused it; "
        "`cancelled`: it is no longer wanted"
    )
    reference: dict[str, Any] | None = Field(
        default=None, description="What the CA calls it: for `pending`"
    )
    certificate: str | None = Field(
        default=None, max_length=100_000, description="PEM, its chain after it: for `issued`"
    )
    reason: Label | None = Field(default=None, description="Why, for the history")
