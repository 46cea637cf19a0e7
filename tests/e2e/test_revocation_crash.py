"""A process that is killed in the middle of a revocation never forgets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.dying import MOMENTS

if TYPE_CHECKING:
    from tests.support.targets import DatabaseTarget

ROOT = Path(__file__).parents[2]

#: What the CA has been asked in all, once a second process has carried on.
TOLD = {
    "before revoke": ["revoke", "poll-revocation"],
    "after revoke": ["revoke", "revoke", "poll-revocation"],  # told once more
    "before poll-revocation": ["revoke", "poll-revocation"],  # found told
    "after poll-revocation": ["revoke", "poll-revocation", "poll-revocation"],
}


def run(target: DatabaseTarget, moment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.dying", str(target.data_dir), moment],
        env={"PATH": os.environ["PATH"], **target.environment},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.timeout(150)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_process_tells_the_ca_all_the_same(
    database_target: DatabaseTarget, moment: str
) -> None:
    died = run(database_target, moment)
    assert died.returncode == -signal.SIGKILL, died.stdout + died.stderr
    after = run(database_target, "never")
    assert after.returncode == 0, after.stderr
    assert after.stdout.split()[-1] == "confirmed"
    assert (database_target.data_dir / "books.txt").read_text().split("\n")[:-1] == TOLD[moment]
