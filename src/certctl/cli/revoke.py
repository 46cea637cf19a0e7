"""`certctl revoke`."""

from datetime import datetime
from typing import Annotated

import typer

from certctl.cli import known
from certctl.cli.options import NoWait, Wait
from certctl.cli.session import AsJson, Session, command_group, examples
from certctl.cli.times import moment
from certctl.domain.revocations import RevocationReason

_MEANINGS = {
    RevocationReason.UNSPECIFIED: "no reason is given",
    RevocationReason.KEY_COMPROMISE: "somebody else has the private key, or may have it",
    RevocationReason.CA_COMPROMISE: "somebody else has the CA's key, or may have it",
    RevocationReason.AFFILIATION_CHANGED: "what it says about its owner is no longer so",
    RevocationReason.SUPERSEDED: "another certificate has taken its place",
    RevocationReason.CESSATION_OF_OPERATION: "what it was for is no longer there",
    RevocationReason.CERTIFICATE_HOLD: "for now only: certctl release takes it back",
    RevocationReason.PRIVILEGE_WITHDRAWN: "its owner is no longer allowed to have it",
    RevocationReason.AA_COMPROMISE: "as cACompromise, for an attribute authority",
}
_REASONS = "\n".join(f"  {reason.value:<20}  {words}" for reason, words in _MEANINGS.items())

EPILOG = (
    examples(
        "certctl revoke cert-... --reason superseded",
        "certctl revoke cert-... --version ver-...          one version only",
        "certctl revoke --owner 'web team' --dry-run        which ones would go?",
        "certctl revoke --name '*.example.org' --reason keyCompromise",
    )
    + "\n\n\b\nReasons (RFC 5280):\n"
    + _REASONS
)

app = command_group()


def _reason(text: str) -> RevocationReason:
    for reason in RevocationReason:
        if reason.lower() == text.lower():
            return reason
    raise typer.BadParameter(f"there is no such reason; choose {', '.join(RevocationReason)}")


def _reasons(incomplete: str) -> list[str]:
    return [reason.value for reason in RevocationReason if reason.startswith(incomplete)]


@app.command(epilog=EPILOG)
def revoke(
    context: typer.Context,
    *,
    certificate_id: Annotated[
        str | None,
        typer.Argument(
            metavar="CERT-ID",
            help="The certificate: see certctl certs.",
            autocompletion=known.certificates,
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="VER-ID",
            help="Only this version: see certctl certs show.",
            autocompletion=known.versions,
        ),
    ] = None,
    reason: Annotated[
        RevocationReason,
        typer.Option(
            parser=_reason,
            autocompletion=_reasons,
            metavar="REASON",
            help="Why, in a word from the list below.",
        ),
    ] = RevocationReason.UNSPECIFIED,
    issuer: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="All that this issuer issued.", autocompletion=known.issuers
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="All that follow this profile.", autocompletion=known.profiles
        ),
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="All that this owner looks after.", autocompletion=known.owners
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="All with this name; *.example.org is every name below example.org.",
        ),
    ] = None,
    issued_after: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="All that begin at or after this: 2026-01-31, 2026-01-31T12:00 (UTC).",
        ),
    ] = None,
    issued_before: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="All that begin before this."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be revoked.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Wait = 60,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Revoke a certificate, or all that fit a filter.

    Whoever asks the CA is told from then on that it is not valid. Every version that has not
    expired goes, and the renewal ends. You see what will go, and are asked first.

    Instead of CERT-ID, name what the certificates have in common (--issuer, --profile, --owner,
    --name, --issued-after, --issued-before): all go that fit every one of these. The server does it
    by itself, some at a time.
    """
    parts = {
        "issuer_id": issuer,
        "profile_id": profile,
        "owner": owner,
        "name": name,
        "issued_after": issued_after,
        "issued_before": issued_before,
    }
    given = {part: value for part, value in parts.items() if value is not None}
    _check_usage(certificate_id, version, bool(given))
    session = Session(context, as_json)

    from certctl.cli import bodies, bulk, revoking
    from certctl.cli.confirming import need_somebody
    from certctl.schemas.revocations import RevocationFilter

    if not dry_run:
        need_somebody(session, yes=yes)
    patience = 0 if no_wait else wait
    if certificate_id is not None:
        revoking.revoke(
            session,
            revoking.Meant(certificate_id, version),
            reason.value,
            dry_run=dry_run,
            ask_first=not yes,
            wait=patience,
        )
        return
    which = bodies.make(RevocationFilter, **given)
    if dry_run:
        bulk.preview(session, which)
    else:
        bulk.revoke(session, which, reason.value, ask_first=not yes, patience=patience)


def _check_usage(certificate_id: str | None, version: str | None, given: bool) -> None:
    if certificate_id is None and not given:
        raise typer.BadParameter(
            "name a certificate, or say which ones: --issuer, --profile, --owner, --name, "
            "--issued-after, --issued-before",
            param_hint="'CERT-ID'",
        )
    if certificate_id is not None and given:
        raise typer.BadParameter(
            "name a certificate, or say what many have in common; not both",
            param_hint="'CERT-ID'",
        )
    if version is not None and certificate_id is None:
        raise typer.BadParameter(
            "a version is one of a certificate: name that too", param_hint="'--version'"
        )
