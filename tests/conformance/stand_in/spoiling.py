"""What each mischief does to an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in.messages import Answer, No

if TYPE_CHECKING:
    from tests.conformance.stand_in.messages import Request
    from tests.conformance.stand_in.script import Misbehaviour

#: The words in which the stand-in refuses.
REFUSAL = "example.org is not on the list of this account"
_INSTEAD: dict[Mischief, tuple[int, str, str]] = {
    Mischief.RATE_LIMITED: (429, "too_many", "not so fast"),
    Mischief.RATE_LIMITED_UNTIL: (429, "too_many", "not so fast"),
    Mischief.UNAUTHORIZED: (401, "bad_credentials", "the account is locked"),
    Mischief.FORBIDDEN: (403, "forbidden", "the account may not do that"),
    Mischief.QUOTA: (402, "no_credit", "the account has no credit left"),
    Mischief.ERROR: (500, "internal", "the database of the CA is down"),
    Mischief.RESET_BEFORE: (500, "internal", "the connection is reset"),
    Mischief.UNKNOWN: (404, "unknown", "nothing is known about that"),
    Mischief.REFUSED: (422, "policy", REFUSAL),
}
#: Refusals of what is pending are part of an answer, not an error.
_REFUSES_LATER = frozenset({Operation.POLL, Operation.REVOCATION_POLL})


def before(mischief: Mischief | None, operation: Operation, request: Request) -> None:
    """Answer at once, with No, where nothing is to happen."""
    if mischief is Mischief.ECHO:
        told = [request.headers.get(name, "") for name in ("x-api-key", "x-api-secret")]
        raise No(422, f"policy {told[1]}", f"{REFUSAL}: {told[0]} with {told[1]}")
    if mischief is Mischief.REFUSED and operation in _REFUSES_LATER:
        return
    if mischief in _INSTEAD:
        raise No(*_INSTEAD[mischief])


def after(misbehaviour: Misbehaviour, answer: Answer) -> Answer:
    """Spoil the answer to what has happened."""
    match misbehaviour.mischief:
        case Mischief.SLOW:
            answer = replace(answer, delay=misbehaviour.seconds)
        case Mischief.RATE_LIMITED_UNTIL:
            answer = replace(answer, headers={"retry-after": f"{misbehaviour.seconds:.0f}"})
        case Mischief.RESET_BEFORE | Mischief.RESET_AFTER:
            answer = replace(answer, reset=True)
        case Mischief.ERROR_BOOKED:
            answer = No(*_INSTEAD[Mischief.ERROR]).answer
        case Mischief.GARBAGE:
            answer = Answer(200, b"<html><body>Welcome to the portal \xff\xfe</body></html>")
        case Mischief.TRUNCATED:
            answer = replace(answer, body=answer.body[: len(answer.body) // 2])
        case Mischief.CUT_OFF:
            answer = replace(answer, cut_off=True)
    return answer
