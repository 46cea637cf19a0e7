"""The wheel, built and installed as a user would: what is in it, and that it runs by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from email import message_from_string
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

import certctl
from certctl.storage.migrate import HEAD
from tests.support.server import clean_environment, running_server

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
_RUN_SECONDS = 60


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(environment),
        check=False,
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, as `make build` makes it."""
    if find_spec("hatchling") is None:
        pytest.skip(
            f"no hatchling: {sys.executable} -m pip install --require-hashes "
            "-r requirements/build.txt"
        )
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that it was installed into, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    run(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
        *("--no-deps", "--no-index", "--no-compile", "--target", folder, wheel),
        cwd=folder,
    )
    return folder


def _information(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"certctl-{certctl.__version__}.dist-info/{name}").decode()


def _metadata(wheel: Path) -> Message:
    return message_from_string(_information(wheel, "METADATA"))


def test_it_says_what_it_is(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = _metadata(wheel)
    assert wheel.name == f"certctl-{certctl.__version__}-py3-none-any.whl"
    assert (metadata["Name"], metadata["Version"]) == ("certctl", certctl.__version__)
    assert metadata["License-Expression"] == project["license"]
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert _information(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    assert metadata["Requires-Python"] == project["requires-python"]
    assert sorted(metadata.get_all("Requires-Dist", [])) == sorted(project["dependencies"])
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    scripts = ConfigParser()
    scripts.read_string(_information(wheel, "entry_points.txt"))
    assert dict(scripts["console_scripts"]) == project["scripts"]


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    package = {name for name in names if name.startswith("certctl/")}
    source = {
        path.relative_to(SOURCE).as_posix()
        for path in (SOURCE / "certctl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package == source
    migrations = "certctl/storage/migrations"
    assert {"certctl/py.typed", f"{migrations}/env.py"} <= package
    assert any(name.startswith(f"{migrations}/versions/{HEAD}_") for name in package)
    information = f"certctl-{certctl.__version__}.dist-info/"
    assert all(name.startswith(information) for name in names - package)


def test_it_runs_where_nothing_else_of_ours_is(
    installed: Path, tmp_path: Path, socket_enabled: None
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    data_dir = tmp_path / "data"
    # In front of the checkout, which an editable installation puts at the end of the path.
    environment = {"PYTHONPATH": str(installed), "CERTCTL_DATA_DIR": str(data_dir)}
    where = "import certctl, certctl.server; print(certctl.__file__, certctl.server.__file__)"
    for found in run(sys.executable, "-c", where, cwd=work, **environment).split():
        assert Path(found).is_relative_to(installed)
    command = installed / "bin" / "certctl"
    assert os.access(installed / "bin" / "certctl-server", os.X_OK)
    version = run(command, "--version", cwd=work, **environment)
    assert certctl.__version__ in version
    assert "Usage" in run(command, "--help", cwd=work, **environment)
    with running_server(data_dir, python_path=installed) as server:
        run(command, "issue", "www.example.org", "--out", f"{work}/", cwd=work, **environment)
        leaf = x509.load_pem_x509_certificate((work / "www.example.org.crt").read_bytes())
        root = x509.load_pem_x509_certificate(server.ca.read_bytes())
    leaf.verify_directly_issued_by(root)
