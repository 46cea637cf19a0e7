"""Settings on trial: built before they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certctl.connectors import errors as connector_errors
from certctl.domain.errors import InvalidInput, Unavailable
from certctl.lifecycle.building import TrialState
from certctl.storage.issuers import insert_state
from certctl.storage.sealed_values import StoredState

if TYPE_CHECKING:
    from certctl.connectors.contract import Connector
    from certctl.lifecycle.live_issuers import LiveIssuers
    from certctl.storage.database import Database, Transaction
    from certctl.storage.issuers import IssuerRecord

_RETRY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Trial:
    """A connector whose settings are not stored yet, and what it has kept in its state."""

    database: Database
    connector: Connector
    state: TrialState

    def keep(self, transaction: Transaction, issuer_id: str) -> bool:
        """Store what the connector has kept; whether none of it was there already.

        If some was, the connector goes by what is not stored, and must not be used.
        """
        keyring, now = self.database.keyring, self.database.clock.now_ms()
        return insert_state(transaction, keyring, issuer_id, self.state.kept, now)

    def use(self, live: LiveIssuers, stored: IssuerRecord) -> None:
        """Have the connector used for the settings as they were stored."""
        self.state.settle()
        live.offer(stored, self.connector)


async def try_settings(database: Database, live: LiveIssuers, record: IssuerRecord) -> Trial:
    """Build the connector of settings that are not stored yet; nothing is left behind.

    Raises InvalidInput for settings that do not work, Unavailable where the CA has to be asked and
    does not answer.
    """
    state = TrialState(StoredState(database, record.id))
    try:
        return Trial(database, await live.builder.build(record, state), state)
    except (
        connector_errors.Unavailable,
        connector_errors.NoAnswer,
        connector_errors.RateLimited,
        connector_errors.QuotaExhausted,
    ) as error:
        raise Unavailable(
            "issuer-not-reachable",
            f"the CA has to be asked before these settings are used: {error.detail}",
            field="config",
            hint="nothing was changed; try again",
            retry_after=_RETRY_SECONDS,
        ) from None
    except connector_errors.IssuerError as error:
        raise InvalidInput(
            "issuer-settings-refused",
            error.detail,
            field="config",
            hint="nothing was changed; mend the settings or the files that they name",
        ) from None
