"""Holding a request against its profile and its issuer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.errors import InvalidInput
from certctl.domain.keys import KeyType
from certctl.domain.names import NameKind, parse_names
from certctl.domain.profiles import (
    SECONDS_PER_DAY,
    Abilities,
    check_key,
    check_names,
    check_profile_fits,
    validity_for,
)
from certctl.domain.usages import Usage
from certctl.lifecycle.presets import PRESETS

SERVER = next(profile for profile in PRESETS if profile.id == "prof-tls-server")
NOW = 1_780_000_000_000


def code(raised: pytest.ExceptionInfo[InvalidInput]) -> tuple[str, str | None]:
    return raised.value.code, raised.value.field


def test_a_usage_that_the_issuer_cannot_give() -> None:
    abilities = Abilities(usages=frozenset({Usage.CLIENT_AUTH}))
    with pytest.raises(InvalidInput) as raised:
        check_profile_fits(SERVER, abilities)
    assert code(raised) == ("usage-not-supported", "profile_id")


def test_must_staple_that_the_issuer_cannot_give() -> None:
    with pytest.raises(InvalidInput) as raised:
        check_profile_fits(replace(SERVER, must_staple=True), Abilities(must_staple=False))
    assert code(raised) == ("must-staple-not-supported", "profile_id")


def test_a_kind_of_name_that_the_issuer_cannot_certify() -> None:
    abilities = Abilities(name_kinds=frozenset({NameKind.DNS}))
    with pytest.raises(InvalidInput) as raised:
        check_names(SERVER, abilities, parse_names(["a.test", "10.0.0.1"]), None)
    assert code(raised) == ("name-kind-not-supported", "names.1")


def test_a_key_that_the_issuer_does_not_certify() -> None:
    abilities = Abilities(key_types=frozenset({KeyType.RSA}))
    with pytest.raises(InvalidInput) as raised:
        check_key(SERVER, abilities, KeyType.P256, 256)
    assert code(raised) == ("key-type-not-supported", "csr")


def test_a_key_that_is_too_small_for_the_profile() -> None:
    with pytest.raises(InvalidInput) as raised:
        check_key(replace(SERVER, rsa_min_bits=3072), Abilities(), KeyType.RSA, 2048)
    assert code(raised) == ("key-size-not-allowed", "csr")


@given(
    days=st.none() | st.integers(1, 36_500),
    issuer_days=st.none() | st.integers(1, 36_500),
    ca_days=st.none() | st.integers(1, 36_500),
)
def test_no_lifetime_is_over_any_limit(
    days: int | None, issuer_days: int | None, ca_days: int | None
) -> None:
    abilities = Abilities(
        max_validity=None if issuer_days is None else issuer_days * SECONDS_PER_DAY,
        not_after_ms=None if ca_days is None else NOW + ca_days * SECONDS_PER_DAY * 1000,
    )
    limit = min(
        SERVER.max_validity // SECONDS_PER_DAY,
        *(each for each in (issuer_days, ca_days) if each is not None),
        10**9,
    )
    if days is not None and days > limit:
        with pytest.raises(InvalidInput) as raised:
            validity_for(SERVER, abilities, days, NOW)
        assert raised.value.field == "validity_days"
    else:
        wanted = SERVER.default_validity // SECONDS_PER_DAY if days is None else days
        given_seconds = validity_for(SERVER, abilities, days, NOW)
        assert given_seconds == min(wanted, limit) * SECONDS_PER_DAY


def test_the_presets_allow_their_own_default() -> None:
    assert len({profile.id for profile in PRESETS}) == len(PRESETS)
    for profile in PRESETS:
        assert 0 < profile.default_validity <= profile.max_validity
