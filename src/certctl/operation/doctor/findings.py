"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is. The first two say that something is wrong."""

    ERROR = "error"  # it does not work, or a secret lies open
    WARNING = "warning"  # it works, and will not for long, or not for everybody
    NOTE = "note"  # worth knowing
    OK = "ok"

    @property
    def is_wrong(self) -> bool:
        """Whether somebody has to do something."""
        return self in {Severity.ERROR, Severity.WARNING}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found: in words, with what to do unless all is well."""

    check: str
    severity: Severity
    detail: str
    hint: str | None = None


def error(check: str, detail: str, hint: str) -> Finding:
    """It does not work, or a secret lies open."""
    return Finding(check, Severity.ERROR, detail, hint)


def warning(check: str, detail: str, hint: str) -> Finding:
    """It will not work for long, or not for everybody."""
    return Finding(check, Severity.WARNING, detail, hint)


def note(check: str, detail: str, hint: str | None = None) -> Finding:
    """Worth knowing."""
    return Finding(check, Severity.NOTE, detail, hint)


def well(check: str, detail: str) -> Finding:
    """As it should be."""
    return Finding(check, Severity.OK, detail)
