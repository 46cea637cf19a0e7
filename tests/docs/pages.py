"""Pages of the documentation as a reader uses them: their blocks, their tables, their commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.server import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCS = Path(__file__).parents[2] / "docs"

_HEADING = re.compile(r"^#+ (.*)$")
_FENCE = re.compile(r"^```(.*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page: the heading that it stands under, its language and its text."""

    heading: str
    language: str
    text: str


def read_blocks(page: str) -> list[Block]:
    """The blocks of a page, in their order; `page` is its Markdown."""
    found: list[Block] = []
    heading, language, lines = "", None, list[str]()
    for line in page.splitlines():
        if language is None:
            if fence := _FENCE.match(line):
                language, lines = fence[1], []
            elif title := _HEADING.match(line):
                heading = title[1]
        elif line == "```":
            found.append(Block(heading, language, "\n".join(lines)))
            language = None
        else:
            lines.append(line)
    return found


def read_rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    _, _, section = page.partition(f"# {heading}\n")
    lines = section.partition("\n#")[0].splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


@dataclass(slots=True)
class Shell:
    """Runs a page's commands in a folder, as an operator on the server's machine.

    `data` in the folder is the server's data directory. `variables` are set in every shell.
    """

    folder: Path
    url: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, commands: str) -> str:
        """What the commands say on standard output; whatever fails, fails the test."""
        done = subprocess.run(
            ["sh", "-eu", "-c", f"{self._prelude()}\n{commands}"],
            env=clean_environment(
                {
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                    "HOME": "/nowhere",
                }
            ),
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _prelude(self) -> str:
        """What the page of the REST API says to begin with, for this server."""
        given = next(
            block.text
            for block in read_blocks((DOCS / "api.md").read_text("utf-8"))
            if block.text.startswith("URL=")
        )
        variables = {"URL": self.url, **self.variables}
        _, *rest = given.splitlines()
        return "\n".join(
            [*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), *rest]
        )
