"""What is asked about issuers, and what is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certctl.lifecycle.live_issuers import Issuer
    from certctl.storage.conditions import ConditionRecord
    from certctl.storage.issuer_checks import CheckRecord


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on calls to the CA, for all processes together; None for none."""

    max_concurrency: int | None = None
    max_calls_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class NewIssuer:
    """An issuer that is to be made. Without an id it gets one after its name."""

    name: str
    type: str
    config: Mapping[str, Any]
    id: str | None = None
    enabled: bool = True
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class IssuerChange:
    """All of an issuer, as it is to be.

    Without a `config` the settings stay; with the source "env" they are the environment's. `type`
    and `revision`, where they are given, are what the issuer must have.
    """

    name: str
    config: Mapping[str, Any] | None = None
    type: str | None = None
    enabled: bool = True
    limits: Limits = Limits()
    source: Literal["env", "api"] = "api"
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class IssuerState:
    """An issuer as people see it: its settings without secrets, and what is known about it."""

    issuer: Issuer
    config: dict[str, Any]
    environment: Literal["applied", "differs"] | None
    condition: ConditionRecord | None
    check: CheckRecord | None
