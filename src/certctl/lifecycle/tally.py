"""What comes of orders, attempts and revocations is counted, by the type of their issuer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain import orders, revocations
from certctl.domain.errors import NotFound
from certctl.domain.orders import OrderState
from certctl.lifecycle.outcomes import FAILURES

if TYPE_CHECKING:
    from certctl.domain.clock import Clock
    from certctl.domain.revocations import RevocationState
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.metrics import Metrics
    from certctl.lifecycle.outcomes import Action, Outcome
    from certctl.storage.orders import OrderRecord

#: The type of an issuer that this process does not have (yet).
UNKNOWN_TYPE = "unknown"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts changes of states, once they are committed, and calls to CAs."""

    catalog: Catalog
    clock: Clock
    metrics: Metrics

    def order(self, before: OrderState | None, after: OrderRecord) -> None:
        """Count an order that has come to its end; `before` is None for a new one.

        How long it took goes by when it was made, which is stored: that may have been in another
        process, and before a restart.
        """
        was_open = before is None or before in orders.OPEN_STATES
        if not was_open or after.state in orders.OPEN_STATES:
            return
        issuer_type = self._type(after.issuer_id)
        self.metrics.issuance(issuer_type, after.state.value)
        if after.state is OrderState.ISSUED:
            took_ms = max(0, self.clock.now_ms() - after.created_at)
            self.metrics.issuance_took(issuer_type, took_ms / 1000)

    def attempt(self, issuer_id: str, action: Action, outcome: Outcome, seconds: float) -> None:
        """Count a call to a CA about an order."""
        self.metrics.attempt(self._type(issuer_id), action, outcome.value, seconds)
        self.failure(issuer_id, outcome)

    def failure(self, issuer_id: str, outcome: Outcome) -> None:
        """Count an attempt to have a certificate issued, where it failed."""
        if outcome in FAILURES:
            self.metrics.issuance_failure(self._type(issuer_id), outcome.value)

    def revocation(self, issuer_id: str, before: RevocationState, after: RevocationState) -> None:
        """Count a revocation that has come to its end."""
        if before in revocations.OPEN_STATES and after not in revocations.OPEN_STATES:
            self.metrics.revocation(self._type(issuer_id), after.value)

    def _type(self, issuer_id: str) -> str:
        try:
            return self.catalog.issuer(issuer_id).record.type
        except NotFound:
            return UNKNOWN_TYPE
