"""What operators want to hear of without looking: events, on their one way out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from certctl.domain.clock import from_ms

#: Of an event's detail, in characters: a CA's words may be long, and a receiver's limit low.
LONGEST_DETAIL = 2000


class EventKind(StrEnum):
    """What happened."""

    ATTEMPT_FAILED = "attempt_failed"
    CIRCUIT_OPEN = "circuit_open"
    CIRCUIT_CLOSED = "circuit_closed"
    QUOTA_EXHAUSTED = "quota_exhausted"
    ORDER_UNCERTAIN = "order_uncertain"
    ORDER_EXPIRED = "order_expired"
    ORDER_DOUBLED = "order_doubled"
    REVOCATION_REFUSED = "revocation_refused"


class Severity(StrEnum):
    """How loud an event is, in the words of the log."""

    INFO = "info"
    WARNING = "warning"  # certctl goes on by itself
    ERROR = "error"  # a person has to do something


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a kind of event is called outside, when it comes, and what to do about it."""

    type: str
    severity: Severity
    when: str
    hint: str


MEANINGS: dict[EventKind, Meaning] = {
    EventKind.ATTEMPT_FAILED: Meaning(
        "certctl.attempt.failed",
        Severity.WARNING,
        "a CA refused an order; an order that was sent got nothing usable back; or nothing usable "
        "came back five times in a row, and again after every five more",
        "the order or revocation is tried again by itself; test the issuer with `certctl issuers "
        "test`, and look at the CA's status page",
    ),
    EventKind.CIRCUIT_OPEN: Meaning(
        "certctl.issuer.circuit_open",
        Severity.ERROR,
        "the CA does not accept the issuer's credentials, or its settings or files do not work; "
        "its orders wait",
        "correct the credentials (`certctl issuers update`, or the files that they are in); the "
        "orders that wait go on by themselves",
    ),
    EventKind.CIRCUIT_CLOSED: Meaning(
        "certctl.issuer.circuit_closed",
        Severity.INFO,
        "the issuer works again, or its settings were changed; its orders go on",
        "nothing",
    ),
    EventKind.QUOTA_EXHAUSTED: Meaning(
        "certctl.issuer.quota_exhausted",
        Severity.WARNING,
        "the account at the CA has nothing left to issue; its orders are tried again each hour",
        "add to the account at the CA, or have certificates issued by another issuer",
    ),
    EventKind.ORDER_UNCERTAIN: Meaning(
        "certctl.order.uncertain",
        Severity.ERROR,
        "an order was sent, and nobody knows whether the CA has it",
        "look for the order at the CA, then say what became of it: `certctl orders resolve`",
    ),
    EventKind.ORDER_EXPIRED: Meaning(
        "certctl.order.expired",
        Severity.ERROR,
        "the CA took an order and did not finish it within its greatest age",
        "ask the CA what became of the order, then order the certificate again",
    ),
    EventKind.ORDER_DOUBLED: Meaning(
        "certctl.order.doubled",
        Severity.ERROR,
        "a CA issued, or may have, for an order that had ended, or twice for the same order",
        "see `certctl orders show`, and look at the CA; revoke the certificate that is not needed "
        "if certctl could not do it",
    ),
    EventKind.REVOCATION_REFUSED: Meaning(
        "certctl.revocation.refused",
        Severity.ERROR,
        "a CA said no to a revocation, or to taking back a hold",
        "see why with `certctl certs show`; revoke the certificate at the CA itself",
    ),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `at_ms` in milliseconds, `detail` in words (the CA's own where there are any)."""

    kind: EventKind
    at_ms: int
    issuer_id: str
    detail: str
    order_id: str | None = None
    certificate_id: str | None = None
    revocation_id: str | None = None

    @property
    def meaning(self) -> Meaning:
        """What all events of its kind have in common."""
        return MEANINGS[self.kind]

    def ids(self) -> dict[str, str]:
        """What it is about: the ids that it has, by the names that the API gives them."""
        found = {
            "issuer_id": self.issuer_id,
            "order_id": self.order_id,
            "certificate_id": self.certificate_id,
            "revocation_id": self.revocation_id,
        }
        return {name: value for name, value in found.items() if value is not None}

    def body(self) -> str:
        """The event as JSON, as webhooks get it (Standard Webhooks: type, timestamp, data).

        Plain ASCII, so that it is the same bytes wherever it is kept.
        """
        moment = from_ms(self.at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = self.ids() | {
            "severity": self.meaning.severity.value,
            "detail": self.detail[:LONGEST_DETAIL],
            "hint": self.meaning.hint,
        }
        document = {"type": self.meaning.type, "timestamp": moment, "data": data}
        return json.dumps(document, separators=(",", ":"))
