"""Tables made from the code while the documentation is built, so that they cannot fall behind it.

Directives: `settings-table` (a pydantic model as environment variables), `body-table` (one as a
REST body), `profiles-table` (the seeded profiles),
`transitions-table` (the states of an order, or of a revocation), `polling-table` (when an order is
asked for), `outcomes-table` (the classes of answers), `problems-table` (problem codes by kind of
error) and `exit-codes-table` (of the command line).
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes  # type: ignore[import-untyped] # it ships no type information
from pydantic import BaseModel, SecretStr
from sphinx.util.docutils import SphinxDirective

import certctl
from certctl.cli.exit_codes import ExitCode
from certctl.domain import orders, polling, revocations
from certctl.domain.profiles import SECONDS_PER_DAY
from certctl.lifecycle.outcomes import Outcome
from certctl.lifecycle.presets import PRESETS

from .problem_codes import find_problems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata, OptionSpec

_WIDEST = 60  # characters, of a column in formats that need a width
_SECONDS_PER_HOUR = 3600
_DAY_LIMIT = 2  # from how many days on a lifetime is shown in days


class TableDirective(SphinxDirective):
    """A directive that makes one table; its cells are inline Markdown."""

    option_spec: ClassVar[OptionSpec] = {}

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[nodes.Node]:
        """A table of these heads and rows."""
        self.env.note_reread()  # Sphinx does not watch the code that it comes from
        group = nodes.tgroup(cols=len(heads))
        for column in zip(heads, *rows, strict=True):
            group += nodes.colspec(colwidth=min(max(len(cell) for cell in column), _WIDEST))
        head = nodes.thead()
        head += self._row(heads)
        body = nodes.tbody()
        body += [self._row(row) for row in rows]
        group += [head, body]
        table = nodes.table(classes=["colwidths-auto"])
        table += group
        return [table]

    def _row(self, cells: Sequence[str]) -> nodes.row:
        row = nodes.row()
        for cell in cells:
            entry = nodes.entry()
            paragraph = nodes.paragraph()
            inline, _messages = self.parse_inline(cell)
            paragraph += inline
            entry += paragraph
            row += entry
        return row


class SettingsTable(TableDirective):
    """Every field of a settings model, named as `module:Class`, as environment variables."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        module, _, name = self.arguments[0].partition(":")
        model: type[BaseModel] = getattr(importlib.import_module(module), name)
        prefix = model.model_config.get("env_prefix") or getattr(model, "env_prefix", "")
        rows = [
            (f"`{prefix}{field.upper()}`", _default(info), _meaning(info))
            for field, info in model.model_fields.items()
        ]
        return self.table(["Variable", "Default", "Meaning"], rows)


class BodyTable(TableDirective):
    """Every field of a REST body, named as `module:Class`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        module, _, name = self.arguments[0].partition(":")
        model: type[BaseModel] = getattr(importlib.import_module(module), name)
        rows = [
            (
                f"`{field}`",
                "required" if info.is_required() else f"`{json.dumps(info.get_default())}`",
                _meaning(info),
            )
            for field, info in model.model_fields.items()
        ]
        return self.table(["Field", "Default", "Meaning"], rows)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value: Any = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if value is None or value in ((), "") else f"`{value}`"


def _meaning(info: FieldInfo) -> str:
    text = info.description or ""
    secret = "SecretStr" in repr(info.annotation) or info.annotation is SecretStr
    return f"{text} (secret)" if secret else text


class ProfilesTable(TableDirective):
    """The profiles that exist from the first start."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        heads = ["Profile", "For", "Usages", "Names", "Keys", "Lifetime", "At most"]
        rows = []
        for profile in PRESETS:
            keys = [
                f"{key} ≥ {profile.rsa_min_bits}" if key == "rsa" else key.value
                for key in sorted(profile.key_types)
            ]
            rows.append(
                (
                    f"`{profile.id}`",
                    profile.description,
                    ", ".join(profile.usages),
                    ", ".join(sorted(profile.name_kinds)) or "common name only",
                    ", ".join(keys),
                    _lifetime(profile.default_validity),
                    _lifetime(profile.max_validity),
                )
            )
        return self.table(heads, rows)


def _lifetime(seconds: int) -> str:
    if seconds % _SECONDS_PER_HOUR:
        return f"{seconds // 60} minutes"
    days, rest = divmod(seconds, SECONDS_PER_DAY)
    hours = seconds // _SECONDS_PER_HOUR
    return f"{hours} hours" if rest or days < _DAY_LIMIT else f"{days} days"


class TransitionsTable(TableDirective):
    """Which state may follow which: of an order, or of a revocation (`revocations`)."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        of = revocations if self.arguments == ["revocations"] else orders
        rows = [
            (
                f"`{state.value}`",
                "open" if state in of.OPEN_STATES else "closed",
                ", ".join(f"`{next_.value}`" for next_ in sorted(following)) or "nothing",
            )
            for state, following in of.TRANSITIONS.items()
        ]
        return self.table(["State", "", "What may follow"], rows)


class PollingTable(TableDirective):
    """When a CA is asked about an order that it works on."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        schedule = polling.PollSchedule()
        rows, age = [], 0.0
        for number in range(1, len(polling.STEPS) + 3):
            wait = schedule.next_poll(age, 0.5)
            age += wait
            rows.append((str(number), f"{wait:g} s", f"{age:g} s"))
        rows.append(
            ("…", f"{polling.STEADY:g} s", f"until the burst of {schedule.burst:g} s is over")
        )
        days = schedule.order_max_age / SECONDS_PER_DAY
        rows.append(("parked", f"{polling.PARKED:g} s", f"until it is {days:g} days old"))
        return self.table(["Poll", "Wait before it", "After the CA took the order"], rows)


class OutcomesTable(TableDirective):
    """The classes of answers in an order's history."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [(f"`{outcome.value}`", outcome.meaning) for outcome in Outcome]
        return self.table(["Class", "Meaning"], rows)


class ProblemsTable(TableDirective):
    """The problem codes of the kinds of error that are listed (`framework` for none of ours)."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        kinds = {"" if kind == "framework" else kind for kind in self.arguments[0].split()}
        package = Path(certctl.__file__).parent
        rows = [
            (f"`{problem.code}`", str(problem.status), problem.detail)
            for problem in find_problems(package)
            if problem.kind in kinds
        ]
        if not rows:
            raise self.error("no problem of that kind in the code")
        return self.table(["Code", "Status", "What it says"], rows)


class ExitCodesTable(TableDirective):
    """How a command may end."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        return self.table(
            ["Code", "Meaning"], [(f"`{code.value}`", code.meaning) for code in ExitCode]
        )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("settings-table", SettingsTable)
    app.add_directive("body-table", BodyTable)
    app.add_directive("profiles-table", ProfilesTable)
    app.add_directive("transitions-table", TransitionsTable)
    app.add_directive("polling-table", PollingTable)
    app.add_directive("outcomes-table", OutcomesTable)
    app.add_directive("problems-table", ProblemsTable)
    app.add_directive("exit-codes-table", ExitCodesTable)
    return {"version": "1", "parallel_read_safe": True}
