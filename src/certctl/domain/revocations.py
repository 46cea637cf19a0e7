"""Revocations: the reasons of RFC 5280 §5.3.1, and the states a revocation goes through."""

from __future__ import annotations

from enum import StrEnum


class RevocationReason(StrEnum):
    """Why a version is declared invalid. `removeFromCRL` is not a reason but the end of a hold."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"


class RevocationState(StrEnum):
    """How far the CA is with a revocation that is recorded here."""

    REQUESTED = "requested"  # recorded; the CA has not been told, or nobody knows whether it was
    TOLD = "told"  # the CA took it and works on it
    CONFIRMED = "confirmed"  # the CA says that it is done
    REFUSED = "refused"  # the CA's final no; it can be tried again


class RevocationAction(StrEnum):
    """What the CA is told: that a version is invalid, or that a hold has ended."""

    REVOKE = "revoke"
    RELEASE = "release"


S = RevocationState

TRANSITIONS: dict[RevocationState, frozenset[RevocationState]] = {
    S.REQUESTED: frozenset({S.REQUESTED, S.TOLD, S.CONFIRMED, S.REFUSED}),
    S.TOLD: frozenset({S.TOLD, S.CONFIRMED, S.REFUSED}),
    S.CONFIRMED: frozenset({S.REQUESTED}),  # a hold made final, or released
    S.REFUSED: frozenset({S.REQUESTED}),  # tried again
}

#: States in which the CA still has to be told, or asked.
OPEN_STATES = frozenset({S.REQUESTED, S.TOLD})


#: A CRL is made this long after a revocation, so that many in a row share one.
CRL_DELAY_MS = 1000


def may_follow(before: RevocationState, after: RevocationState) -> bool:
    """Whether a revocation may go from one state to another."""
    return after in TRANSITIONS[before]
