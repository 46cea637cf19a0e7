"""What the README shows of a scoped key, done as it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs.pages import Shell, read_blocks

if TYPE_CHECKING:
    from tests.docs.globalsign_stage import Stage

README = Path(__file__).parents[2] / "README.md"


def test_a_deployment_tool_has_its_own_key(stage: Stage) -> None:
    text = README.read_text("utf-8").replace(".venv/bin/certctl", "certctl")
    made, issued, refused = (
        block.text
        for block in read_blocks(text)
        if block.heading == "Give a deployment tool its own key"
    )
    shell = Shell(stage.folder, str(stage.client.base_url))
    assert "The key is in deploy.key" in shell(f"{made} 2>&1")
    assert shell(issued).startswith("Issued cert-")
    assert (stage.folder / "shop.example.test.crt").exists()
    command, *answer = refused.splitlines()
    said = shell(f"{command.removeprefix('$ ')} 2>&1 || test $? = 5")
    assert said.splitlines() == answer
