"""Bulk revocations, step by step: the preview, the question, the start, the following."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import typer

from certctl.cli.confirming import ask
from certctl.cli.errors import CommandFailed, maybe_done
from certctl.cli.exit_codes import ExitCode
from certctl.cli.inventory import table
from certctl.cli.listing import collect
from certctl.cli.progress import waiting
from certctl.cli.tables import draw, fields
from certctl.cli.times import full
from certctl.client.certificates import OPEN_REVOCATIONS
from certctl.client.errors import ClientError

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.cli.session import Session
    from certctl.client import Client
    from certctl.schemas.certificates import CertificateSummary
    from certctl.schemas.common import CountedPage
    from certctl.schemas.revocations import BulkRevocationView, ReasonName, RevocationFilter

_SHOWN = 10
_FILTER_WORDS = {
    "issuer_id": "issuer",
    "profile_id": "profile",
    "owner": "owner",
    "name": "name",
    "issued_after": "issued after",
    "issued_before": "issued before",
}
_UNCERTAIN = "look whether it is there before you try again: certctl revocations bulk"


def preview(session: Session, which: RevocationFilter) -> None:
    """Print everything that a filter finds. Raises ClientError."""
    with session.connect() as client:
        page = collect(partial(_page, client, which), _SHOWN, everything=True)
    session.answer_page(page, lambda: table(page.data, session.now), nothing="Nothing fits.")
    if page.data:
        session.note(f"{_counted(page.total)} would be revoked.")


def revoke(
    session: Session,
    which: RevocationFilter,
    reason: ReasonName,
    *,
    ask_first: bool,
    patience: int,
) -> None:
    """Revoke what a filter finds, after a question. Raises ClientError, CommandFailed."""
    with session.connect() as client:
        found = _page(client, which, _SHOWN, None)
        if found.total == 0:
            raise CommandFailed(
                "nothing-fits",
                "no certificate fits: nothing was revoked",
                exit_code=ExitCode.NOT_FOUND,
                hint="only certificates that are neither expired nor revoked are looked at; "
                "see them all: certctl certs",
            )
        if ask_first:
            _show(session, found)
            ask(_question(found.total, reason), otherwise="Nothing was revoked.")
        try:
            bulk = client.start_bulk_revocation(which, reason, expected=found.total)
        except ClientError as error:
            if not error.uncertain:
                raise
            words = "The bulk revocation may have been started all the same"
            raise maybe_done(error, words, hint=_UNCERTAIN) from error
        except KeyboardInterrupt:
            typer.echo(
                "\nInterrupted. The bulk revocation may have been started all the same.\n"
                f"Hint: {_UNCERTAIN}",
                err=True,
            )
            raise
        session.note(f"Started {bulk.id}")
        follow(session, client, bulk, patience)


def follow(session: Session, client: Client, bulk: BulkRevocationView, patience: int) -> None:
    """Show how a bulk revocation gets on, until it and its CAs are done. Raises CommandFailed."""
    latest = bulk

    with waiting(_progress(bulk), watched=session.is_watched()) as change:

        def tell(seen: BulkRevocationView) -> None:
            nonlocal latest
            latest = seen
            change(_progress(seen))

        words = None
        try:
            client.wait_for_bulk_revocation(bulk.id, patience, on_poll=tell)
        except (ClientError, KeyboardInterrupt) as error:
            words = error.detail if isinstance(error, ClientError) else "interrupted"
    session.answer(latest, lambda: described(latest, session.now))
    _raise_unless_done(latest, words)


def described(bulk: BulkRevocationView, now: datetime) -> str:
    """A bulk revocation in words."""
    return fields(
        [
            ("Bulk revocation", bulk.id),
            ("State", bulk.state),
            ("Reason", bulk.reason),
            ("Filter", filter_words(bulk.filter)),
            ("Certificates", f"{bulk.done} of {bulk.total} revoked"),
            ("Versions", _counts(bulk)),
            ("By", bulk.actor),
            ("Created", full(bulk.created_at, now)),
            ("Changed", full(bulk.updated_at, now)),
        ]
    )


def filter_words(which: RevocationFilter) -> str:
    """What a filter asks for."""
    given = which.model_dump(mode="json", exclude_none=True)
    return ", ".join(f"{_FILTER_WORDS[part]} {value}" for part, value in given.items())


def _page(
    client: Client, which: RevocationFilter, limit: int, cursor: str | None
) -> CountedPage[CertificateSummary]:
    return client.preview_bulk_revocation(which, limit=limit, cursor=cursor)


def _counted(number: int) -> str:
    return "1 certificate" if number == 1 else f"{number} certificates"


def _question(total: int, reason: ReasonName) -> str:
    if reason == "certificateHold":
        return f"Put {_counted(total)} on hold? `certctl release` takes it back, one by one"
    return f"Revoke {_counted(total)} ({reason})? It cannot be taken back"


def _show(session: Session, found: CountedPage[CertificateSummary]) -> None:
    draw(table(found.data, session.now), err=True)
    if found.total > len(found.data):
        session.note(f"... and {found.total - len(found.data)} more: --dry-run shows them all.")


def _counts(bulk: BulkRevocationView) -> str:
    return ", ".join(f"{count} {state}" for state, count in bulk.revocations.items() if count)


def _progress(bulk: BulkRevocationView) -> str:
    text = f"{bulk.id} is {bulk.state}: {bulk.done} of {bulk.total} certificates revoked"
    counts = _counts(bulk)
    return f"{text}; versions: {counts}" if counts else text


def _raise_unless_done(bulk: BulkRevocationView, interrupted: str | None) -> None:
    """Raise CommandFailed where it goes on, was cancelled, or a CA said no."""
    refused = bulk.revocations.get("refused", 0)
    is_open = bulk.state == "running" or any(
        bulk.revocations.get(state) for state in OPEN_REVOCATIONS
    )
    if is_open:
        words = f"{interrupted}. {_progress(bulk)}" if interrupted else _progress(bulk)
        raise CommandFailed(
            "bulk-revocation-pending",
            f"{words}. It goes on without you",
            exit_code=ExitCode.PENDING,
            hint=f"follow it: certctl revocations follow {bulk.id}",
        )
    if bulk.state == "cancelled":
        raise CommandFailed(
            "bulk-revocation-cancelled",
            f"{bulk.id} was cancelled; what it has revoked stays revoked",
            exit_code=ExitCode.ORDER_FAILED,
            hint=f"see what it revoked: certctl revocations --bulk {bulk.id}",
        )
    if refused:
        raise CommandFailed(
            "revocation-refused",
            f"the CA refused {refused} of its revocations",
            exit_code=ExitCode.ORDER_FAILED,
            hint=f"see why: certctl revocations --bulk {bulk.id} --state refused; "
            "certctl revoke CERT-ID tries one again",
        )
