"""The page about one certificate shows commands that there are, and bodies that are taken."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from certctl.api.routes.downloads import FileFormat
from certctl.cli.app import app
from certctl.cli.exit_codes import ExitCode
from certctl.pki.foreign import MAX_CHAIN, MAX_DER, MAX_NAMES
from certctl.schemas.labels import MOST_LABELS
from certctl.schemas.records import ArchiveRequest, CertificateEdit, CertificateImport
from tests.docs.pages import DOCS, read_blocks, read_rows

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from pydantic import BaseModel

PAGE = (DOCS / "certificates.md").read_text("utf-8")
SHELL = "\n".join(block.text for block in read_blocks(PAGE)).replace("\\\n", " ")
COMMANDS = [line for line in SHELL.splitlines() if line.startswith("certctl ")]
REQUESTS = [line for line in SHELL.splitlines() if line.startswith("api ")]
BODIES: dict[tuple[str, str], type[BaseModel]] = {
    ("PATCH", "cert-…"): CertificateEdit,
    ("POST", "archive"): ArchiveRequest,
    ("POST", "import"): CertificateImport,
}


def test_every_command_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comes as far as looking for the key, which there is none of: none is a usage error."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CERTCTL_")]:
        monkeypatch.delenv(name)
    assert len(COMMANDS) > 10
    for command in COMMANDS:
        _, *words = shlex.split(command)
        result = CliRunner().invoke(app, ["--data-dir", "nowhere", *words], prog_name="certctl")
        assert result.exit_code == ExitCode.NOT_AUTHORISED, f"{command}: {result.output}"
        assert isinstance(result.exception, SystemExit)


def test_every_body_is_one() -> None:
    seen = set()
    for line in REQUESTS:
        words = shlex.split(line)
        method = words[words.index("--request") + 1]
        last = next(word for word in words if word.startswith("$URL")).rpartition("/")[2]
        if "--data" in words:
            body = json.loads(words[words.index("--data") + 1])
            BODIES[method, last].model_validate(body)
            seen.add((method, last))
    assert seen == BODIES.keys()


def test_the_page_has_the_formats_and_the_limits() -> None:
    formats = [row[0].strip("`") for row in read_rows(PAGE, "Downloads")]
    assert formats == [each.value for each in FileFormat]
    assert f"at most {MOST_LABELS} labels" in PAGE
    assert f"larger than {MAX_DER // 1024} KiB" in PAGE
    assert f"more than {MAX_NAMES:,} names" in PAGE
    assert MAX_CHAIN == 10
    assert "At most ten are taken" in PAGE


def test_the_page_names_only_codes_that_there_are() -> None:
    source = "\n".join(path.read_text() for path in (DOCS.parent / "src").rglob("*.py"))
    codes = set(re.findall(r"(?:409|403|422) `([a-z-]+)`", PAGE))
    assert codes
    assert not [code for code in codes if f'"{code}"' not in source]
