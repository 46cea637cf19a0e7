"""An issuer's settings, from options, files and questions. Secrets come by file or hidden prompt:
what stands on a command line is seen in the list of processes, and kept in a shell's history."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import typer

from certctl.cli.errors import CommandFailed
from certctl.cli.exit_codes import ExitCode
from certctl.cli.files import STDIN, read_object, read_text
from certctl.cli.issuer_settings import find
from certctl.cli.tables import clean
from certctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from certctl.cli.schema_settings import Setting

_WIDTH = 78


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line says about settings, checked as far as it can be without a type."""

    values: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    secret_files: tuple[tuple[str, str], ...] = ()
    unset: tuple[str, ...] = ()
    file: str | None = None

    @classmethod
    def read(
        cls,
        *,
        values: Iterable[str],
        secrets: Iterable[str],
        secret_files: Iterable[str],
        unset: Iterable[str] = (),
        file: str | None = None,
    ) -> Given:
        """Take the options apart. Raises typer.BadParameter."""
        given = cls(
            tuple(_pair(text, "--set", "VALUE") for text in values),
            tuple(_names(secrets, "--secret")),
            tuple(_pair(text, "--secret-file", "FILE") for text in secret_files),
            tuple(_names(unset, "--unset")),
            file,
        )
        from_stdin = [name for name, path in given.secret_files if path == STDIN]
        if len(from_stdin) + (file == STDIN) > 1:
            raise typer.BadParameter("only one of them can be read from standard input (-)")
        return given

    def __bool__(self) -> bool:
        return bool(
            self.values or self.secrets or self.secret_files or self.unset or self.file is not None
        )


def apply(
    given: Given, settings: Sequence[Setting], config: dict[str, Any], *, can_ask: bool
) -> dict[str, Any]:
    """The settings, changed as the command line says; a file replaces them all.

    A setting that is unset is left out, a secret that is unset is null. Secrets are asked for
    here. Raises InvalidInput, CommandFailed, OSError.
    """
    changed = dict(config) if given.file is None else _config_in(given.file)
    for name in given.unset:
        setting = find(settings, name)
        changed.pop(setting.name, None)
        if setting.secret:
            changed[setting.name] = None
    for name, text in given.values:
        setting = find(settings, name)
        if setting.secret:
            raise _on_command_line(setting)
        changed[setting.name] = setting.read(text)
    for name, path in given.secret_files:
        setting = _secret(settings, name)
        changed[setting.name] = setting.read(_secret_text(setting, path))
    for name in given.secrets:
        setting = _secret(settings, name)
        if not can_ask:
            raise _nobody_to_ask(setting)
        changed[setting.name] = ask_for(replace(setting, required=True))
    return changed


def require(settings: Sequence[Setting], config: dict[str, Any], type_name: str) -> None:
    """Raise CommandFailed where a required setting is missing: which, and how to give it."""
    missing = missing_of(settings, config)
    if not missing:
        return
    ways = [
        f"--secret-file {setting.name}=FILE" if setting.secret else f"--set {setting.name}=VALUE"
        for setting in missing
    ]
    names = ", ".join(setting.name for setting in missing)
    raise CommandFailed(
        "settings-missing",
        f"{type_name} cannot do without: {names}",
        exit_code=ExitCode.USAGE,
        hint=f"add {' '.join(ways)}, or run the command on a terminal and be asked; "
        f"`certctl issuers types {type_name}` explains the settings",
    )


def missing_of(settings: Sequence[Setting], config: dict[str, Any]) -> list[Setting]:
    """The required settings that have no value."""
    return [
        setting for setting in settings if setting.required and config.get(setting.name) is None
    ]


def ask_for_missing(settings: Sequence[Setting], config: dict[str, Any]) -> None:
    """Ask a person for the required settings that have no value."""
    for setting in missing_of(settings, config):
        config[setting.name] = ask_for(setting)


def offer_the_rest(settings: Sequence[Setting], config: dict[str, Any]) -> None:
    """Ask a person for the optional settings, if they want to be asked."""
    rest = [setting for setting in settings if not setting.required and setting.name not in config]
    if not rest:
        return
    several = "1 more setting has" if len(rest) == 1 else f"{len(rest)} more settings have"
    if not typer.confirm(f"\n{several} a default. Look at them?", err=True):
        return
    typer.echo("Enter keeps the default.", err=True)
    for setting in rest:
        value = ask_for(setting)
        if value is not None:
            config[setting.name] = value


def ask_for(setting: Setting) -> Any:
    """Ask a person until the answer fits; a secret is not shown. None: an optional one is left."""
    if setting.description:
        typer.echo("\n" + textwrap.fill(clean(setting.description), _WIDTH), err=True)

    def read(text: str) -> Any:
        if not text:
            return None
        try:
            return setting.read(text)
        except InvalidInput as error:
            raise typer.BadParameter(error.detail) from None

    return typer.prompt(
        _label(setting),
        default=None if setting.required else "",
        show_default=False,
        hide_input=setting.secret,
        value_proc=read,
        err=True,
    )


def _label(setting: Setting) -> str:
    takes = "not shown" if setting.secret else setting.takes
    label = f"{setting.name} ({takes})"
    return f"{label} [{setting.default_text}]" if setting.default_text else label


def _pair(text: str, option: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"write it as NAME={what}", param_hint=f"'{option}'")
    return name, value


def _names(names: Iterable[str], option: str) -> Iterable[str]:
    for name in names:
        if "=" in name:
            raise typer.BadParameter(
                "takes the name of a setting, and no value; a secret is asked for, or read from a "
                "file (--secret-file NAME=FILE)",
                param_hint=f"'{option}'",
            )
        yield name


def _secret(settings: Sequence[Setting], name: str) -> Setting:
    setting = find(settings, name)
    if not setting.secret:
        raise CommandFailed(
            "not-a-secret",
            f"{setting.name} is no secret",
            exit_code=ExitCode.USAGE,
            hint=f"write it on the command line: --set {setting.name}=VALUE",
        )
    return setting


def _on_command_line(setting: Setting) -> CommandFailed:
    return CommandFailed(
        "secret-on-command-line",
        f"{setting.name} is a secret, and is not taken from the command line: it would be seen in "
        "the list of processes, and kept in the shell's history. Nothing was sent",
        exit_code=ExitCode.USAGE,
        hint=f"be asked for it with --secret {setting.name}, or have it read from a file with "
        f"--secret-file {setting.name}=FILE (- is standard input); if what you wrote is the real "
        "one, remove it from the history",
    )


def _nobody_to_ask(setting: Setting) -> CommandFailed:
    return CommandFailed(
        "nobody-to-ask",
        f"there is nobody to ask for {setting.name} (no terminal, or --json)",
        exit_code=ExitCode.USAGE,
        hint=f"have it read: --secret-file {setting.name}=FILE, where - is standard input",
    )


def _secret_text(setting: Setting, path: str) -> str:
    if path == STDIN and sys.stdin.isatty():
        raise CommandFailed(
            "secret-would-be-shown",
            f"standard input is a terminal, which would show {setting.name}",
            exit_code=ExitCode.USAGE,
            hint=f"be asked for it: --secret {setting.name}",
        )
    # Editors and `echo` end a file with a newline that is no part of the secret.
    text = read_text(path, setting.name).removesuffix("\n").removesuffix("\r")
    if not text:
        raise setting.wrong("is empty in the file that was named for it")
    return text


def _config_in(path: str) -> dict[str, Any]:
    return read_object(
        path,
        "--config",
        hint='write the settings as {"name": "value"}; `certctl --json issuers show ID` has '
        "those of an issuer in its config",
    )
