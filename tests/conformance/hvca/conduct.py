"""How a stand-in of HVCA behaves where the interface leaves it open; it may be told so live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from tests.conformance.hvca.policy import permissive_policy

if TYPE_CHECKING:
    from tests.conformance.hvca.policy import Rule

#: How long an order takes in seconds, for all or by the order's body.
IssueSeconds = float | Callable[[Mapping[str, Any]], float]


class Conduct:
    """Settings that tests choose, with what they are by default."""

    def __init__(self) -> None:
        #: The validation policy of every account.
        self.policy: Rule = permissive_policy()
        #: How many certificates may still be ordered; None for any number.
        self.quota: int | None = None
        #: How long a login lasts.
        self.token_seconds: float = 600.0
        #: How long an order takes. In the other dialect 0 is "at once, in the same answer".
        self.issue_seconds: IssueSeconds = 0.0
        #: How long a certificate that was just ordered is not yet known.
        self.not_found_seconds: float = 0.0
        #: How long a listing is behind, and by which time it lists what was issued.
        self.listing_lag: float = 5.0
        self.listed_by: Literal["issued", "not_before"] = "issued"
        #: The most entries on one page.
        self.page_cap: int = 100
        #: Whether Location has scheme and host.
        self.location: Literal["absolute", "relative"] = "absolute"
        #: Whether revoking with a reason is known.
        self.patch_known: bool = True
        #: The other dialect: what a login is answered with, a revocation, the same one again, and
        #: how an order ends that is refused later.
        self.login_status: int = 404
        self.revoke_status: int = 200
        self.revoke_again: int = 409
        self.refused_status: Literal["rejected", "denied", "failed"] = "rejected"

    def seconds_for(self, body: Mapping[str, Any]) -> float:
        """How long an order takes."""
        if callable(self.issue_seconds):
            return float(self.issue_seconds(body))
        return float(self.issue_seconds)
