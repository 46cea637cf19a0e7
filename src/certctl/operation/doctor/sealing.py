"""Whether the sealing key opens what is sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.errors import CertctlError
from certctl.operation.doctor.findings import Finding, error, warning, well
from certctl.storage.rotation import count_by_header, find_unopened
from certctl.storage.sealing import FURTHER_SETTING, KEY_FILE, SECRET_SETTING, read_keyring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certctl.settings import Settings
    from certctl.storage.inspection import Inspection
    from certctl.storage.rotation import Place

CHECK = "sealing key"
_NAMED = 3


def check_sealing(settings: Settings, inspection: Inspection) -> list[Finding]:
    """Opens every sealed value of a database whose tables are of this version.

    Raises Unavailable.
    """
    secret, further = settings.config_encryption_key, settings.config_decryption_keys
    on_sqlite = inspection.dialect == "sqlite"
    if secret is None and on_sqlite and not (settings.data_dir / KEY_FILE).exists():
        # Asked for, it might be made, which is for the server to do.
        return [
            error(
                CHECK,
                f"there is no {KEY_FILE} in {settings.data_dir}, and {SECRET_SETTING} is not set",
                f"put {KEY_FILE} back from where its copy is kept, or run this with the server's "
                "environment",
            )
        ]
    try:
        keyring = read_keyring(
            secret.get_secret_value() if secret else None,
            settings.data_dir,
            required=not on_sqlite,
            further=further.get_secret_value() if further else None,
        )
    except CertctlError as fault:
        return [error(CHECK, fault.detail, fault.hint or f"set {SECRET_SETTING}")]
    counts = inspection.look(count_by_header)
    places = inspection.look(lambda connection: find_unopened(connection, keyring))
    old = counts.total() - counts[keyring.header] - len(places)
    return judge_sealing(counts.total(), places, old)


def judge_sealing(values: int, unopened: Sequence[Place], old: int) -> list[Finding]:
    """What it means that of so many values these do not open, and `old` do under an old key."""
    if unopened:
        named = ", ".join(f"{place.name!r} of {place.scope!r}" for place in unopened[:_NAMED])
        if len(unopened) > _NAMED:
            named += f", {len(unopened) - _NAMED} more"
        return [
            error(
                CHECK,
                f"{len(unopened)} of {values} sealed values cannot be opened: {named}",
                f"run this with the server's environment; if it is the same, set {SECRET_SETTING} "
                f"(or put {KEY_FILE} back) to what it was, and {FURTHER_SETTING} to older ones",
            )
        ]
    if old > 0:
        return [
            warning(
                CHECK,
                f"{old} of {values} sealed values are under an old key",
                "finish the rotation, with the server running: certctl secrets rotate",
            )
        ]
    return [well(CHECK, f"opens all {values} sealed values")]
