"""API keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from certctl.schemas.common import Label, Moment, RequestBody, ResponseBody

RoleName = Literal["admin", "operator", "viewer", "auditor"]
KeyStatus = Literal["active", "expired", "revoked"]

_MOST = 100
_Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,80}$")]
_Pattern = Annotated[str, StringConstraints(min_length=1, max_length=2_048)]


class KeyScope(RequestBody):
    """What a key reaches: certificates that fit every part that is given. At least one must be."""

    issuers: list[_Id] | None = Field(
        default=None, min_length=1, max_length=_MOST, examples=[["iss-local"]]
    )
    profiles: list[_Id] | None = Field(
        default=None, min_length=1, max_length=_MOST, examples=[["prof-tls-server"]]
    )
    names: list[_Pattern] | None = Field(
        default=None,
        min_length=1,
        max_length=_MOST,
        description="`www.example.org`; `*.example.org` for every name below example.org, at any "
        "depth; other kinds as `ip:10.0.0.1`, `email:user@example.org`, `uri:spiffe://…`. Every "
        "name of a certificate has to fit one of them",
        examples=[["*.shop.example.org"]],
    )

    @model_validator(mode="after")
    def _has_a_part(self) -> KeyScope:
        if self.issuers is None and self.profiles is None and self.names is None:
            raise ValueError("an empty scope narrows nothing: give a part, or leave it out")
        return self


class KeyCreate(RequestBody):
    """A new key. It cannot give more than the key that makes it has."""

    name: Label = Field(description="What it is for", examples=["deploy tool of the shop"])
    role: RoleName
    scope: KeyScope | None = Field(default=None, description="Default: everything")
    expires_at: Moment | None = Field(default=None, description="Default: it does not expire")
    days: int | None = Field(
        default=None, ge=1, le=36_500, description="Instead of `expires_at`: so many days from now"
    )

    @model_validator(mode="after")
    def _has_one_end(self) -> KeyCreate:
        if self.expires_at is not None and self.days is not None:
            raise ValueError("give expires_at or days, not both")
        return self


class KeyView(ResponseBody):
    """A key, without the key itself: nobody can show it again."""

    id: str
    name: str
    role: RoleName
    scope: KeyScope | None = Field(description="null: everything")
    status: KeyStatus
    created_by: str | None = Field(description="The key that made it; null: certctl itself")
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None = Field(description="To about a minute")


class KeyCreated(KeyView):
    """A new key. This is the only answer that shows `key`."""

    key: str = Field(description="To be sent as `Authorization: Bearer <key>`")
