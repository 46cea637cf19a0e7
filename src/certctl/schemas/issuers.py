"""Issuers and profiles."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from certctl.schemas.common import Moment, ResponseBody

UsageName = Literal["serverAuth", "clientAuth", "emailProtection", "codeSigning", "timeStamping"]
NameKindName = Literal["dns", "ip", "email", "uri"]
KeyTypeName = Literal["rsa", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "ed448"]


class IssuerView(ResponseBody):
    """A configured account at a certificate authority. Secrets are never shown."""

    id: str
    name: str
    type: str
    config: dict[str, Any]
    enabled: bool
    source: Literal["env", "api"]
    status: Literal["ready", "disabled", "failed"]
    problem: str | None = Field(description="Why it cannot issue, where it cannot")
    created_at: Moment
    updated_at: Moment


class ProfileView(ResponseBody):
    """Rules for a class of certificates."""

    id: str
    name: str
    description: str
    key_types: list[KeyTypeName]
    rsa_min_bits: int
    usages: list[UsageName]
    name_kinds: list[NameKindName]
    default_validity_seconds: int
    max_validity_seconds: int
    must_staple: bool
    new_key_on_renewal: bool
    enabled: bool
