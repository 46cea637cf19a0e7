"""Refusals, from a request to the audit log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from certctl.lifecycle.refusals import Target

if TYPE_CHECKING:
    from starlette.types import Scope

    from certctl.api.route_table import Match
    from certctl.api.services import Services
    from certctl.domain.errors import CertctlError
    from certctl.lifecycle.access import Actor

#: An id that may be written down; what else stands in a path may be anything, a secret too.
_ID = re.compile(r"(?:cert|ver|ord|bulk|iss|prof)-[a-z0-9-]{1,75}|[0-9a-hjkmnp-tv-z]{26}")


async def record_refusal(scope: Scope, error: CertctlError) -> None:
    """Have it written down when an error turns away a caller who is known."""
    if not error.is_refusal:
        return
    state = scope["state"]
    actor: Actor = state["actor"]
    services: Services = state["services"]
    await services.use_cases.refusals.record(actor, _what(state["match"]), error)


def _what(match: Match) -> Target:
    for kind, object_id in match.named():
        if _ID.fullmatch(object_id):
            return Target(match.method, match.template, kind.value, object_id)
    return Target(match.method, match.template, "route", match.template)
