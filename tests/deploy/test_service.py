"""The unit file for systemd, looked at by systemd's own tool. Nothing is started or installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from certctl.settings import Settings, load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
PROGRAM = "/opt/certctl/bin/certctl"

with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="no systemd-analyze: it is in the package systemd (apt install systemd)",
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with its drop-in, for the program that is installed here."""
    made = tmp_path / "certctl.service"
    text = (DEPLOY / "certctl.service").read_text()
    assert f"ExecStart={PROGRAM} server\n" in text
    made.write_text(text.replace(PROGRAM, str(Path(sys.executable).parent / "certctl")))
    shutil.copytree(DEPLOY / "certctl.service.d", tmp_path / "certctl.service.d")
    return made


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], check=False, capture_output=True, text=True, timeout=60
    )


@with_systemd
def test_the_unit_is_what_systemd_understands(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    complaints = [line for line in done.stderr.splitlines() if "certctl" in line]
    assert (done.returncode, complaints) == (0, [])


@with_systemd
def test_a_wrong_unit_would_be_seen(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystem=strictly"))
    assert "strictly" in analyze("verify", "--man=no", str(unit)).stderr


@with_systemd
def test_the_unit_leaves_little_open(unit: Path) -> None:
    """Of 100, by systemd's own measure; a unit without any protection has 96."""
    done = analyze("security", "--offline=yes", "--threshold=20", str(unit))
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze security has no --offline: it came with systemd 250")
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_sets_what_there_is_to_set() -> None:
    text = "".join(path.read_text() for path in DEPLOY.rglob("*") if path.is_file())
    pattern = re.compile(r"^(?:Environment|LoadCredential)=CERTCTL_([A-Z_]+)", re.MULTILINE)
    named = set(pattern.findall(text))
    assert {"DATA_DIR", "DATABASE_URL", "CONFIG_ENCRYPTION_KEY", "WORKERS"} == named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_credentials_stand_for_variables_and_variables_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "CONFIG_ENCRYPTION_KEY"):
        monkeypatch.delenv(f"CERTCTL_{name}", raising=False)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "CERTCTL_CONFIG_ENCRYPTION_KEY").write_text(f"{'x' * 32}\n")
    (tmp_path / "CERTCTL_DATABASE_URL").write_text("postgresql://db/one\n")
    settings = load_settings()
    assert settings.config_encryption_key is not None
    assert settings.config_encryption_key.get_secret_value() == "x" * 32
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://db/one"
    assert "x" * 32 not in repr(settings)
    monkeypatch.setenv("CERTCTL_DATABASE_URL", "postgresql://db/two")
    again = load_settings().database_url
    assert again is not None
    assert again.get_secret_value() == "postgresql://db/two"


def test_a_folder_of_credentials_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "gone"))
    assert load_settings() == Settings()
