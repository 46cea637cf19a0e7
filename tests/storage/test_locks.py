"""One process at a time in a data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from certctl.domain.errors import Misconfigured
from certctl.storage.locks import lock_data_dir

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, pathlib
from certctl.storage.locks import lock_data_dir
with lock_data_dir(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_what_to_do(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Misconfigured) as raised, lock_data_dir(tmp_path):
            pass
        assert raised.value.code == "data-dir-in-use"
        assert f"pid {holder.pid}" in raised.value.detail
        assert raised.value.hint
        holder.kill()
    with lock_data_dir(tmp_path):  # a dead process holds nothing
        assert (tmp_path / "certctl.lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_ends_with_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with lock_data_dir(tmp_path):
            pass
