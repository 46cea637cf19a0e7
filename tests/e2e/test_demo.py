"""`make demo`, without the part that installs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)
def test_the_demo_shows_its_steps_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo.run"],
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = done.stdout.split("\n# ")[1:]
    assert [step.split(".")[0] for step in steps[:-1]] == [str(n) for n in range(1, 15)]
    _, _, _, verified, served, renewed, revoked, ocsp, crl, configured, lived, *rest, _ = steps
    made, scoped, remembered = rest
    assert "www.demo.test.crt: OK" in verified
    assert "Verification: OK" in served
    assert "Python (TLSv1.3): hello" in served
    assert "renewed.key (mode 0600" in renewed
    assert "confirmed: keyCompromise" in revoked
    assert ocsp.count("Response verify OK") == 2
    assert "www.demo.test.crt: revoked" in ocsp
    assert "Reason: keyCompromise" in ocsp
    assert "renewed.crt: good" in ocsp
    assert "lookup: certificate revoked" in crl
    assert "error www.demo.test.crt: verification failed" in crl
    assert "renewed.crt: OK" in crl
    assert "dialect atlas" in configured
    serial = re.search(r"^  serial +(\w+)$", lived, re.MULTILINE)
    assert serial is not None
    assert f"stand-in: {serial[1]} revoked, cessationOfOperation" in lived
    assert "Names      *.demo.test" in made
    assert "The key is in deploy.key" in made
    assert "Issued cert-" in scoped
    assert "(exit code 5: refused, as it has to be)" in scoped
    seen = [line for line in scoped.splitlines() if line.startswith("www.")]
    assert seen == [], "what is out of the key's reach is not there for it"
    assert any(line.startswith("api.demo.test ") for line in scoped.splitlines())
    for action in ("certificate.issued", "certificate.renewed", "certificate.revoked"):
        assert action in remembered
    assert list(tmp_path.iterdir()) == []
