"""The settings of a type of issuer, and the types themselves, found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.cli.errors import CommandFailed
from certctl.cli.exit_codes import ExitCode
from certctl.cli.schema_settings import settings_in
from certctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.cli.schema_settings import Setting
    from certctl.schemas.issuers import IssuerTypeView


def settings_of(kind: IssuerTypeView) -> tuple[Setting, ...]:
    """The settings of a type, required ones first, otherwise in the order of the schema."""
    return settings_in(kind.config_schema, env_prefix=kind.env_prefix, within="config")


def find(settings: Sequence[Setting], name: str) -> Setting:
    """The setting of that name, or of that environment variable. Raises InvalidInput."""
    wanted = name.strip().replace("-", "_")
    for setting in settings:
        if wanted.lower() == setting.name.lower() or wanted == setting.variable:
            return setting
    known = ", ".join(setting.name for setting in settings) or "none"
    # What was typed may be a secret in the wrong place: it is not repeated.
    raise InvalidInput(
        "unknown-setting",
        f"this type of issuer has no setting of that name; it has: {known}",
        hint="`certctl issuers types NAME` explains them",
    )


def find_type(kinds: Sequence[IssuerTypeView], name: str) -> IssuerTypeView:
    """The type of that name or alias, whatever its case. Raises CommandFailed."""
    wanted = name.lower()
    for kind in kinds:
        if wanted in {each.lower() for each in (kind.name, *kind.aliases)}:
            return kind
    known = ", ".join(kind.name for kind in kinds) or "none"
    raise CommandFailed(
        "issuer-type-unknown",
        f"the server knows no type of issuer of that name; it knows: {known}",
        exit_code=ExitCode.NOT_FOUND,
        field="type",
        hint="`certctl issuers types` lists them",
    )
