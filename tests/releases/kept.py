"""Databases of earlier releases, kept to prove that each later one upgrades them.

Each release has a folder with its database and a manifest, which says what cannot be read from the
database itself: the secret that opens it, API keys, the files that were beside it, and what was
there to be found again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certctl import __version__
from certctl.domain.orders import OrderState
from certctl.domain.revocations import RevocationAction, RevocationReason, RevocationState
from certctl.storage.bulk_revocations import BulkState
from certctl.storage.engine import DATABASE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
MANIFEST_FILE = "release.json"

#: The release that this code is, or is to become.
PRESENT = __version__.partition(".dev")[0]


def _all(values: Iterable[str]) -> list[str]:
    return sorted(str(value) for value in values)


#: What a column can hold, as this code knows it. A database that is kept holds each of them.
VALUES: dict[str, list[str]] = {
    "orders.state": _all(OrderState),
    "revocations.state": _all(RevocationState),
    "revocations.action": _all(RevocationAction),
    "revocations.reason": _all(RevocationReason),
    "bulk_revocations.state": _all(BulkState),
    "certificates.status": _all(["pending", "issued", "failed", "revoked"]),
    "order_attempts.action": _all(["submit", "poll", "lookup"]),
}


@dataclass(frozen=True)
class Manifest:
    """What is known of a kept database besides itself."""

    #: The version that wrote it.
    version: str
    #: Its last moment, in milliseconds. It is opened as if a little later, so that what was valid
    #: then is valid for as long as it is kept.
    made_at: int
    #: `VALUES` as that version knew them.
    values: dict[str, list[str]]
    #: What CERTCTL_CONFIG_ENCRYPTION_KEY was.
    encryption_key: str
    #: API keys by what became of them: active, expired, revoked.
    api_keys: dict[str, str]
    #: Files of the data directory by name.
    files: dict[str, str]
    #: The secret settings of issuers.
    issuer_secrets: dict[str, dict[str, str]]
    #: SHA-256 of the CA certificates of issuers.
    ca_fingerprints: dict[str, str]
    #: Names and serial number of the server's own certificate.
    server_names: list[str]
    server_serial: str
    #: Requests by their Idempotency-Key, and the certificates that they led to.
    repeatable: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class KeptRelease:
    """One release's folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The release."""
        return self.folder.name

    @property
    def database(self) -> Path:
        """Its database."""
        return self.folder / DATABASE_FILE

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return _load(self.folder / MANIFEST_FILE)

    def unpack(self, data_dir: Path) -> None:
        """Make it a data directory, as that release left it behind."""
        shutil.copy(self.database, data_dir)
        for name, content in self.manifest.files.items():
            path = data_dir / name
            path.touch(0o600)  # repositories do not keep a file's mode
            path.write_text(content)


def stored_values(database: Path, columns: Iterable[str]) -> dict[str, list[str]]:
    """What each column (`table.name`) of a database file holds, looked at without certctl."""
    found = {}
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for column in columns:
            table, _, name = column.partition(".")
            rows = connection.execute(f"SELECT DISTINCT {name} FROM {table}")  # noqa: S608 - ours
            found[column] = sorted(value for (value,) in rows)
    return found


def kept_releases() -> list[KeptRelease]:
    """Every release that is kept."""
    return [KeptRelease(path.parent) for path in sorted(HERE.glob(f"*/{DATABASE_FILE}"))]


@cache
def _load(path: Path) -> Manifest:
    return Manifest(**json.loads(path.read_text()))


def save(folder: Path, manifest: Manifest) -> None:
    """Write a release's manifest."""
    text = json.dumps(asdict(manifest), indent=1, sort_keys=True)
    (folder / MANIFEST_FILE).write_text(text + "\n")
