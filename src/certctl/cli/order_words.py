"""An order with its history, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.cli.tables import clean, fields, hanging
from certctl.cli.times import full

if TYPE_CHECKING:
    from datetime import datetime

    from certctl.schemas.orders import AttemptView, OrderDetail

_SHOWN = 20
_SECOND = 1000


def order_text(order: OrderDetail, now: datetime, *, everything: bool = False) -> str:
    """All about an order; of its history the newest attempts, or every one."""
    text = fields(
        [
            ("Order", order.id),
            ("State", order.state),
            ("Waits for", order.waits_for),
            ("Asked next", full(order.due_at, now)),
            ("Problem", order.problem),
            ("Certificate", order.certificate_id),
            ("Issuer", order.issuer_id),
            ("Version", order.version_id),
            ("CA's reference", _reference(order)),
            ("Created", full(order.created_at, now)),
            ("Changed", full(order.updated_at, now)),
            ("Attempts", str(order.attempts)),
        ]
    )
    if order.state == "uncertain":
        text += f"\n\nSay what the CA has: certctl orders resolve {order.id} --help"
    shown = order.history if everything else order.history[-_SHOWN:]
    parts = [_attempt(attempt, now) for attempt in shown]
    if left := len(order.history) - len(shown):
        parts.insert(0, f"{left} earlier: certctl orders show {order.id} --all")
    return "\n".join([text, "", *parts]) if parts else text


def _reference(order: OrderDetail) -> str:
    return ", ".join(f"{name} {value}" for name, value in (order.reference or {}).items())


def _attempt(attempt: AttemptView, now: datetime) -> str:
    start = f"{attempt.number:>3}. "
    what = f"{attempt.action}: {attempt.outcome.replace('_', ' ')}"
    when = f"{full(attempt.started_at, now)}, took {_took(attempt.duration_ms)}"
    lines = [hanging(clean(f"{what}, {when}"), start)]
    code = f" (code {attempt.code})" if attempt.code else ""
    if attempt.detail or code:
        lines.append(hanging(clean(f"{attempt.detail or ''}{code}".strip()), " " * len(start)))
    return "\n".join(lines)


def _took(milliseconds: int) -> str:
    if milliseconds < _SECOND:
        return f"{milliseconds} ms"
    return f"{milliseconds / _SECOND:.1f} s"
