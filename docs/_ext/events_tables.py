"""Tables of events, metrics and audit actions, made from the code while the pages are built.

Directives: `events-table` (what there is to hear of), `metrics-table` (what `/metrics` shows),
`failures-table` (the error classes of failed attempts) and `audit-actions-table` (what the audit
log can say).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.audit_actions import ACTIONS
from certctl.domain.events import MEANINGS
from certctl.lifecycle.metrics import METERS
from certctl.lifecycle.outcomes import FAILURES, Outcome
from certctl.lifecycle.scrape import GAUGES

from .settings_table import TableDirective

if TYPE_CHECKING:
    from docutils import nodes  # type: ignore[import-untyped] # it ships no type information
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


class EventsTable(TableDirective):
    """Every kind of event."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [
            (
                f"`{kind.value}`",
                f"`{meaning.type}`",
                meaning.severity.value,
                meaning.when,
                meaning.hint,
            )
            for kind, meaning in MEANINGS.items()
        ]
        return self.table(["Kind", "Type", "Severity", "When", "What to do"], rows)


class MetricsTable(TableDirective):
    """Every metric."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [
            (
                f"`{meter.name}`",
                meter.kind,
                ", ".join(f"`{label}`" for label in meter.labels),
                meter.help,
            )
            for meter in (*METERS, *GAUGES)
        ]
        return self.table(["Metric", "Kind", "Labels", "Meaning"], rows)


class FailuresTable(TableDirective):
    """Every class of a failed attempt."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [
            (f"`{outcome.value}`", outcome.meaning) for outcome in Outcome if outcome in FAILURES
        ]
        return self.table(["Error class", "Meaning"], rows)


class AuditActionsTable(TableDirective):
    """Every action of the audit log."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [
            (f"`{name}`", f"`{action.object_type}`" if action.object_type else "any", action.when)
            for name, action in ACTIONS.items()
        ]
        return self.table(["Action", "About", "When"], rows)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("events-table", EventsTable)
    app.add_directive("metrics-table", MetricsTable)
    app.add_directive("failures-table", FailuresTable)
    app.add_directive("audit-actions-table", AuditActionsTable)
    return {"version": "1", "parallel_read_safe": True}
