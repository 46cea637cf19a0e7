"""The keys that seal what is stored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from certctl.schemas.common import ResponseBody


class SealingKey(ResponseBody):
    """One key, by its id, and how many stored values it seals."""

    key_id: str = Field(description="Eight hex digits")
    current: bool = Field(description="Whether it seals what is stored from now on")
    values: int


class SealingStatus(ResponseBody):
    """Which keys seal the stored values."""

    source: Literal["environment", "file"]
    keys: list[SealingKey]


class Rotation(SealingStatus):
    """What a rotation did."""

    resealed: int = Field(description="How many values were sealed anew")
