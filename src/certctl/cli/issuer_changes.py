"""`certctl issuers create`, `update`, `delete`, `test`, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from certctl.cli import bodies, issuer_forms
from certctl.cli.confirming import ask, is_somebody_there
from certctl.cli.errors import advise, maybe_done
from certctl.cli.exit_codes import ExitCode
from certctl.cli.issuer_settings import find_type, settings_of
from certctl.cli.issuer_words import check_fields, issuer_fields
from certctl.cli.progress import waiting
from certctl.client import ApiError, ClientError
from certctl.schemas.issuers import IssuerCreate, IssuerLimits, IssuerUpdate

if TYPE_CHECKING:
    from certctl.cli.issuer_forms import Given
    from certctl.cli.session import Session
    from certctl.client import Client
    from certctl.schemas.issuers import IssuerCheck, IssuerView

_ARCHIVE_INSTEAD = frozenset({"issuer-in-use", "issuer-in-environment"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that were given: None where nothing was said, 0 for no limit."""

    concurrency: int | None = None
    calls_per_minute: int | None = None

    def __bool__(self) -> bool:
        return self != Limits()

    def over(self, present: IssuerLimits) -> IssuerLimits:
        """The limits, where some are there already. Raises InvalidInput."""
        return bodies.make(
            IssuerLimits,
            max_concurrency=_chosen(self.concurrency, present.max_concurrency),
            max_calls_per_minute=_chosen(self.calls_per_minute, present.max_calls_per_minute),
        )


def _chosen(given: int | None, present: int | None) -> int | None:
    return present if given is None else given or None


def create(
    session: Session,
    type_name: str,
    given: Given,
    limits: Limits,
    *,
    name: str | None,
    issuer_id: str | None,
    enabled: bool,
) -> None:
    """Add an issuer, after questions where a person is there to answer them.

    Raises ClientError, CommandFailed, InvalidInput.
    """
    can_ask = is_somebody_there(session)
    # Whoever writes settings down knows what to write; whoever writes none is led through them.
    is_led = can_ask and not given
    with session.connect() as client:
        kind = find_type(client.issuer_types().data, type_name)
        settings = settings_of(kind)
        config = issuer_forms.apply(given, settings, {}, can_ask=can_ask)
        if is_led and name is None:
            name = typer.prompt("Name of the issuer", default=kind.title, err=True)
        if can_ask:
            issuer_forms.ask_for_missing(settings, config)
        if is_led:
            issuer_forms.offer_the_rest(settings, config)
        issuer_forms.require(settings, config, kind.name)
        body = bodies.make(
            IssuerCreate,
            id=issuer_id,
            name=name or kind.title,
            type=kind.name,
            config=config,
            enabled=enabled,
            limits=limits.over(IssuerLimits()),
        )
        try:
            created = client.create_issuer(body)
        except ClientError as error:
            if not error.uncertain:
                raise _explained(error, kind.name) from None
            raise maybe_done(
                error,
                "The issuer may have been created all the same",
                hint="look whether it is there before you try again: certctl issuers",
            ) from error
        session.answer(created, lambda: issuer_fields(created, session.now))
        if not created.enabled:
            session.note(f"Let it issue when it is to: certctl issuers enable {created.id}")
        elif is_led and typer.confirm("Test it now?", default=True, err=True):
            _report(session, created.id, _checked(session, client, created.id))
        else:
            session.note(f"Test it: certctl issuers test {created.id}")


def update(
    session: Session,
    issuer_id: str,
    given: Given,
    limits: Limits,
    *,
    name: str | None,
    enabled: bool | None,
) -> None:
    """Change what is given, and nothing else. Raises ClientError, CommandFailed, InvalidInput."""
    with session.connect() as client:
        present = client.issuer(issuer_id)
        config = None
        if given:
            settings = settings_of(find_type(client.issuer_types().data, present.type))
            config = issuer_forms.apply(
                given, settings, present.config, can_ask=is_somebody_there(session)
            )
        # What does not touch the settings leaves them where they come from.
        stays = not given and present.source == "env" and _has_the_environments(present)
        body = bodies.make(
            IssuerUpdate,
            name=name or present.name,
            type=present.type,
            config=config,
            enabled=present.enabled if enabled is None else enabled,
            limits=limits.over(present.limits),
            source="env" if stays else "api",
            revision=present.revision,
        )
        changed = _put(client, issuer_id, body)
    session.answer(changed, lambda: issuer_fields(changed, session.now))
    if present.source == "env" and changed.source == "api":
        session.note(
            "Its settings were the environment's. They are the API's from now on, and a restart "
            f"keeps them. Back: certctl issuers update {issuer_id} --from-environment"
        )
    if given:
        session.note(f"Test it: certctl issuers test {issuer_id}")


def take_from_environment(session: Session, issuer_id: str) -> None:
    """Give the issuer the settings in the server's environment. Raises ClientError."""
    with session.connect() as client:
        present = client.issuer(issuer_id)
        body = IssuerUpdate(
            name=present.name,
            type=present.type,
            enabled=present.enabled,
            limits=present.limits,
            source="env",
            revision=present.revision,
        )
        changed = _put(client, issuer_id, body)
    session.answer(changed, lambda: issuer_fields(changed, session.now))
    session.note(f"Test it: certctl issuers test {issuer_id}")


def check(session: Session, issuer_id: str) -> None:
    """Have the server call the CA. Raises ClientError; typer.Exit where the test failed."""
    with session.connect() as client:
        outcome = _checked(session, client, issuer_id)
    _report(session, issuer_id, outcome)


def delete(session: Session, issuer_id: str, *, archive: bool, ask_first: bool) -> None:
    """Delete or archive an issuer after a question. Raises ClientError."""
    with session.connect() as client:
        if ask_first:
            present = client.issuer(issuer_id)
            typer.echo(issuer_fields(present, session.now), err=True)
            ask(
                _question(present, archive=archive),
                otherwise=f"Nothing was {'archived' if archive else 'deleted'}.",
            )
        try:
            left = client.delete_issuer(issuer_id, archive=archive)
        except ApiError as error:
            if error.code in _ARCHIVE_INSTEAD:
                raise advise(
                    error,
                    "archive it instead: it issues no more then, and what it issued can still be "
                    f"revoked: certctl issuers delete {issuer_id} --archive",
                ) from None
            raise
    done = f"Issuer {issuer_id} is {'archived' if archive else 'deleted'}."
    if left is not None:
        session.answer(left, lambda: done)
    else:
        session.note(done)


def _has_the_environments(issuer: IssuerView) -> bool:
    """Whether taking the environment's settings changes none."""
    return issuer.environment == "applied" or (issuer.environment is None and not issuer.config)


def _question(issuer: IssuerView, *, archive: bool) -> str:
    if archive:
        return f"Archive {issuer.id}? It issues and renews nothing from then on"
    return f"Delete {issuer.id}, with its credentials? It cannot be taken back"


def _put(client: Client, issuer_id: str, body: IssuerUpdate) -> IssuerView:
    try:
        return client.update_issuer(issuer_id, body)
    except ClientError as error:
        if error.code == "issuer-changed":
            again = "somebody else changed it meanwhile, and nothing of yours was stored: look with"
            show = f"`certctl issuers show {issuer_id}`"
            raise advise(error, f"{again} {show}, and run the command again") from None
        if error.uncertain:
            raise maybe_done(
                error,
                "The change may have been stored all the same",
                hint=f"look before you try again: certctl issuers show {issuer_id}",
            ) from error
        raise _explained(error, body.type or "") from None


def _explained(error: ClientError, type_name: str) -> ClientError:
    """The error; about settings, with the command that explains them."""
    if error.code != "issuer-settings-invalid":
        return error
    return advise(error, f"see what each setting takes: certctl issuers types {type_name}")


def _checked(session: Session, client: Client, issuer_id: str) -> IssuerCheck:
    with waiting(f"Calling the CA of {issuer_id}", watched=session.is_watched()):
        return client.test_issuer(issuer_id)


def _report(session: Session, issuer_id: str, outcome: IssuerCheck) -> None:
    session.answer(outcome, lambda: check_fields(issuer_id, outcome, session.now))
    if outcome.status == "failed":
        raise typer.Exit(ExitCode.ISSUER_FAILED)
