"""Where a test's database is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a secret for tests, 32 characters"


@dataclass(frozen=True)
class DatabaseTarget:
    """A fresh database for one test, on SQLite (`url` is None) or PostgreSQL."""

    dialect: str
    url: str | None
    data_dir: Path

    @property
    def environment(self) -> dict[str, str]:
        """The settings that lead a server there; its data directory is its own affair."""
        if self.url is None:
            return {}
        return {"CERTCTL_DATABASE_URL": self.url, "CERTCTL_CONFIG_ENCRYPTION_KEY": SECRET}
