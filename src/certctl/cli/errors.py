"""Failures, told to a person or to a program."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from certctl.cli.exit_codes import ExitCode, from_status
from certctl.domain.errors import CertctlError

if TYPE_CHECKING:
    from certctl.client import ClientError

_TYPE_PREFIX = "urn:certctl:problem:"
_UNAUTHENTICATED = 401
_KEY_ADVICE = "set CERTCTL_API_KEY to a valid key, or name the server's data directory"


class CommandFailed(CertctlError):
    """A command's own failure, with the exit code it ends with."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        exit_code: ExitCode,
        field: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(code, detail, field=field, hint=hint)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Report:
    """A failure as a problem document (RFC 9457), and the exit code."""

    exit_code: ExitCode
    document: dict[str, Any]
    #: What to do about it on the command line, where the document's hint is about REST.
    advice: str | None = None

    def as_json(self, indent: int | None = 2) -> str:
        """For programs; without indent, in one line."""
        return json.dumps(self.document, indent=indent)

    def as_text(self) -> str:
        """For people."""
        document = self.document
        label = "Pending" if self.exit_code is ExitCode.PENDING else "Error"
        text = f"{label}: {document['detail']}"
        if document["field"] and document["field"] not in document["detail"]:
            text += f" ({document['field']})"
        if hint := self.advice or document["hint"]:
            text += f"\nHint: {hint}"
        if self.exit_code is ExitCode.UNEXPECTED and document["request_id"]:
            text += f"\nRequest: {document['request_id']}"
        return text


def advise(error: ClientError, words: str) -> ClientError:
    """The same error, with what to do about it on the command line in place of its own hint."""
    error.add_note(words)
    return error


def maybe_done(error: ClientError, words: str, *, hint: str) -> CommandFailed:
    """A failure whose request may have been carried out all the same."""
    report = explain(error)
    return CommandFailed(
        error.code,
        f"{error.detail}. {words}",
        exit_code=report.exit_code if report else ExitCode.UNEXPECTED,
        hint=hint,
    )


def explain(error: Exception) -> Report | None:
    """What an error is to the outside; None for one that nobody foresaw."""
    match error:
        case CommandFailed():
            return Report(error.exit_code, _document(error.code, "Failed", error))
        case CertctlError():  # a name or a key that is wrong, found before anything was sent
            return Report(ExitCode.REFUSED, _document(error.code, "Not valid", error))
        case BrokenPipeError():
            return None  # Typer ends quietly
        case OSError(strerror=str(reason), filename=filename) if filename is not None:
            failure = CommandFailed(
                "file-not-usable",
                f"cannot use the file {filename}: {reason}",
                exit_code=ExitCode.UNEXPECTED,
                hint="check the path, the permissions and the space on the disk",
            )
            return Report(failure.exit_code, _document(failure.code, "Failed", failure))
        case _:
            return _from_client(error)


def _from_client(error: Exception) -> Report | None:
    if "certctl.client" not in sys.modules:
        return None  # then it is none of the client's, and a help page loads no client to see that
    from certctl.client import ApiError, ClientError, NotConfigured, UnexpectedAnswer

    match error:
        case ApiError():
            notes = getattr(error, "__notes__", None)  # see `advise`
            advice = _KEY_ADVICE if error.status == _UNAUTHENTICATED else None
            return Report(
                from_status(error.status),
                error.problem.model_dump(mode="json"),
                notes[0] if notes else advice,
            )
        case NotConfigured(code="api-key-missing"):
            return Report(ExitCode.NOT_AUTHORISED, _document(error.code, "No API key", error))
        case UnexpectedAnswer():
            return Report(ExitCode.UNEXPECTED, _document(error.code, "Unexpected answer", error))
        case ClientError():
            return Report(ExitCode.NOT_REACHABLE, _document(error.code, "Not reachable", error))
        case _:
            return None


def _document(code: str, title: str, error: CertctlError | ClientError) -> dict[str, Any]:
    return {
        "type": _TYPE_PREFIX + code,
        "title": title,
        "status": None,
        "detail": error.detail,
        "field": getattr(error, "field", None),
        "hint": error.hint,
        "request_id": None,
    }
