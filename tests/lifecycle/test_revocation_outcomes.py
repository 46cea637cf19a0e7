"""What a failed revocation means, whatever failed and whenever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from certctl.connectors import errors
from certctl.domain.polling import PollSchedule
from certctl.domain.revocations import OPEN_STATES, RevocationState, may_follow
from certctl.lifecycle.outcomes import after_revocation_error

KINDS = (
    errors.Misconfigured,
    errors.Unauthorized,
    errors.Refused,
    errors.QuotaExhausted,
    errors.RateLimited,
    errors.Unavailable,
    errors.NoAnswer,
    errors.BadAnswer,
)
retry_afters = st.none() | st.floats(min_value=0, max_value=1e9)
failures = st.builds(
    lambda kind, wait: kind("no", retry_after=wait), st.sampled_from(KINDS), retry_afters
)


@given(
    failures,
    st.sampled_from(sorted(OPEN_STATES)),
    st.integers(min_value=0, max_value=100_000),
    st.floats(min_value=0, max_value=1e8),
    st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_only_a_final_no_ends_it_and_nothing_is_asked_without_a_pause(
    error: errors.IssuerError, state: RevocationState, attempt: int, age: float, jitter: float
) -> None:
    decision = after_revocation_error(
        error, state=state, schedule=PollSchedule(), attempt=attempt, age=age, jitter=jitter
    )
    assert may_follow(state, decision.state)
    if isinstance(error, errors.Refused):
        assert (decision.state, decision.wait) == (RevocationState.REFUSED, None)
        return
    assert decision.state is state  # what the CA took stays taken; what it did not, is told again
    assert decision.wait is not None
    assert 4 <= decision.wait <= 86_400
