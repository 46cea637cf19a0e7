"""`certctl doctor`: looks at the installation itself, with its server running or not."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from certctl.cli.exit_codes import ExitCode
from certctl.cli.installations import DataDir, which
from certctl.cli.progress import waiting
from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from certctl.operation.doctor.findings import Finding

app = command_group()


@app.command(
    epilog=examples(
        "certctl doctor",
        "certctl doctor --data-dir /var/lib/certctl",
        "certctl doctor --json | jq '.findings[] | select(.severity == \"error\")'",
    )
)
def doctor(context: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say what is wrong with this installation, and what to do.

    Looks at the files, the disk, the clock, the database, the sealing key, issuers, orders, the
    HTTPS certificate, and the status address that certificates name. Changes nothing, and works
    with the server running or stopped.

    Run it on the server's machine as the server's user or as root, with the server's environment.
    The exit code is 11 if there is an error or a warning.
    """
    session = Session(context, as_json)

    from certctl.domain.clock import SystemClock
    from certctl.operation.doctor.examine import examine
    from certctl.operation.installation import find_settings

    settings = find_settings(which(session, data_dir))
    with waiting("Looking it over", watched=session.is_watched()):
        findings = examine(settings, SystemClock())
    if session.options.json:
        shown = {"data_dir": str(settings.data_dir), "findings": [asdict(one) for one in findings]}
        typer.echo(json.dumps(shown, indent=2))
    else:
        typer.echo(_told(findings))
    if any(each.severity.is_wrong for each in findings):
        raise typer.Exit(ExitCode.FAULTS_FOUND)


def _told(findings: "list[Finding]") -> str:
    from certctl.cli.tables import clean, hanging

    wide = max(len(each.check) for each in findings)
    lines = []
    for each in findings:
        lines.append(hanging(clean(each.detail), f"{each.severity:<7}  {each.check:<{wide}}  "))
        if each.hint is not None:
            lines.append(hanging(clean(each.hint), " " * (9 + wide) + "  -> "))
    wrong = sum(each.severity.is_wrong for each in findings)
    told = {0: "Nothing is wrong.", 1: "1 thing is wrong."}.get(wrong, f"{wrong} things are wrong.")
    return "\n".join([*lines, "", told])
