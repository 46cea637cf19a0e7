"""When a certificate is due for renewal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.renewal import renewal_time

DAY = 86_400_000
ids = st.text(min_size=1, max_size=40)
begins = st.integers(min_value=0, max_value=4_000_000_000_000)
lifetimes = st.integers(min_value=1000, max_value=3650 * DAY)


@given(ids, begins, lifetimes)
def test_it_lies_within_the_lifetime_and_leaves_the_share_that_is_promised(
    certificate_id: str, begin: int, lifetime: int
) -> None:
    moment = renewal_time(certificate_id, begin, begin + lifetime)
    left = begin + lifetime - moment
    share = lifetime / (2 if lifetime < 10 * DAY else 3)
    assert begin < moment < begin + lifetime
    assert share - 1 <= left <= share * 1.1 + 1


@given(ids, begins, lifetimes)
def test_the_same_certificate_always_has_the_same_moment(
    certificate_id: str, begin: int, lifetime: int
) -> None:
    first = renewal_time(certificate_id, begin, begin + lifetime)
    assert renewal_time(certificate_id, begin, begin + lifetime) == first


def test_certificates_made_together_are_not_renewed_together() -> None:
    moments = {renewal_time(f"cert-{number}", 0, 90 * DAY) for number in range(1000)}
    assert len(moments) > 990
    spread = max(moments) - min(moments)
    assert 2.9 * DAY < spread < 3 * DAY  # a tenth of the thirty days that are left


def test_half_is_left_of_a_short_lifetime() -> None:
    assert 2.7 * DAY < renewal_time("cert-a", 0, 6 * DAY) <= 3 * DAY
    assert 56 * DAY < renewal_time("cert-a", 0, 90 * DAY) <= 60 * DAY
