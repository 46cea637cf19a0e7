"""Calls about revocations, and about many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.client.calls import Calls, at
from certctl.client.certificates import OPEN_REVOCATIONS
from certctl.client.connection import parse
from certctl.schemas.certificates import CertificateSummary
from certctl.schemas.common import CountedPage, Page
from certctl.schemas.revocations import (
    BulkRevocationCreate,
    BulkRevocationPreviewRequest,
    BulkRevocationView,
    RevocationLine,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from certctl.schemas.revocations import ReasonName, RevocationFilter, RevocationStatus

_BULK = "/api/v1/bulk-revocations"


class RevocationCalls(Calls):
    """`/api/v1/revocations` and `/api/v1/bulk-revocations`."""

    def revocations(
        self,
        *,
        state: RevocationStatus | None = None,
        bulk_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[RevocationLine]:
        """One page of revocations, newest first."""
        answer = self._get(
            "/api/v1/revocations", state=state, bulk_id=bulk_id, limit=limit, cursor=cursor
        )
        return parse(Page[RevocationLine], answer)

    def preview_bulk_revocation(
        self, which: RevocationFilter, *, limit: int | None = None, cursor: str | None = None
    ) -> CountedPage[CertificateSummary]:
        """One page of the certificates that a filter finds now, and how many in all."""
        answer = self._connection.send(
            "POST",
            f"{_BULK}/preview",
            params={"limit": limit, "cursor": cursor},
            body=BulkRevocationPreviewRequest(filter=which),
        )
        return parse(CountedPage[CertificateSummary], answer)

    def start_bulk_revocation(
        self, which: RevocationFilter, reason: ReasonName = "unspecified", *, expected: int
    ) -> BulkRevocationView:
        """Revoke every certificate that a filter finds, if they are as many as expected.

        Two would be two, so nothing is sent again that may have been carried out: after an error
        that is `uncertain`, look at `bulk_revocations()` before you try again.
        """
        body = BulkRevocationCreate(filter=which, reason=reason, expected=expected)
        return parse(BulkRevocationView, self._post(_BULK, body, repeatable=False))

    def bulk_revocations(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[BulkRevocationView]:
        """One page of bulk revocations, newest first."""
        return parse(Page[BulkRevocationView], self._get(_BULK, limit=limit, cursor=cursor))

    def bulk_revocation(self, bulk_id: str) -> BulkRevocationView:
        """One bulk revocation, and how far it is."""
        return parse(BulkRevocationView, self._get(at("bulk-revocations", bulk_id)))

    def cancel_bulk_revocation(self, bulk_id: str) -> BulkRevocationView:
        """Stop one where it is; what it has revoked stays revoked. Repeating is harmless."""
        return parse(BulkRevocationView, self._post(at("bulk-revocations", bulk_id, "cancel")))

    def wait_for_bulk_revocation(
        self,
        bulk_id: str,
        patience: float,
        *,
        on_poll: Callable[[BulkRevocationView], None] | None = None,
    ) -> BulkRevocationView:
        """The bulk revocation once it has ended and each CA has answered.

        It is followed for as long as it gets on: only when nothing changed for `patience` seconds
        it is returned as it stands. Otherwise the waiting is like that for an order.
        """

        def is_settled(bulk: BulkRevocationView) -> bool:
            return bulk.state != "running" and not any(
                bulk.revocations.get(state) for state in OPEN_REVOCATIONS
            )

        def progress(bulk: BulkRevocationView) -> object:
            return bulk.state, bulk.done, bulk.revocations

        return self._watch(
            lambda: self.bulk_revocation(bulk_id),
            is_settled,
            patience,
            on_poll=on_poll,
            progress=progress,
        )
