"""An export of the audit log is checked here, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from certctl.cli.audit_lines import lines_of
from certctl.cli.audit_words import verdict
from certctl.cli.errors import CommandFailed
from certctl.cli.exit_codes import ExitCode
from certctl.domain.audit_check import ExportCheck, ExportReport
from certctl.pki.audit_keys import ExportKey

if TYPE_CHECKING:
    from pathlib import Path

    from certctl.cli.session import Session

_KEY_ADVICE = "fetch it from the server, and keep it: certctl audit key --out audit.pub"


class Problem(BaseModel):
    """What is wrong at a line, counted from 1."""

    line: int
    what: str


class Verified(BaseModel):
    """What was found in an export."""

    lines: int
    chains: int
    events: int
    export_id: str | None
    started_at: str | None
    problems: list[Problem]
    unlisted: int


def verify_file(session: Session, path: Path, key_file: Path | None) -> bool:
    """Check an export and say what was found; whether nothing is wrong. Raises CommandFailed."""
    key = _key(key_file)
    check = ExportCheck(key.is_signed, key.key_id)
    with path.open("rb") as file:
        for line in lines_of(file):
            check.take(line.removesuffix(b"\n"))
    report = check.report()
    found = Verified(
        lines=report.lines,
        chains=report.chains,
        events=report.events,
        export_id=report.export_id,
        started_at=report.started_at,
        problems=[Problem(line=line, what=what) for line, what in report.problems],
        unlisted=report.unlisted,
    )
    session.answer(found, lambda: _told(report))
    return not report.problems


def _key(path: Path | None) -> ExportKey:
    if path is None:
        raise CommandFailed(
            "audit-key-missing",
            "an export is checked with the server's key of exports",
            exit_code=ExitCode.USAGE,
            field="--key-file",
            hint=_KEY_ADVICE,
        )
    try:
        return ExportKey.from_pem(path.read_bytes())
    except ValueError:
        raise CommandFailed(
            "audit-key-not-usable",
            f"{path} is not the public key of exports",
            exit_code=ExitCode.USAGE,
            field="--key-file",
            hint=_KEY_ADVICE,
        ) from None


def _told(report: ExportReport) -> str:
    problems = [f"line {line}: {what}" for line, what in report.problems]
    if report.unlisted:
        problems.append(f"and {report.unlisted} more problems")
    words = verdict("export", report.events, report.chains, problems)
    if report.started_at is None:
        return words
    return f"{words}\nIt was begun at {report.started_at}: what was stored by then is in it."
