"""`make demo`, without the part that installs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)
def test_the_demo_shows_its_steps_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "demo" / "run.py")],
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for step in range(1, 7):
        assert f"# {step}. " in done.stdout
    assert "www.demo.test.crt: OK" in done.stdout
    assert "Verification: OK" in done.stdout
    assert "Python (TLSv1.3): hello" in done.stdout
    assert list(tmp_path.iterdir()) == []
