"""From a stored issuer to its connector."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from certctl.connectors.config import describe_faults, find_faults, hide
from certctl.connectors.contract import ConnectorContext
from certctl.connectors.errors import IssuerError, Misconfigured, Unavailable
from certctl.domain.errors import CertctlError
from certctl.storage.sealed_values import StoredState

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.connectors.config import ConnectorConfig
    from certctl.connectors.contract import Connector, ConnectorState, ConnectorType
    from certctl.connectors.transport import Transports
    from certctl.domain.clock import Clock
    from certctl.storage.database import Database
    from certctl.storage.issuers import IssuerRecord

log = structlog.get_logger(__name__)

#: So long a factory may take that calls its CA.
BUILD_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds connectors. What they raise has no secret of theirs in it, whoever wrote them."""

    database: Database
    clock: Clock
    find_type: Callable[[str], ConnectorType]
    transports: Transports
    status_url: str | None
    seconds: float = BUILD_SECONDS

    async def build(self, record: IssuerRecord, state: ConnectorState | None = None) -> Connector:
        """The connector of an issuer, with another state than the stored one where it is given.

        Raises IssuerError: Misconfigured for settings or files that do not work, Unavailable for a
        factory that takes too long. CertctlError when the database or its seals are the problem.
        """
        kind = self.find_type(record.type)
        config = parse(kind, record)
        context = ConnectorContext(
            issuer_id=record.id,
            clock=self.clock,
            state=StoredState(self.database, record.id) if state is None else state,
            transports=self.transports,
            log=log.bind(issuer=record.id),
            status_url=self.status_url,
        )
        limit = asyncio.timeout(self.seconds)
        try:
            async with limit:
                return await kind.factory(config, context)
        except CertctlError:
            raise
        except IssuerError as error:
            raise without_secrets(error, config.secret_texts()) from None
        except Exception as error:  # noqa: BLE001 - code that is not ours may do anything
            if limit.expired():
                raise Unavailable(
                    f"the connector was not set up within {self.seconds:g} seconds"
                ) from None
            words = report_fault(record.id, error, config.secret_texts())
            raise Misconfigured(words) from None


def parse(kind: ConnectorType, record: IssuerRecord) -> ConnectorConfig:
    """The stored settings as the connector's model; raises Misconfigured."""
    try:
        return kind.config.model_validate({**record.config, **record.secrets})
    except ValidationError as error:
        raise Misconfigured(describe_faults(find_faults(kind.config, error))) from None


def without_secrets(error: IssuerError, secrets: tuple[str, ...]) -> IssuerError:
    """The same error, in case a connector has put a secret into its words."""
    error.detail = hide(error.detail, secrets)
    error.code = None if error.code is None else hide(error.code, secrets)
    error.args = (error.detail,)
    return error


def report_fault(issuer_id: str, error: Exception, secrets: tuple[str, ...]) -> str:
    """Log an error that a connector must not raise; returns the words that stand for it."""
    lines = "".join(traceback.format_exception(error))
    log.error("connector failed", issuer=issuer_id, traceback=hide(lines, secrets))
    return (
        f"the connector failed in a way that it should not ({type(error).__name__}): the server's "
        "log says where"
    )


@dataclass(slots=True)
class TrialState:
    """A connector's state while its settings are on trial: what it puts there is only kept here.

    So settings that are refused leave nothing behind. `settle` makes it the stored state, once what
    was kept is stored.
    """

    stored: StoredState
    kept: dict[str, bytes] = field(default_factory=dict)
    _is_settled: bool = False

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        return self.kept[key] if key in self.kept else await self.stored.get(key)

    async def put_if_absent(self, key: str, value: bytes) -> bytes:
        """Keep the value unless there is one, and return the one that is there now."""
        if self._is_settled:
            return await self.stored.put_if_absent(key, value)
        before = await self.get(key)
        return self.kept.setdefault(key, value) if before is None else before

    def settle(self) -> None:
        """From now on it is the stored state."""
        self._is_settled = True
        self.kept.clear()
