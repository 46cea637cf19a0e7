"""Audit events."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from certctl.schemas.common import Moment, ResponseBody


class AuditEventView(ResponseBody):
    """One change, or one refusal, and who caused it."""

    chain_id: str
    seq: int
    at: Moment
    actor: str
    action: str
    object_type: str
    object_id: str
    detail: dict[str, Any]
    request_id: str | None = Field(
        default=None,  # servers of before do not say
        description="The request that led to it; none for work in the background",
    )


class AuditVerification(ResponseBody):
    """What checking every chain found: `problems` is empty when nothing was altered."""

    chains: int
    events: int
    problems: list[str]


class AuditExportKey(ResponseBody):
    """The public key of the signatures in exports."""

    key_id: str
    algorithm: Literal["Ed25519"]
    public_key: str = Field(description="PEM (SubjectPublicKeyInfo)")
