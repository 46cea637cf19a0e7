"""Tables of roles and rules, made from the code while the documentation is built.

Directives: `permissions-table` (what each role may do) and `rules-table` (what each address asks
for).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.api.rules import RULES
from certctl.domain.access import GLOBAL, MEANINGS, Permission, Role, permissions_of

from .settings_table import TableDirective

if TYPE_CHECKING:
    from docutils import nodes  # type: ignore[import-untyped] # it ships no type information
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

    from certctl.api.rules import Rule


class PermissionsTable(TableDirective):
    """Every permission, and which roles have it."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [
            (
                f"`{permission.value}`",
                MEANINGS[permission],
                *[
                    "yes" if permission in permissions_of(role, scoped=False) else ""
                    for role in Role
                ],
                "no" if permission in GLOBAL else "within the scope",
            )
            for permission in Permission
        ]
        heads = ["Permission", "To", *[role.value for role in Role], "With a scope"]
        return self.table(heads, rows)


class RulesTable(TableDirective):
    """Every address, and what it asks for."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [
            (method, f"`{address}`", _permission(rule), _references(rule))
            for (method, address), rule in RULES.items()
        ]
        return self.table(["Method", "Address", "Asks for", "Names"], rows)


def _permission(rule: Rule) -> str:
    return "nothing, not even a key" if rule.permission is None else f"`{rule.permission.value}`"


def _references(rule: Rule) -> str:
    return ", ".join(
        f"{reference.kind.value.replace('_', ' ')} (`{reference.field}` in the {reference.place})"
        for reference in rule.references
    )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("permissions-table", PermissionsTable)
    app.add_directive("rules-table", RulesTable)
    return {"version": "1", "parallel_read_safe": True}
