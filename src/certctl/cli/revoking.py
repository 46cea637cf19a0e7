"""`certctl revoke CERT-ID` and `certctl release`, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from certctl.cli.confirming import ask
from certctl.cli.errors import CommandFailed
from certctl.cli.exit_codes import ExitCode
from certctl.cli.progress import waiting
from certctl.cli.tables import fields
from certctl.cli.versions import described
from certctl.client.certificates import OPEN_REVOCATIONS
from certctl.client.errors import ClientError
from certctl.schemas.certificates import VersionView
from certctl.schemas.common import Page

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from certctl.cli.session import Session
    from certctl.client import Client
    from certctl.schemas.certificates import CertificateView
    from certctl.schemas.revocations import ReasonName

_HOLD = "certificateHold"


@dataclass(frozen=True, slots=True)
class Meant:
    """A certificate, or one of its versions."""

    certificate_id: str
    version_id: str | None = None


def revoke(
    session: Session,
    meant: Meant,
    reason: ReasonName,
    *,
    dry_run: bool,
    ask_first: bool,
    wait: int,
) -> None:
    """Revoke after a question, and wait for the CA. Raises ClientError, CommandFailed."""
    with session.connect() as client:
        found = _Found.look(client, meant)
        about = found.unexpired(session.now)
        going = [version for version in about if not _is_final(version)]
        if dry_run:
            page = Page[VersionView](data=going)
            session.answer(page, lambda: found.told(going, session.now))
            session.note(f"{_counted(going)} would be revoked.")
            return
        if ask_first and going:  # where nothing goes, repeating is harmless, or the server says no
            typer.echo(found.told(going, session.now), err=True)
            ask(_question(going, reason), otherwise="Nothing was revoked.")
        recorded: CertificateView | VersionView
        if meant.version_id is None:
            recorded = client.revoke(meant.certificate_id, reason)
        else:
            recorded = client.revoke_version(meant.certificate_id, meant.version_id, reason)
        found = found.later(session, client, recorded, "revocation", wait=wait)
    about = found.same(about)
    found.answer(session, about)
    _raise_unless(about, _is_confirmed, "revocation", meant)


def release(session: Session, meant: Meant, *, wait: int) -> None:
    """Take back a hold, and wait for the CA. Raises ClientError, CommandFailed."""
    with session.connect() as client:
        found = _Found.look(client, meant)
        held = [
            version
            for version in found.chosen()
            if version.revocation and version.revocation.reason == _HOLD
        ]
        recorded: CertificateView | VersionView
        if meant.version_id is None:
            recorded = client.release(meant.certificate_id)
        else:
            recorded = client.release_version(meant.certificate_id, meant.version_id)
        found = found.later(session, client, recorded, "release", wait=wait)
    held = found.same(held)
    found.answer(session, held)
    _raise_unless(held, lambda version: version.revocation is None, "release", meant)


@dataclass(frozen=True, slots=True)
class _Found:
    """A certificate as it stands, with all its versions."""

    meant: Meant
    certificate: CertificateView
    versions: list[VersionView]

    @classmethod
    def look(cls, client: Client, meant: Meant) -> _Found:
        """Ask for it. Raises CommandFailed where there is no such version."""
        certificate = client.certificate(meant.certificate_id)
        if certificate.version is None:
            raise CommandFailed(
                "certificate-not-issued",
                "the CA has not issued this certificate yet: it has no version",
                exit_code=ExitCode.REFUSED,
                hint=f"take its order back: certctl orders cancel {certificate.order_id}",
            )
        found = cls(meant, certificate, client.every_version(meant.certificate_id))
        if not found.chosen():
            raise CommandFailed(
                "version-not-found",
                "this certificate has no version of that id",
                exit_code=ExitCode.NOT_FOUND,
                hint=f"list its versions: certctl certs versions {certificate.id}",
            )
        return found

    def chosen(self) -> list[VersionView]:
        """The version that was named, or all."""
        which = self.meant.version_id
        return [version for version in self.versions if which in {None, version.id}]

    def unexpired(self, now: datetime) -> list[VersionView]:
        """What revoking is about. Where all has expired, the server says so."""
        chosen = self.chosen()
        return [version for version in chosen if version.not_after >= now] or chosen

    def later(
        self,
        session: Session,
        client: Client,
        recorded: CertificateView | VersionView,
        noun: str,
        *,
        wait: int,
    ) -> _Found:
        """Wait for the CA; how it stands then. Whatever fails here, `recorded` is recorded."""
        meant = self.meant
        text = f"Waiting for {self.certificate.issuer_id}"
        try:
            with waiting(text, watched=session.is_watched()):
                versions = client.wait_for_revocations(
                    meant.certificate_id, wait, version_id=meant.version_id
                )
            return _Found(meant, client.certificate(meant.certificate_id), versions)
        except (ClientError, KeyboardInterrupt) as error:
            if session.options.json:
                typer.echo(recorded.model_dump_json(indent=2))
            words = error.detail if isinstance(error, ClientError) else "interrupted"
            raise _recorded(words, noun, meant) from None

    def same(self, before: list[VersionView]) -> list[VersionView]:
        """The same versions, as they stand now."""
        ids = {version.id for version in before}
        return [version for version in self.versions if version.id in ids]

    def answer(self, session: Session, about: list[VersionView]) -> None:
        """Print how it stands now."""
        body = self.certificate if self.meant.version_id is None else about[0]
        session.answer(body, lambda: self.told(about, session.now))

    def told(self, about: list[VersionView], now: datetime) -> str:
        """The certificate, and the versions that it is about."""
        certificate = self.certificate
        text = fields(
            [
                ("Certificate", certificate.id),
                ("Status", certificate.status),
                ("Names", ", ".join(certificate.names) or certificate.common_name),
            ]
        )
        return text + described(about, now)


def _question(going: list[VersionView], reason: ReasonName) -> str:
    if reason == _HOLD:
        return f"Put {_counted(going)} on hold? `certctl release` takes it back"
    return f"Revoke {_counted(going)} ({reason})? It cannot be taken back"


def _counted(versions: list[VersionView]) -> str:
    return "1 version" if len(versions) == 1 else f"{len(versions)} versions"


def _is_final(version: VersionView) -> bool:
    """Whether revoking it again changes nothing."""
    revocation = version.revocation
    return (
        revocation is not None
        and revocation.action == "revoke"
        and revocation.state != "refused"
        and revocation.reason != _HOLD
    )


def _is_confirmed(version: VersionView) -> bool:
    revocation = version.revocation
    return (
        revocation is not None and revocation.action == "revoke" and revocation.state == "confirmed"
    )


def _raise_unless(
    versions: list[VersionView], is_done: Callable[[VersionView], bool], noun: str, meant: Meant
) -> None:
    """Raise CommandFailed where the CA has not answered yet, or has said no."""
    left = [version for version in versions if not is_done(version)]
    waits = [
        version
        for version in left
        if version.revocation and version.revocation.state in OPEN_REVOCATIONS
    ]
    if refused := [version for version in left if version not in waits]:
        revocation = refused[0].revocation
        words = (revocation and revocation.problem) or "no reason was given"
        again = "revoke" if noun == "revocation" else "release"
        raise CommandFailed(
            f"{noun}-refused",
            f"the CA refused the {noun}: {words}",
            exit_code=ExitCode.ORDER_FAILED,
            hint=f"see what is in its way, then try again: certctl {again} {meant.certificate_id}",
        )
    if waits:
        revocation = waits[0].revocation
        told = revocation is not None and revocation.state == "told"
        words = "the CA works on it" if told else "the CA is yet to be told"
        if revocation is not None and revocation.problem:
            words += f" ({revocation.problem})"
        raise _recorded(words, noun, meant)


def _recorded(words: str, noun: str, meant: Meant) -> CommandFailed:
    return CommandFailed(
        f"{noun}-pending",
        f"{words}. The {noun} is recorded, and goes on without you",
        exit_code=ExitCode.PENDING,
        hint=f"look how far it is: certctl certs show {meant.certificate_id}",
    )
