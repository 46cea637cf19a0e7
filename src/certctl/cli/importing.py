"""What `certctl certs import` does with each file, and its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from certctl.cli import bodies
from certctl.cli.cert_files import Candidate, gather
from certctl.client import ApiError
from certctl.domain.errors import InvalidInput
from certctl.schemas.records import CertificateImport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from certctl.cli.cert_files import Unused
    from certctl.cli.tables import Table
    from certctl.client import Client
    from certctl.schemas.records import ImportResult

Outcome = Literal["imported", "version_added", "known", "same", "chain", "failed"]

_UNAUTHENTICATED = 401
_SERVER_ERRORS = 500
_PASSED_OVER = frozenset({"chain", "same"})
#: With these nothing else will be taken either.
_HOPELESS = frozenset({"role-not-enough", "scope-not-enough"})


class ImportLine(BaseModel):
    """What came of one certificate, or of a file that has none."""

    file: str
    outcome: Outcome
    certificate_id: str | None = None
    names: list[str] = []
    problem: str | None = None
    warnings: list[str] = []


class ImportReport(BaseModel):
    """What came of all of them, in the order in which they were read."""

    dry_run: bool
    data: list[ImportLine] = []

    @property
    def passed_over(self) -> int:
        """How many certificates are chains of others, or were read before."""
        return sum(line.outcome in _PASSED_OVER for line in self.data)

    @property
    def has_failures(self) -> bool:
        """Whether any was not taken."""
        return any(line.outcome == "failed" for line in self.data)


def carry_out(
    client: Client,
    paths: Sequence[str],
    report: ImportReport,
    *,
    owner: str | None,
    labels: Mapping[str, str] | None,
    replaces: str | None,
) -> None:
    """Import what the files have, one after the other, into the report.

    A bad one does not keep the others back. Raises ClientError where no other one would fare
    better, and InvalidInput where `replaces` is for more than one; the report has what was done.
    """
    found = gather(paths).found
    candidates = [each for each in found if isinstance(each, Candidate)]
    if replaces is not None and len(candidates) != 1:
        raise InvalidInput(
            "import-replaces-many",
            f"there are {len(candidates)} certificates to import, and one can replace another",
            hint="name one file with --replaces",
        )
    for each in found:
        if not isinstance(each, Candidate):
            report.data.append(_unused(each))
            continue
        try:
            body = bodies.make(
                CertificateImport,
                certificate=each.certificate,
                chain=each.chain,
                owner=owner,
                labels=labels,
                replaces=replaces,
                dry_run=report.dry_run,
            )
            result = client.import_certificate(body)
        except InvalidInput as error:
            report.data.append(_failed(each, error.detail))
        except ApiError as error:
            report.data.append(_failed(each, error.detail))
            if (
                error.status == _UNAUTHENTICATED
                or error.status >= _SERVER_ERRORS
                or error.code in _HOPELESS
            ):
                raise
        else:
            report.data.append(_line(each, result))


def _unused(each: Unused) -> ImportLine:
    outcome: Outcome = each.reason  # type: ignore[assignment] # `Unused` has no other words
    return ImportLine(file=each.path, outcome=outcome, problem=each.words)


def _failed(each: Candidate, words: str) -> ImportLine:
    return ImportLine(file=each.path, outcome="failed", problem=words)


def _line(each: Candidate, result: ImportResult) -> ImportLine:
    certificate = result.certificate
    return ImportLine(
        file=each.path,
        outcome=result.outcome,
        certificate_id=None if certificate is None else certificate.id,
        names=[] if certificate is None else certificate.names,
        warnings=result.warnings,
    )


def table(report: ImportReport) -> Table:
    """For people: without what is only there to have issued others, or twice."""
    from certctl.cli.tables import Column, Table

    columns = (
        Column("FILE", least=12),
        Column("OUTCOME", is_state=True),
        Column("CERTIFICATE"),
        Column("NAMES", least=8, extra=True),
        Column("DETAIL", least=12, wraps=True),
    )
    return Table(
        columns,
        [
            (
                line.file,
                line.outcome.replace("_", " "),
                line.certificate_id or "",
                ", ".join(line.names),
                "; ".join([line.problem] if line.problem else line.warnings),
            )
            for line in report.data
            if line.outcome not in _PASSED_OVER
        ],
    )
