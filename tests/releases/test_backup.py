"""A backup of an earlier release's database, restored by this one: what comes before an upgrade."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from certctl.storage.engine import database_url, looking_engine
from certctl.storage.migrate import HEAD, current_revision
from tests.releases.kept import KeptRelease, kept_releases
from tests.releases.upgrading import contents
from tests.support.server import clean_environment

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("release", kept_releases(), ids=lambda release: release.name)
def test_a_backup_from_before_the_upgrade(release: KeptRelease, tmp_path: Path) -> None:
    data_dir, new, made = tmp_path / "data", tmp_path / "new", tmp_path / "b.tar"
    data_dir.mkdir()
    release.unpack(data_dir)
    secret = {"CERTCTL_CONFIG_ENCRYPTION_KEY": release.manifest.encryption_key}
    for arguments in (
        ["backup", str(made), "--data-dir", str(data_dir)],
        ["restore", str(made), "--data-dir", str(new)],
    ):
        done = subprocess.run(
            [sys.executable, "-c", "from certctl.cli import main; main()", "--json", *arguments],
            env=clean_environment(secret),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["audit"]["problems"] == []
    before, after = (looking_engine(database_url(None, folder)) for folder in (data_dir, new))
    try:
        assert current_revision(before) != HEAD, "the backup has changed nothing"
        assert current_revision(after) == HEAD
        was, is_now = contents(before), contents(after)
        for table in ("certificates", "versions", "orders", "revocations", "api_keys"):
            ids = {row["id"] for row in was[table]}
            assert ids
            assert {row["id"] for row in is_now[table]} == ids
    finally:
        before.dispose()
        after.dispose()
