"""A type of issuer with every kind of setting, whose connectors do as a test says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from certctl.connectors.config import RemoteConfig
from certctl.connectors.contract import (
    CheckResult,
    ConnectorContext,
    ConnectorType,
    IssuanceRequest,
    Pending,
    RevocationRequest,
    Revoked,
)
from certctl.connectors.registry import all_connector_types, connector_type
from certctl.domain.orders import Recovery
from certctl.domain.profiles import Abilities

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Region(StrEnum):
    """Where the sample CA is."""

    EU = "eu"
    US = "us"


class SampleConfig(RemoteConfig):
    """Settings of a sample CA."""

    env_prefix: ClassVar[str] = "CERTCTL_SAMPLE_"

    api_url: str = Field(min_length=1, description="Address of the API")
    api_key: SecretStr = Field(description="Key of the account")
    password: SecretStr | None = Field(default=None, description="Password of the key file")
    region: Region = Field(default=Region.EU, description="Where the CA is")
    retries: int = Field(default=3, ge=0, le=10, description="How often it is asked")
    strict: bool = Field(default=False, description="Whether it is strict")
    products: tuple[str, ...] = Field(default=(), description="Products of the account")
    other_keys: tuple[SecretStr, ...] = Field(default=(), description="Further keys")
    ca_path: str | None = Field(default=None, description="Trust bundle")

    @field_validator("api_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if not value.startswith("https://"):
            raise ValueError(f"is no address: {value}")  # as careless connectors do
        return value


class SampleConnector:
    """Says yes, or what it was told to say."""

    recovery = Recovery.ASK
    abilities = Abilities()

    def __init__(self, config: SampleConfig, sample: Sample) -> None:
        self.config = config
        self.host = "ca.sample.test"
        self._sample = sample
        self.finished = 0

    async def issue(self, request: IssuanceRequest) -> Pending:
        """Begin, wait until the test lets it end, and take the order."""
        self._sample.begun.set()
        await self._sample.may_end.wait()
        self.finished += 1
        return Pending({"id": request.order_id})

    async def revoke(self, request: RevocationRequest) -> Revoked:
        """At once."""
        del request
        return Revoked()

    async def check(self) -> CheckResult:
        """As the test says."""
        outcome = self._sample.check
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "hang":
            await asyncio.Event().wait()
        return CheckResult(self.host, outcome)


@dataclass
class Sample:
    """The type, and what its connectors do: `build` runs in its factory."""

    name: str = "Sample"
    issuer_id: str = "iss-sample"
    check: Any = "hello"
    build: Callable[[SampleConfig, ConnectorContext], Awaitable[None]] | None = None
    built: list[SampleConnector] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.kind = ConnectorType(
            self.name, (f"{self.name}-alias",), "Sample CA", self.issuer_id, SampleConfig, self.make
        )

    async def make(self, config: Any, context: ConnectorContext) -> SampleConnector:
        """Build a connector."""
        if self.build is not None:
            await self.build(config, context)
        connector = SampleConnector(config, self)
        self.built.append(connector)
        return connector

    @property
    def types(self) -> tuple[ConnectorType, ...]:
        """This type beside the real ones."""
        return (*all_connector_types(), self.kind)

    def find(self, name: str) -> ConnectorType:
        """Look a type up."""
        known = {self.name.lower(), f"{self.name.lower()}-alias"}
        return self.kind if name.lower() in known else connector_type(name)


def settings(**changes: Any) -> dict[str, Any]:
    """Settings that work."""
    given = {"api_url": "https://ca.sample.test/v1", "api_key": "the first key of all"}
    return {**given, **changes}
