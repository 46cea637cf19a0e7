"""What each mischief is in Atlas's words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.conformance.hvca.messages import Problem, with_header
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in.spoiling import REFUSAL, after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.stand_in.messages import Answer
    from tests.conformance.stand_in.script import Misbehaviour

_INSTEAD: dict[Mischief, tuple[int, str]] = {
    Mischief.RATE_LIMITED: (429, "Rate Limit Reached"),
    Mischief.RATE_LIMITED_UNTIL: (429, "Rate Limit Reached"),
    Mischief.UNAUTHORIZED: (401, "The account is locked"),
    Mischief.FORBIDDEN: (403, "The account may not do that"),
    Mischief.QUOTA: (402, "Quota Reached"),
    Mischief.ERROR: (500, "Internal error"),
    Mischief.RESET_BEFORE: (500, "Internal error"),
    Mischief.UNKNOWN: (404, "Not Found"),
}


def locked() -> Problem:
    """The answer to who is locked out by an instruction."""
    return Problem(*_INSTEAD[Mischief.UNAUTHORIZED])


def before(mischief: Mischief | None, operation: Operation, known: Sequence[str]) -> None:
    """Raise Problem where nothing is to happen; `known` is what ECHO repeats."""
    if mischief is Mischief.ECHO:
        told = " with ".join(known)
        raise Problem(422, f"The request does not comply: {told}", {"policy": f"{REFUSAL}: {told}"})
    if mischief is Mischief.REFUSED and operation is not Operation.POLL:
        words = "The request does not comply with the policy"
        raise Problem(422, words, {"subject_dn.common_name": REFUSAL})
    if mischief in _INSTEAD:
        raise Problem(*_INSTEAD[mischief])


def spoil(misbehaviour: Misbehaviour, operation: Operation | None, answer: Answer) -> Answer:
    """Spoil the answer to what has happened."""
    match misbehaviour.mischief:
        case Mischief.ERROR_BOOKED:
            return Problem(*_INSTEAD[Mischief.ERROR]).answer
        case Mischief.RATE_LIMITED_UNTIL:
            return with_header(answer, "retry-after", f"{misbehaviour.seconds:.0f}")
        case Mischief.TRUNCATED if operation is Operation.SUBMIT:
            # There is no body that could lack its half.
            headers = {name: value for name, value in answer.headers.items() if name != "location"}
            return replace(answer, headers=headers)
        case _:
            return after(misbehaviour, answer)
