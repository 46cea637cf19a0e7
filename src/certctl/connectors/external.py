"""CAs whose certificates were imported: certctl knows that they are, and nothing more.

Issuers of this type come with the first import of a certificate of theirs. Nobody makes one by
hand, so it is not among the types that there are settings for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn

from certctl.connectors.config import ConnectorConfig
from certctl.connectors.contract import CheckResult, ConnectorType
from certctl.connectors.errors import Refused
from certctl.domain.imports import EXTERNAL_TYPE
from certctl.domain.orders import Recovery
from certctl.domain.profiles import Abilities

if TYPE_CHECKING:
    from certctl.connectors.contract import ConnectorContext, IssuanceRequest, RevocationRequest


class ExternalConfig(ConnectorConfig):
    """There is nothing to set."""

    env_prefix: ClassVar[str] = "CERTCTL_EXTERNAL_"


class ExternalCA:
    """A CA that is not asked for anything."""

    recovery = Recovery.ASK
    abilities = Abilities(
        key_types=frozenset(), usages=frozenset(), name_kinds=frozenset(), must_staple=False
    )

    async def issue(self, request: IssuanceRequest) -> NoReturn:
        """Refuse: what is asked of this CA is asked elsewhere."""
        raise Refused("certctl does not order certificates from this CA: it keeps imported ones")

    async def revoke(self, request: RevocationRequest) -> NoReturn:
        """Refuse, likewise."""
        raise Refused("certctl cannot revoke at this CA: whoever runs it has to")

    async def check(self) -> CheckResult:
        """Say that there is nobody to call."""
        return CheckResult(None, "its certificates were imported: there is nothing to call")


async def _build(config: ExternalConfig, context: ConnectorContext) -> ExternalCA:
    del config, context  # it needs neither
    return ExternalCA()


EXTERNAL = ConnectorType(
    name=EXTERNAL_TYPE,
    aliases=(),
    title="CA of imported certificates",
    issuer_id="iss-external",
    config=ExternalConfig,
    factory=_build,
)
