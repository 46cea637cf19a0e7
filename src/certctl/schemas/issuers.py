"""Issuers: configured accounts at certificate authorities."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from certctl.schemas.common import Label, Moment, RequestBody, ResponseBody

IssuerId = Annotated[str, StringConstraints(pattern=r"^iss-[a-z0-9-]{1,76}$")]

#: What stands for a secret that is set. In a PUT it means: keep the stored one.
MASK = "********"


class IssuerLimits(RequestBody):
    """Limits on calls to the CA, for all processes together; null: none."""

    max_concurrency: int | None = Field(
        default=None, ge=1, le=10_000, description="Calls under way at the same time"
    )
    max_calls_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)


class IssuerCreate(RequestBody):
    """A new issuer."""

    id: IssuerId | None = Field(default=None, description="Default: made from the name")
    name: Label
    type: str = Field(max_length=40, description="One of GET /api/v1/issuers/types, or an alias")
    config: dict[str, Any] = Field(
        default_factory=dict, description="Settings, as the type's schema says"
    )
    enabled: bool = True
    limits: IssuerLimits = IssuerLimits()


class IssuerUpdate(RequestBody):
    """All of an issuer, as it is to be. Secrets that are left out or masked stay as they are.

    With `source` "env" the settings are taken from the server's environment, now and at each start;
    `config` is left out then. Any other change makes the issuer the API's.
    """

    name: Label
    type: str | None = Field(default=None, max_length=40, description="The type that it has")
    config: dict[str, Any] | None = Field(
        default=None, description="Every setting; what is left out has its default"
    )
    enabled: bool = True
    limits: IssuerLimits = IssuerLimits()
    source: Literal["env", "api"] = "api"
    revision: int | None = Field(
        default=None, description="The revision that was read; another one is a conflict"
    )


class IssuerCheck(ResponseBody):
    """What came of calling the CA: the last time that somebody tested the issuer."""

    status: Literal["ok", "failed"]
    detail: str = Field(description="In the CA's own words where there are any")
    code: str | None = Field(description="The CA's own error code")
    host: str | None = Field(description="Which answered, or should have; null for our own CA")
    checked_at: Moment
    duration_ms: int


class IssuerCondition(ResponseBody):
    """Why the CA is left alone for now."""

    state: Literal["open", "quota"] = Field(
        description="`open`: the circuit is open, because credentials or settings do not work; "
        "`quota`: the account has nothing left to issue"
    )
    problem: str
    since: Moment
    tried_next: Moment | None


class IssuerView(ResponseBody):
    """A configured account at a certificate authority. Secrets are never shown."""

    id: str
    name: str
    type: str
    config: dict[str, Any]
    enabled: bool
    limits: IssuerLimits = IssuerLimits()
    source: Literal["env", "api"]
    environment: Literal["applied", "differs"] | None = Field(
        default=None,
        description="Whether the server's environment has settings for this issuer, and whether "
        "they are the ones in effect; null where it has none",
    )
    status: Literal["ready", "disabled", "failed", "archived"]
    problem: str | None = Field(description="Why it cannot issue, where it cannot")
    condition: IssuerCondition | None = None
    check: IssuerCheck | None = None
    revision: int = Field(default=0, description="Counts changes of the settings")
    created_at: Moment
    updated_at: Moment


class IssuerTypeView(ResponseBody):
    """A type of certificate authority, and the form for an issuer of it."""

    name: str
    aliases: list[str]
    title: str
    env_prefix: str = Field(description="What the names of its environment variables begin with")
    config_schema: dict[str, Any] = Field(
        description="JSON schema of `config`; secrets have `writeOnly`"
    )
