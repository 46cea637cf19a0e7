"""The one way on which events leave: the log, a metric, and the webhook where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from certctl.domain.events import Severity
from certctl.domain.ids import new_id
from certctl.lifecycle.metrics import Metrics
from certctl.storage.events import insert_event

if TYPE_CHECKING:
    from certctl.domain.events import Event
    from certctl.storage.database import Transaction

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Events:
    """Two calls for each event, so that a crash between them loses no more than a line of log.

    `has_webhook` says whether somebody takes what is kept.
    """

    metrics: Metrics = field(default_factory=Metrics)
    has_webhook: bool = False

    def record(self, transaction: Transaction, event: Event) -> None:
        """Keep it for the webhook, in the transaction that it tells about."""
        if not self.has_webhook:
            return
        insert_event(
            transaction,
            event_id=new_id("evt", event.at_ms),
            kind=event.kind.value,
            body=event.body(),
            now_ms=event.at_ms,
        )

    def announce(self, event: Event) -> None:
        """Log and count it, once that transaction is committed."""
        report = {
            Severity.INFO: log.info,
            Severity.WARNING: log.warning,
            Severity.ERROR: log.error,
        }[event.meaning.severity]
        report(
            "event",
            kind=event.kind.value,
            issuer=event.issuer_id,
            order=event.order_id,
            certificate=event.certificate_id,
            revocation=event.revocation_id,
            problem=event.detail,
            hint=event.meaning.hint,
        )
        self.metrics.event(event.kind)
