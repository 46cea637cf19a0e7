"""Versions and their revocations, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from certctl.schemas.certificates import VersionView
    from certctl.schemas.revocations import RevocationView


def described(versions: Sequence[VersionView], now: datetime) -> str:
    """A paragraph for each version, with an empty line in front."""
    from certctl.cli.tables import fields
    from certctl.cli.times import full

    text = ""
    for version in versions:
        revocation = version.revocation
        text += "\n\n" + fields(
            [
                ("Version", version.id),
                ("Serial", version.serial),
                ("Valid from", full(version.not_before, now)),
                ("Valid until", full(version.not_after, now)),
                ("Revocation", in_words(revocation, now) if revocation else None),
                ("Problem", revocation.problem if revocation else None),
            ]
        )
    return text


def in_words(revocation: RevocationView, now: datetime) -> str:
    """How far it is, why, and since when."""
    from certctl.cli.times import full

    return f"{state_of(revocation)}: {revocation.reason}, {full(revocation.revoked_at, now)}"


def state_of(revocation: RevocationView) -> str:
    """How far the CA is, with the revocation or with the end of a hold."""
    return f"release {revocation.state}" if revocation.action == "release" else revocation.state
