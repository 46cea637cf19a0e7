"""What comes of orders and revocations is counted, by the type of their issuer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.domain import orders, revocations
from certctl.domain.errors import NotFound

if TYPE_CHECKING:
    from certctl.domain.orders import OrderState
    from certctl.domain.revocations import RevocationState
    from certctl.lifecycle.catalog import Catalog
    from certctl.lifecycle.metrics import Metrics

#: The type of an issuer that this process does not have (yet).
UNKNOWN_TYPE = "unknown"


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts changes of states, once they are committed."""

    catalog: Catalog
    metrics: Metrics

    def order(self, issuer_id: str, before: OrderState | None, after: OrderState) -> None:
        """Count an order that has come to its end; `before` is None for a new one."""
        was_open = before is None or before in orders.OPEN_STATES
        if was_open and after not in orders.OPEN_STATES:
            self.metrics.issuance(self._type(issuer_id), after.value)

    def revocation(self, issuer_id: str, before: RevocationState, after: RevocationState) -> None:
        """Count a revocation that has come to its end."""
        if before in revocations.OPEN_STATES and after not in revocations.OPEN_STATES:
            self.metrics.revocation(self._type(issuer_id), after.value)

    def _type(self, issuer_id: str) -> str:
        try:
            return self.catalog.issuer(issuer_id).record.type
        except NotFound:
            return UNKNOWN_TYPE
