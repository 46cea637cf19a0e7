"""What is kept of a release can be made with this code, long before it is a release."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.releases.kept import PRESENT, VALUES, KeptRelease, stored_values
from tests.releases.make_database import main

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]


def sizes(folder: Path) -> Iterable[int]:
    return (path.stat().st_size for path in folder.iterdir())


def test_a_database_with_every_state_is_made(tmp_path: Path) -> None:
    folder = tmp_path / PRESENT
    command = [sys.executable, "-m", "tests.releases.make_database", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    made = KeptRelease(folder)
    assert stored_values(made.database, VALUES) == made.manifest.values == VALUES
    assert sum(sizes(folder)) < 400_000


def test_what_another_release_has_written_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "0.0.1"
    with pytest.raises(SystemExit, match=PRESENT):
        main(folder)
    assert not folder.exists()
