"""Revocations, of one certificate and of many."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from certctl.schemas.common import Label, Moment, RequestBody, ResponseBody

ReasonName = Literal[
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "privilegeWithdrawn",
    "aACompromise",
]
RevocationStatus = Literal["requested", "told", "confirmed", "refused"]
BulkStatus = Literal["running", "done", "cancelled"]
_Id = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[a-z0-9-]+$")]


class RevokeRequest(RequestBody):
    """Why a certificate is to be revoked (RFC 5280 §5.3.1)."""

    reason: ReasonName = Field(
        default="unspecified",
        description="`certificateHold` can be taken back, where the CA has that; no other can",
    )


class RevocationView(ResponseBody):
    """That a version was declared invalid, and how far its CA is with it."""

    id: str
    reason: ReasonName
    action: Literal["revoke", "release"] = Field(
        description="What the CA is told: `release` while a hold is being taken back"
    )
    state: RevocationStatus = Field(
        description="`requested`: recorded, the CA is yet to be told; `told`: the CA works on it; "
        "`confirmed`: done; `refused`: the CA said no (revoke again to try again)"
    )
    problem: str | None = Field(description="Why it stands where it does, in words")
    revoked_at: Moment
    due_at: Moment | None = Field(description="When the CA is told, or asked, next")
    updated_at: Moment


class RevocationLine(RevocationView):
    """A revocation in a list, with what it is about."""

    certificate_id: str
    version_id: str
    issuer_id: str
    serial: str
    bulk_id: str | None = Field(description="The bulk revocation that it is part of")


class RevocationFilter(RequestBody):
    """Which certificates: those that fit every part that is given. At least one must be.

    Only certificates whose newest version is neither expired nor revoked are found.
    """

    issuer_id: _Id | None = None
    profile_id: _Id | None = None
    owner: Label | None = None
    name: Annotated[str, StringConstraints(min_length=1, max_length=2_048)] | None = Field(
        default=None,
        description="A name in the certificate: `www.example.org`, or `*.example.org` for every "
        "name below example.org",
        examples=["*.example.org"],
    )
    issued_after: Moment | None = Field(
        default=None, description="The newest version's beginning is at or after this moment"
    )
    issued_before: Moment | None = Field(
        default=None, description="The newest version's beginning is before this moment"
    )

    @model_validator(mode="after")
    def _has_a_part(self) -> RevocationFilter:
        if not self.model_dump(exclude_none=True):
            raise ValueError("an empty filter fits every certificate: give at least one part")
        return self


class BulkRevocationPreviewRequest(RequestBody):
    """A filter to try."""

    filter: RevocationFilter


class BulkRevocationCreate(RequestBody):
    """Revoke every certificate that a filter finds."""

    filter: RevocationFilter
    reason: ReasonName = "unspecified"
    expected: int = Field(
        ge=0,
        description="How many certificates you expect to go: `total` of the preview. When the "
        "filter finds another number now, nothing is revoked and the answer is 409",
    )


class BulkRevocationView(ResponseBody):
    """A bulk revocation and how far it is. It goes on by itself, over restarts too."""

    id: str
    filter: RevocationFilter
    reason: ReasonName
    state: BulkStatus
    total: int = Field(description="Certificates that the filter found when it was made")
    done: int = Field(description="Certificates revoked so far")
    revocations: dict[RevocationStatus, int] = Field(
        description="Versions revoked so far, by how far their CA is with it"
    )
    actor: str
    created_at: Moment
    updated_at: Moment
