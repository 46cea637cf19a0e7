"""The dialect `auto`: whichever the server speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from certctl.connectors.errors import Refused
from certctl.connectors.globalsign.atlas import AtlasConnector
from certctl.connectors.globalsign.session import NoLogin

if TYPE_CHECKING:
    from certctl.connectors.contract import (
        CheckResult,
        IssuanceRequest,
        IssuedCertificate,
        Pending,
        Reference,
        Replaced,
        RevocationRequest,
        Revoked,
    )
    from certctl.connectors.globalsign.headers import HeadersConnector
    from certctl.domain.orders import Recovery
    from certctl.domain.profiles import Abilities

T = TypeVar("T")


class AutoConnector:
    """Asks for a login; a server without one speaks `headers`.

    Which it is, is settled by the first call that succeeds in a dialect. Until then a lost answer
    is looked for as in `atlas`, and is a person's affair where that turns out not to be spoken.
    """

    def __init__(self, atlas: AtlasConnector, headers: HeadersConnector) -> None:
        self._atlas = atlas
        self._headers = headers
        self._settled: AtlasConnector | HeadersConnector | None = None
        self.poll_max_wait = atlas.poll_max_wait
        self.listing_delay = atlas.listing_delay
        self.host = atlas.host

    @property
    def recovery(self) -> Recovery:
        """As in the dialect that is spoken."""
        return (self._settled or self._atlas).recovery

    @property
    def abilities(self) -> Abilities:
        """As in the dialect that is spoken."""
        return (self._settled or self._atlas).abilities

    async def issue(self, request: IssuanceRequest) -> IssuedCertificate | Pending:
        """Place an order."""
        spoken = await self._spoken()
        return self._settle(spoken, await spoken.issue(request))

    async def renew(
        self, request: IssuanceRequest, replaced: Replaced
    ) -> IssuedCertificate | Pending:
        """Ask for the next version, in the server's own way where it has one."""
        spoken = await self._spoken()
        if isinstance(spoken, AtlasConnector):
            return await spoken.renew(request, replaced)
        return self._settle(spoken, await spoken.issue(request))

    async def poll(
        self, request: IssuanceRequest, reference: Reference
    ) -> IssuedCertificate | Pending:
        """Ask whether the certificate is there."""
        spoken = await self._spoken()
        return self._settle(spoken, await spoken.poll(request, reference))

    async def lookup(self, request: IssuanceRequest) -> IssuedCertificate | Pending | None:
        """Look for an order whose answer was lost."""
        spoken = await self._spoken()
        if not isinstance(spoken, AtlasConnector):
            raise Refused("this server speaks the dialect headers, in which nothing lists orders")
        return await spoken.lookup(request)

    async def revoke(self, request: RevocationRequest) -> Revoked:
        """Revoke a certificate."""
        spoken = await self._spoken()
        return self._settle(spoken, await spoken.revoke(request))

    async def check(self) -> CheckResult:
        """Look at the account, and say which dialect is spoken."""
        spoken = await self._spoken()
        return self._settle(spoken, await spoken.check())

    async def _spoken(self) -> AtlasConnector | HeadersConnector:
        if self._settled is not None:
            return self._settled
        try:
            await self._atlas.log_in()
        except NoLogin:
            return self._headers
        self._settled = self._atlas
        return self._atlas

    def _settle(self, spoken: AtlasConnector | HeadersConnector, answer: T) -> T:
        self._settled = spoken
        return answer
