"""What the exit codes mean. They are promises: scripts build on them."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 3
    NOT_REACHABLE = 4
    NOT_AUTHORISED = 5
    NOT_FOUND = 6
    PENDING = 7
    ORDER_FAILED = 8
    AUDIT_PROBLEMS = 9
    ISSUER_FAILED = 10
    FAULTS_FOUND = 11

    @property
    def meaning(self) -> str:
        """In a few words."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.UNEXPECTED: "something unexpected went wrong",
    ExitCode.USAGE: "the command was written wrongly",
    ExitCode.REFUSED: "the request is not valid, or was refused",
    ExitCode.NOT_REACHABLE: "the server cannot be reached, or is not ready",
    ExitCode.NOT_AUTHORISED: "the API key is missing, unknown or not allowed to do this",
    ExitCode.NOT_FOUND: "there is no such object",
    ExitCode.PENDING: "the waiting ended before the CA answered",
    ExitCode.ORDER_FAILED: "the CA refused, or the order or bulk revocation failed",
    ExitCode.AUDIT_PROBLEMS: "the audit log does not verify",
    ExitCode.ISSUER_FAILED: "the test of an issuer failed",
    ExitCode.FAULTS_FOUND: "something is wrong with this installation",
}


def from_status(status: int) -> ExitCode:
    """The exit code for the status of a problem document."""
    match status:
        case 401 | 403:
            return ExitCode.NOT_AUTHORISED
        case 404:
            return ExitCode.NOT_FOUND
        case 502 | 503 | 504:
            return ExitCode.NOT_REACHABLE
        case _ if 400 <= status < 500:  # noqa: PLR2004 - the class of client errors
            return ExitCode.REFUSED
        case _:
            return ExitCode.UNEXPECTED


def table() -> str:
    """All of them, one a line."""
    return "\n".join(f"  {code.value:>2}  {code.meaning}" for code in ExitCode)
