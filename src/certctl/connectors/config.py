"""What the settings of every connector have in common."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class ConnectorConfig(BaseModel):
    """Settings of one type of issuer: the environment, REST and the documentation read this model.

    Each field is the environment variable `env_prefix` + FIELD; secrets are `SecretStr`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    env_prefix: ClassVar[str]
