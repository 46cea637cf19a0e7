"""Profiles."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from certctl.schemas.common import Label, Moment, RequestBody, ResponseBody, no_nul

UsageName = Literal["serverAuth", "clientAuth", "emailProtection", "codeSigning", "timeStamping"]
NameKindName = Literal["dns", "ip", "email", "uri"]
KeyTypeName = Literal["rsa", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "ed448"]

ProfileId = Annotated[str, StringConstraints(pattern=r"^prof-[a-z0-9-]{1,75}$")]
Description = Annotated[str, StringConstraints(max_length=500), AfterValidator(no_nul)]
PatternText = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
AllowedIssuer = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,80}$")]
#: A minute, and a hundred years.
Seconds = Annotated[int, Field(ge=60, le=3_155_760_000)]


class ProfileRules(RequestBody):
    """All of a profile but its id. What is left out has its default."""

    name: Label = Field(description="What people call it; no two have the same")
    description: Description = Field(default="", description="What it is for")
    key_types: list[KeyTypeName] = Field(
        default=["rsa", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "ed448"],
        min_length=1,
        max_length=20,
        description="Types of keys that are allowed",
    )
    rsa_min_bits: int = Field(
        default=2048, ge=2048, le=8192, description="Least size of an RSA key, in bits"
    )
    usages: list[UsageName] = Field(
        min_length=1, max_length=20, description="Extended key usages; certificates get all of them"
    )
    name_kinds: list[NameKindName] = Field(
        max_length=20, description="Kinds of names that are allowed; empty: a common name only"
    )
    name_patterns: list[PatternText] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Names that are allowed: `www.example.org`, `*.example.org` (all below it), "
        "`10.0.0.0/8`, `@example.org`, `spiffe://example.org`, "
        "`dns:*` (all of a kind); null: any name of those kinds",
    )
    allowed_issuers: list[AllowedIssuer] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Ids of the issuers that are allowed; null: any issuer",
    )
    default_validity_seconds: Seconds = Field(
        description="Lifetime of a certificate for which none was asked"
    )
    max_validity_seconds: Seconds = Field(description="Greatest lifetime")
    must_staple: bool = Field(
        default=False, description="Whether certificates demand a stapled OCSP answer (RFC 7633)"
    )
    new_key_on_renewal: bool = Field(
        default=False, description="Whether a renewal must bring a new key"
    )
    enabled: bool = Field(default=True, description="Whether requests may name it")


class ProfileCreate(ProfileRules):
    """A new profile."""

    id: ProfileId | None = Field(default=None, description="Default: made from the name")


class ProfileUpdate(ProfileRules):
    """All of a profile, as it is to be."""

    revision: int | None = Field(
        default=None, description="The revision that was read; another one is a conflict"
    )


class ProfileWarning(ResponseBody):
    """An allowed issuer that cannot give all that the profile allows."""

    issuer_id: str
    detail: str


class ProfileView(ResponseBody):
    """Rules for a class of certificates."""

    id: str
    name: str
    description: str
    key_types: list[KeyTypeName]
    rsa_min_bits: int
    usages: list[UsageName]
    name_kinds: list[NameKindName]
    name_patterns: list[str] | None = Field(
        default=None, description="Each with its kind in front; null: any name of those kinds"
    )
    allowed_issuers: list[str] | None = Field(default=None, description="null: any issuer")
    default_validity_seconds: int
    max_validity_seconds: int
    must_staple: bool
    new_key_on_renewal: bool
    enabled: bool
    revision: int = Field(default=0, description="Counts changes")
    archived_at: Moment | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None
    warnings: list[ProfileWarning] = Field(
        default=[], description="About allowed issuers, as they are now"
    )
