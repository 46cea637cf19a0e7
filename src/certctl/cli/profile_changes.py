"""`certctl profiles create`, `edit`, `delete`, step by step."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from certctl.cli import bodies
from certctl.cli.confirming import ask, is_somebody_there
from certctl.cli.errors import CommandFailed, advise, explain, maybe_done
from certctl.cli.exit_codes import ExitCode
from certctl.cli.files import json_object, quoted, read_object
from certctl.cli.profile_words import find_rule, profile_fields, read_rule, rules
from certctl.client import ApiError, ClientError
from certctl.domain.errors import InvalidInput
from certctl.schemas.profiles import ProfileCreate, ProfileRules, ProfileUpdate, ProfileView

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certctl.cli.session import Session
    from certctl.client import Client

_FORM = "write the rules as JSON; `certctl --json profiles show ID` has those of a profile"
#: What a profile that is like another has not from that one.
_ITS_OWN = frozenset({"name", "description", "enabled"})
_ARCHIVE_INSTEAD = frozenset({"profile-in-use", "profile-built-in"})


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says about rules."""

    values: tuple[tuple[str, str], ...] = ()
    unset: tuple[str, ...] = ()
    file: str | None = None

    @classmethod
    def read(
        cls, values: Iterable[str], unset: Iterable[str] = (), file: str | None = None
    ) -> Given:
        """Take the options apart. Raises typer.BadParameter."""
        pairs = []
        for text in values:
            name, equals, value = text.partition("=")
            if not equals or not name.strip():
                raise typer.BadParameter("write it as NAME=VALUE", param_hint="'--set'")
            pairs.append((name, value))
        return cls(tuple(pairs), tuple(unset), file)

    def __bool__(self) -> bool:
        return self != Given()

    def over(self, present: dict[str, Any]) -> dict[str, Any]:
        """The rules, changed as the command line says; a file replaces them all.

        Raises InvalidInput, OSError.
        """
        changed = dict(present) if self.file is None else _rules_in_file(self.file)
        for name in self.unset:
            changed.pop(find_rule(name).name, None)
        for name, text in self.values:
            rule = find_rule(name)
            changed[rule.name] = read_rule(rule, text)
        return changed


def create(
    session: Session,
    given: Given,
    *,
    name: str | None,
    profile_id: str | None,
    like: str | None,
    disabled: bool,
) -> None:
    """Make a profile. Raises ClientError, CommandFailed, InvalidInput, OSError."""
    with session.connect() as client:
        start = {} if like is None else _rules_of(client.profile(like))
        if like is not None:
            start = {name: start[name] for name in start if name not in _ITS_OWN}
        wanted = given.over(start)
        wanted.pop("revision", None)
        if name is not None:
            wanted["name"] = name
        if disabled:
            wanted["enabled"] = False
        _require(wanted)
        body = bodies.make(ProfileCreate, **{**wanted, "id": profile_id})
        try:
            created = client.create_profile(body)
        except ClientError as error:
            if not error.uncertain:
                raise
            raise maybe_done(
                error,
                "The profile may have been made all the same",
                hint="look whether it is there before you try again: certctl profiles",
            ) from error
    session.answer(created, lambda: profile_fields(created, session.now))
    if created.enabled:
        session.note(f"Use it: certctl issue www.example.org --profile {created.id}")
    else:
        session.note(f"Let it be used when it is to: certctl profiles enable {created.id}")


def edit(session: Session, profile_id: str, given: Given) -> None:
    """Change what is given; where nothing is, what a person changes in an editor.

    Raises ClientError, CommandFailed, InvalidInput, OSError.
    """
    with session.connect() as client:
        present = client.profile(profile_id)
        if given:
            try:
                changed = _put(client, present, given.over(_rules_of(present)))
            except ApiError as error:
                if error.code != "profile-changed":
                    raise
                raise advise(
                    error,
                    "somebody else changed it meanwhile, and nothing of yours was stored: look "
                    f"with `certctl profiles show {profile_id}`, and run the command again",
                ) from None
        else:
            edited = _edited(session, client, present)
            if edited is None:
                session.answer(present, lambda: "Nothing was changed.")
                return
            changed = edited
    session.answer(changed, lambda: profile_fields(changed, session.now))
    session.note("It is for what comes next: what was issued or ordered stays as it is.")


def delete(session: Session, profile_id: str, *, archive: bool, ask_first: bool) -> None:
    """Delete or archive a profile after a question. Raises ClientError."""
    with session.connect() as client:
        if ask_first:
            present = client.profile(profile_id)
            typer.echo(profile_fields(present, session.now), err=True)
            ask(
                f"Archive {profile_id}? Nothing is ordered or renewed with it from then on"
                if archive
                else f"Delete {profile_id}? It cannot be taken back",
                otherwise=f"Nothing was {'archived' if archive else 'deleted'}.",
            )
        try:
            client.delete_profile(profile_id, archive=archive)
        except ApiError as error:
            if error.code in _ARCHIVE_INSTEAD:
                raise advise(
                    error,
                    "archive it instead: nothing is ordered or renewed with it then, and what was "
                    f"issued stays: certctl profiles delete {profile_id} --archive",
                ) from None
            raise
    session.note(f"Profile {profile_id} is {'archived' if archive else 'deleted'}.")


def _rules_of(profile: ProfileView) -> dict[str, Any]:
    """What can be changed of a profile, as JSON."""
    return profile.model_dump(mode="json", include=set(ProfileRules.model_fields))


def _rules_in_file(path: str) -> dict[str, Any]:
    return _only_rules(read_object(path, "--file", hint=_FORM))


def _only_rules(found: dict[str, Any]) -> dict[str, Any]:
    """Without what the server shows of a profile and nobody sets, so that what was shown can be
    sent back; its revision says what was changed."""
    shown = ProfileView.model_fields.keys() - ProfileUpdate.model_fields.keys()
    return {name: value for name, value in found.items() if name not in shown}


def _require(wanted: dict[str, Any]) -> None:
    missing = [rule.name for rule in rules() if rule.required and rule.name not in wanted]
    if not missing:
        return
    sets = " ".join(f"--set {name}=VALUE" for name in missing if name != "name")
    raise CommandFailed(
        "rules-missing",
        f"a profile cannot do without: {', '.join(missing)}",
        exit_code=ExitCode.USAGE,
        hint=f"{'name it, and ' if 'name' in missing else ''}add {sets or 'its rules'}, or start "
        "from another profile with --like ID; `certctl profiles rules` explains them",
    )


def _put(client: Client, present: ProfileView, wanted: dict[str, Any]) -> ProfileView:
    revision = present.revision or None
    body = bodies.make(ProfileUpdate, **{"name": present.name, "revision": revision, **wanted})
    try:
        return client.update_profile(present.id, body)
    except ClientError as error:
        if not error.uncertain:
            raise
        raise maybe_done(
            error,
            "The change may have been stored all the same",
            hint=f"look before you try again: certctl profiles show {present.id}",
        ) from error


def _edited(session: Session, client: Client, present: ProfileView) -> ProfileView | None:
    """Have a person change the rules until they are stored; None where nothing was changed."""
    before = json.dumps(_rules_of(present), indent=2, ensure_ascii=False) + "\n"
    descriptor, name = tempfile.mkstemp(prefix="certctl-profile-", suffix=".json")
    path = Path(name)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(before)
    while True:
        if not _run_editor(path):
            _forget(path, before)
            raise _editor_failed()
        text = path.read_text(encoding="utf-8", errors="replace")
        if text.strip() in {"", before.strip()}:
            path.unlink()
            return None
        try:
            wanted = _only_rules(json_object(text, "what you wrote", hint=_FORM))
            changed = _put(client, present, wanted)
        except (ApiError, InvalidInput) as error:
            if not is_somebody_there(session) or getattr(error, "code", "") == "profile-changed":
                _keep(error, path, present.id)
            report = explain(error)
            typer.echo(error if report is None else report.as_text(), err=True)
            if not typer.confirm("Edit it again?", default=True, err=True):
                _keep(error, path, present.id)
        except (ClientError, CommandFailed):  # the server could not be asked, or its answer is lost
            _forget(path, before)
            raise
        else:
            path.unlink()
            return changed


def _run_editor(path: Path) -> bool:
    """Whether the editor ran, and did not say that it failed."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        subprocess.run([*shlex.split(editor), str(path)], check=True)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return False
    return True


def _forget(path: Path, before: str) -> None:
    """Remove the file, unless somebody's work is in it."""
    if path.read_text(encoding="utf-8", errors="replace") == before:
        path.unlink()
    else:
        typer.echo(f"What you wrote is kept: {path}", err=True)


def _editor_failed() -> CommandFailed:
    return CommandFailed(
        "editor-failed",
        "the editor could not be run, or said that it failed: nothing was changed",
        exit_code=ExitCode.UNEXPECTED,
        hint="set EDITOR to an editor that waits until you are done, or change rules with "
        "--set NAME=VALUE",
    )


def _keep(error: ApiError | InvalidInput, path: Path, profile_id: str) -> NoReturn:
    """Leave what was written where it is, and say so."""
    words = (
        "what you wrote is kept; mend it and send it with "
        f"`certctl profiles edit {profile_id} --file {quoted(path)}`"
    )
    if isinstance(error, ApiError):
        if error.code == "profile-changed":
            words = f"somebody else changed it meanwhile: look at it first; {words}"
        raise advise(error, words) from None
    raise InvalidInput(
        error.code,
        error.detail,
        field=error.field,
        hint=f"{error.hint}; {words}" if error.hint else words,
    ) from None
