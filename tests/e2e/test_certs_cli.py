"""The life of a certificate on the command line, and of one from elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import pkcs12
from typer.testing import CliRunner

from certctl.cli.app import app
from tests.support.foreign import foreign
from tests.support.server import running_server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_life_of_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str, code: int = 0) -> str:
        options = ["--data-dir", str(tmp_path / "data")]
        result = CliRunner().invoke(app, [*options, *arguments], prog_name="certctl")
        assert result.exit_code == code, result.output
        return result.stdout if code in {0, 3} and result.stdout else result.stderr

    def run(*arguments: str, code: int = 0) -> Any:
        return json.loads(said("--json", *arguments, code=code))

    with running_server(tmp_path / "data"):
        made = run(
            "issue", "www.example.test", "--owner", "web", "--label", "env=prod", "--out", "a"
        )
        which = made["id"]
        edited = run("certs", "edit", which, "--label", "tier=1", "--remove-label", "env")
        assert (edited["owner"], edited["labels"]) == ("web", {"tier": "1"})
        assert run("certs", "orders", which)["data"][0]["id"] == made["order_id"]
        for expected in ("Labels       tier=1", made["order_id"], "certificate.edited"):
            assert expected in said("certs", "show", which)
        said("certs", "download", which, "--format", "pkcs12", "--out", "trust.p12")
        store = pkcs12.load_pkcs12((tmp_path / "trust.p12").read_bytes(), b"changeit")
        assert store.key is None
        assert store.additional_certs

        assert "--although-valid" in said("certs", "archive", which, code=3)
        said("certs", "archive", which, "--although-valid")
        assert which not in said("certs")
        assert run("certs", "unarchive", which)["status"] == "issued"

        other = foreign("old.example.test", age_days=30)
        (tmp_path / "old.pem").write_text(other.pem + other.chain)
        (tmp_path / "own.pem").write_bytes((tmp_path / "a.chain.crt").read_bytes())
        report = run("certs", "import", "old.pem", "own.pem", "missing.pem", code=3)
        first, known = (line for line in report["data"] if line["certificate_id"])
        assert (first["outcome"], known["outcome"]) == ("imported", "known")
        assert known["certificate_id"] == which
        assert report["data"][-1]["outcome"] == "failed"
        kept = first["certificate_id"]
        assert run("revoke", kept, "--yes", code=3)["type"].endswith(":certificate-imported")
        (tmp_path / "new.pem").write_text(foreign("old.example.test").pem)
        report = run("certs", "import", "new.pem", "--replaces", kept)
        assert report["data"][0]["outcome"] == "version_added"
        assert len(run("certs", "versions", kept)["data"]) == 2
