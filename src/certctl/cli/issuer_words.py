"""Issuers and their types, as a person reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from certctl.cli.tables import Column, Table, fields
from certctl.cli.times import full, relative

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from certctl.cli.schema_settings import Setting
    from certctl.schemas.issuers import (
        IssuerCheck,
        IssuerCondition,
        IssuerLimits,
        IssuerTypeView,
        IssuerView,
    )

_CONDITIONS = {"open": "circuit open", "quota": "quota used up"}
_LEFT_ALONE = {
    "open": "circuit open: the CA is left alone, because credentials or settings do not work",
    "quota": "quota used up: the account has nothing left to issue",
}


def issuers_table(rows: Sequence[IssuerView], now: datetime) -> Table:
    """One row for each issuer."""
    columns = (
        Column("ID"),
        Column("STATUS", is_state=True),
        Column("CONDITION", is_state=True),
        Column("TYPE", least=4),
        Column("NAME", least=8),
        Column("PROBLEM", least=24, wraps=True),
        Column("LAST TEST", extra=True),
        Column("SETTINGS FROM", extra=True),
    )
    return Table(
        columns,
        [
            (
                row.id,
                row.status,
                _CONDITIONS[row.condition.state] if row.condition else "",
                row.type,
                row.name,
                row.problem or (row.condition.problem if row.condition else ""),
                f"{row.check.status} {relative(row.check.checked_at, now)}" if row.check else "",
                _origin(row),
            )
            for row in rows
        ],
    )


def issuer_fields(issuer: IssuerView, now: datetime) -> str:
    """All about one issuer."""
    text = fields(
        [
            ("Issuer", issuer.id),
            ("Name", issuer.name),
            ("Type", issuer.type),
            ("Status", issuer.status),
            ("Problem", issuer.problem),
            *_condition(issuer.condition, now),
            ("Limits", _limits(issuer.limits)),
            ("Environment", _environment(issuer)),
            ("Settings from", _origin(issuer)),
            *[
                (f"  {name}", value if isinstance(value, str) else json.dumps(value))
                for name, value in issuer.config.items()
                if value is not None
            ],
            ("Revision", str(issuer.revision)),
            *_last_check(issuer.check, now),
            ("Created", full(issuer.created_at, now)),
            ("Changed", full(issuer.updated_at, now)),
        ]
    )
    if issuer.environment == "differs":
        text += f"\n\nTake the environment's: certctl issuers update {issuer.id} --from-environment"
    return text


def check_fields(issuer_id: str, check: IssuerCheck, now: datetime) -> str:
    """What came of a test."""
    return fields(
        [
            ("Issuer", issuer_id),
            ("Test", check.status),
            ("Host", check.host),
            ("Answer", check.detail),
            ("CA's code", check.code),
            ("Took", f"{check.duration_ms} ms"),
            ("At", full(check.checked_at, now)),
        ]
    )


def types_table(rows: Sequence[IssuerTypeView], _now: datetime) -> Table:
    """One row for each type."""
    columns = (
        Column("TYPE"),
        Column("CA", least=16, wraps=True),
        Column("ALSO CALLED", least=11, wraps=True),
        Column("VARIABLES"),
    )
    return Table(
        columns,
        [(row.name, row.title, ", ".join(row.aliases), f"{row.env_prefix}...") for row in rows],
    )


def settings_table(settings: Sequence[Setting]) -> Table:
    """One row for each setting of a type."""
    columns = (
        Column("SETTING"),
        Column("VARIABLE"),
        Column("TAKES", least=16, wraps=True),
        Column("DEFAULT", least=10, wraps=True),
        Column("MEANING", least=24, wraps=True),
    )
    return Table(
        columns,
        [
            (
                setting.name,
                setting.variable,
                setting.takes,
                "(required)" if setting.required else setting.default_text,
                setting.description,
            )
            for setting in settings
        ],
    )


def _condition(condition: IssuerCondition | None, now: datetime) -> list[tuple[str, str | None]]:
    if condition is None:
        return []
    return [
        ("Condition", _LEFT_ALONE[condition.state]),
        ("  because", condition.problem),
        ("  since", full(condition.since, now)),
        ("  tried next", full(condition.tried_next, now)),
    ]


def _last_check(check: IssuerCheck | None, now: datetime) -> list[tuple[str, str | None]]:
    if check is None:
        return [("Last test", "none yet")]
    host = f", {check.host}" if check.host else ""
    code = f" ({check.code})" if check.code else ""
    return [
        ("Last test", f"{check.status}{host}, {full(check.checked_at, now)}"),
        ("  answer", f"{check.detail}{code}"),
    ]


def _limits(limits: IssuerLimits) -> str:
    parts = []
    if limits.max_concurrency is not None:
        parts.append(f"{limits.max_concurrency} calls at a time")
    if limits.max_calls_per_minute is not None:
        parts.append(f"{limits.max_calls_per_minute} calls a minute")
    return ", ".join(parts) or "none"


def _origin(issuer: IssuerView) -> str:
    return "environment" if issuer.source == "env" else "API"


def _environment(issuer: IssuerView) -> str | None:
    if issuer.environment == "differs":
        return "has other settings, which are not in effect"
    if issuer.environment == "applied" and issuer.source == "api":
        return "has the same settings"
    return None
