"""From issuers and their types to REST bodies."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from certctl.domain.clock import from_ms
from certctl.schemas.issuers import (
    IssuerCheck,
    IssuerCondition,
    IssuerLimits,
    IssuerTypeView,
    IssuerView,
)

if TYPE_CHECKING:
    from certctl.connectors.contract import ConnectorType
    from certctl.lifecycle.issuer_requests import IssuerState
    from certctl.lifecycle.live_issuers import Issuer
    from certctl.storage.conditions import ConditionRecord
    from certctl.storage.issuer_checks import CheckRecord


def issuer_view(state: IssuerState) -> IssuerView:
    """An issuer; its secrets are masked where they are set."""
    record = state.issuer.record
    return IssuerView(
        id=record.id,
        name=record.name,
        type=record.type,
        config=state.config,
        enabled=record.enabled,
        limits=IssuerLimits(
            max_concurrency=record.max_concurrency,
            max_calls_per_minute=record.max_calls_per_minute,
        ),
        environment=state.environment,
        condition=None if state.condition is None else _condition_view(state.condition),
        check=None if state.check is None else check_view(state.check),
        revision=record.revision,
        source="env" if record.source == "env" else "api",
        status=_status(state.issuer),
        problem=state.issuer.problem,
        created_at=from_ms(record.created_at),
        updated_at=from_ms(record.updated_at),
    )


def _status(issuer: Issuer) -> Literal["ready", "disabled", "failed", "archived"]:
    if issuer.record.archived_at is not None:
        return "archived"
    if not issuer.record.enabled:
        return "disabled"
    if issuer.connector is None or issuer.problem is not None:
        return "failed"
    return "ready"


def _condition_view(condition: ConditionRecord) -> IssuerCondition:
    return IssuerCondition(
        state=condition.state.value,
        problem=condition.problem,
        since=from_ms(condition.since),
        tried_next=None if condition.due_at is None else from_ms(condition.due_at),
    )


def check_view(check: CheckRecord) -> IssuerCheck:
    """What came of testing an issuer."""
    return IssuerCheck(
        status="ok" if check.ok else "failed",
        detail=check.detail,
        code=check.code,
        host=check.host,
        checked_at=from_ms(check.checked_at),
        duration_ms=check.duration_ms,
    )


@cache
def issuer_type_view(kind: ConnectorType) -> IssuerTypeView:
    """A type of issuer, with the form for its settings."""
    schema = kind.config.model_json_schema()
    for name in kind.config.secret_fields():
        schema["properties"][name]["writeOnly"] = True
    return IssuerTypeView(
        name=kind.name,
        aliases=list(kind.aliases),
        title=kind.title,
        env_prefix=kind.config.env_prefix,
        config_schema=schema,
    )
