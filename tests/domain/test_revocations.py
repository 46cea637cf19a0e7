"""The states of a revocation."""

from __future__ import annotations

from cryptography.x509 import ReasonFlags
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.revocations import (
    OPEN_STATES,
    TRANSITIONS,
    RevocationReason,
    RevocationState,
    may_follow,
)

states = st.sampled_from(RevocationState)


def test_reasons_are_those_of_rfc_5280_without_the_end_of_a_hold() -> None:
    assert {reason.value for reason in RevocationReason} == {flag.value for flag in ReasonFlags} - {
        ReasonFlags.remove_from_crl.value
    }


@given(states, states)
def test_the_table_is_the_rule(before: RevocationState, after: RevocationState) -> None:
    assert may_follow(before, after) == (after in TRANSITIONS[before])


def test_an_open_revocation_reaches_an_end_and_no_end_is_an_accident() -> None:
    assert set(OPEN_STATES) == {RevocationState.REQUESTED, RevocationState.TOLD}
    for state in OPEN_STATES:
        assert {RevocationState.CONFIRMED, RevocationState.REFUSED} <= TRANSITIONS[state]
    for state in set(RevocationState) - OPEN_STATES:
        # Only somebody who asks anew opens it again.
        assert TRANSITIONS[state] == {RevocationState.REQUESTED}


def test_what_the_ca_works_on_is_never_forgotten() -> None:
    assert RevocationState.REQUESTED not in TRANSITIONS[RevocationState.TOLD]
