"""An export of the audit log into a file, and on after a break."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from pydantic import BaseModel

from certctl.cli.audit_lines import lines_of
from certctl.cli.errors import CommandFailed
from certctl.cli.exit_codes import ExitCode
from certctl.cli.files import quoted, refuse_existing
from certctl.cli.progress import waiting
from certctl.domain.audit_export import is_proof, read_unproven

if TYPE_CHECKING:
    from certctl.cli.session import Session


class Exported(BaseModel):
    """What was written."""

    file: str
    lines: int


class _Begun(NamedTuple):
    """What a file has of an export: so many bytes and lines, and where it goes on."""

    size: int = 0
    lines: int = 0
    cursor: str | None = None


def export_log(session: Session, out: str, *, resume: bool, force: bool) -> None:
    """Write the log to a file, or to standard output for `-`. Raises ClientError, CommandFailed."""
    if out == "-":
        _write(session, sys.stdout.buffer, _Begun())
        return
    path = Path(out)
    begun = _Begun()
    if resume:
        begun = _find_end(path)
    elif not force:
        refuse_existing(path)
    with path.open("r+b" if resume else "wb") as file:
        file.truncate(begun.size)
        file.seek(begun.size)
        try:
            lines = _write(session, file, begun)
        except BaseException:
            again = f"certctl audit export --out {quoted(path)} --resume"
            session.note(f"{out} is not finished. Carry on: {again}")
            raise
        os.fsync(file.fileno())
    if session.options.json:
        session.answer(Exported(file=out, lines=lines), lambda: "")
    else:
        verify = f"certctl audit verify {quoted(path)} --key-file FILE"
        session.note(f"Wrote {out}: {lines} lines. Check it: {verify}")


def _write(session: Session, file: BinaryIO, begun: _Begun) -> int:
    lines = begun.lines
    with (
        session.connect() as client,
        waiting("Exporting", watched=session.is_watched()) as tell,
    ):
        for block in client.export_audit(cursor=begun.cursor):
            file.write(block.text)
            file.flush()
            lines += block.lines
            tell(f"Exporting: {lines} lines")
    return lines


def _find_end(path: Path) -> _Begun:
    """Behind the last whole proof in a file. Raises CommandFailed where nothing is to be done."""
    begun = _Begun()
    size = lines = 0
    is_finished = False
    with path.open("rb") as file:
        for line in lines_of(file):
            size += len(line)
            lines += 1
            if is_proof(line) and line.endswith(b"\n"):
                cursor = read_unproven(line).get("continues")
                is_finished = not isinstance(cursor, str)
                begun = _Begun(size, lines, None if is_finished else cursor)
    if is_finished:
        raise CommandFailed(
            "export-finished",
            f"{path} is a whole export: there is nothing to carry on",
            exit_code=ExitCode.USAGE,
            hint="name another file, or replace it with --force",
        )
    if lines and begun.lines == 0:
        raise CommandFailed(
            "export-not-begun",
            f"{path} has no block of an export",
            exit_code=ExitCode.USAGE,
            hint="if it is to be replaced, use --force in place of --resume",
        )
    return begun
