"""What waits for a person: issuers whose CA does not work, orders that are uncertain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.domain.clock import from_ms
from certctl.domain.orders import OrderState
from certctl.operation.doctor.findings import Finding, warning, well
from certctl.storage.conditions import ConditionRecord, ConditionState, list_conditions
from certctl.storage.gauges import count_open_orders
from certctl.storage.inspection import failed_checks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certctl.storage.inspection import Inspection
    from certctl.storage.issuer_checks import CheckRecord

ISSUERS, ORDERS = "issuers", "orders"


def check_issuers(inspection: Inspection) -> list[Finding]:
    """Issuers that are left alone, and those whose last test failed. Raises Unavailable."""
    return judge_issuers(inspection.look(list_conditions).values(), inspection.look(failed_checks))


def check_orders(inspection: Inspection) -> list[Finding]:
    """Orders in `uncertain`. Raises Unavailable."""
    return judge_orders(inspection.look(count_open_orders).get(OrderState.UNCERTAIN.value, 0))


def judge_issuers(
    left_alone: Iterable[ConditionRecord], failed: Iterable[CheckRecord]
) -> list[Finding]:
    """What conditions and failed tests mean."""
    found = [
        warning(
            ISSUERS,
            f"{each.issuer_id} is left alone since {from_ms(each.since):%Y-%m-%d %H:%M} UTC: "
            f"{each.problem}",
            "raise the account's quota at the CA; it is tried again each hour"
            if each.state is ConditionState.QUOTA
            else "correct its credentials: certctl issuers update; then certctl issuers test "
            f"{each.issuer_id}",
        )
        for each in left_alone
    ]
    found += [
        warning(
            ISSUERS,
            f"the test of {each.issuer_id} failed, {from_ms(each.checked_at):%Y-%m-%d %H:%M} UTC"
            + (f", at {each.host}" if each.host else "")
            + f": {each.detail}",
            f"correct it, and test again: certctl issuers test {each.issuer_id}",
        )
        for each in failed
    ]
    return found or [well(ISSUERS, "no test has failed, and none is left alone")]


def judge_orders(uncertain: int) -> list[Finding]:
    """What so many orders in `uncertain` mean."""
    if uncertain == 0:
        return [well(ORDERS, "none is uncertain")]
    words = "1 order is" if uncertain == 1 else f"{uncertain} orders are"
    return [
        warning(
            ORDERS,
            f"{words} uncertain: only a look at the CA tells whether it has them",
            "list them: certctl orders --state uncertain; then certctl orders resolve",
        )
    ]
