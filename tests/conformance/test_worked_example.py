"""The page "Write a connector in an afternoon" does what it says, command by command.

That its connector keeps every promise is shown by the driver `example`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conformance.driver import all_drivers
from tests.conformance.stand_in import stand_in
from tests.support.server import ServerProcess, clean_environment

if TYPE_CHECKING:
    from tests.conformance.stand_in import StandIn

CONNECTORS = Path(__file__).parents[2] / "docs" / "connectors"
PAGE = (CONNECTORS / "writing.md").read_text("utf-8")
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^```\{literalinclude\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_shows_all_of_the_connector() -> None:
    source = (CONNECTORS / "example" / "example_ca.py").read_text("utf-8")
    markers = re.findall(r"^ *(# (?:[a-z]+ ?-?)+)$", source, re.MULTILINE)
    included = [options for path, options in SHOWN.findall(PAGE) if path.endswith("example_ca.py")]
    shown = re.findall(r"^:start-after: '(.*)'$", "\n".join(included), re.MULTILINE)
    assert set(markers) == set(shown)
    assert len(source.splitlines()) < 170, "the page says: some 160"


def test_the_page_names_a_driver_that_there_is() -> None:
    *_, prove = BLOCK.findall(PAGE)
    _, _, chosen = prove.strip().rpartition(" -k ")
    assert [driver.name for driver in all_drivers() if chosen in driver.name] == ["example"]
    assert "python -m pytest tests/conformance" in prove


@pytest.mark.timeout(180)
def test_the_commands_work_as_written(socket_enabled: None, tmp_path: Path) -> None:
    del socket_enabled
    install, types, create, use, _ = BLOCK.findall(PAGE)
    shutil.copytree(CONNECTORS / "example", tmp_path / "example")
    packages = tmp_path / "packages"
    with stand_in(tmp_path) as ca:
        server = ServerProcess(tmp_path / "data", python_path=packages)
        run = _Shell(tmp_path, server, ca, packages)
        run(install)
        server.start()
        try:
            assert "client_cert_path" in run(types)
            _open_account(ca, tmp_path)
            assert "iss-example-ca" in run(create)
            done = run(use)
        finally:
            server.stop()
        assert "account stand-in" in done
        assert (tmp_path / "www.example.org.crt").exists()
        assert len(ca.books.orders()) == 1


def _open_account(ca: StandIn, folder: Path) -> None:
    """What an operator gets from the CA, under the names that the page uses."""
    account = ca.new_account()
    account.write(folder, "client")
    (folder / "api-key.txt").write_text(f"{account.api_key}\n")
    (folder / "api-secret.txt").write_text(f"{account.api_secret}\n")
    shutil.copy(ca.trust_path, folder / "example-ca.pem")


class _Shell:
    """Runs the page's commands in a folder; what pip installs stays in another one."""

    def __init__(self, folder: Path, server: ServerProcess, ca: StandIn, packages: Path) -> None:
        self._folder = folder
        self._environment = clean_environment(
            {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "CERTCTL_DATA_DIR": str(server.data_dir),
                "EXAMPLE_URL": ca.url,
                # Nothing is fetched, and nothing reaches the environment of these tests.
                "PIP_TARGET": str(packages),
                "PIP_NO_INDEX": "1",
                "PIP_NO_DEPS": "1",
                "PIP_NO_BUILD_ISOLATION": "0",  # which means: without isolation
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            }
        )

    def __call__(self, commands: str) -> str:
        done = subprocess.run(
            ["sh", "-eu", "-c", commands],
            env=self._environment,
            cwd=self._folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout
