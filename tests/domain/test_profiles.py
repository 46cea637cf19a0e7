"""Holding a request against its profile and its issuer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.errors import InvalidInput
from certctl.domain.keys import KeyType
from certctl.domain.name_patterns import parse_patterns
from certctl.domain.names import NameKind, parse_names
from certctl.domain.profile_rules import (
    check_issuer_can_follow,
    check_rules,
    shortfalls,
)
from certctl.domain.profiles import (
    SECONDS_PER_DAY,
    Abilities,
    Profile,
    check_issuer,
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


# Patterns and issuers


def restricted(*patterns: str, **changes: Any) -> Profile:
    """The rules of a TLS server with patterns for its names."""
    return replace(SERVER, name_patterns=parse_patterns(patterns), **changes)


def test_names_are_held_against_the_patterns() -> None:
    profile = restricted("*.example.org", "10.0.0.0/8")
    check_names(profile, Abilities(), parse_names(["a.example.org", "10.1.2.3"]), "a.example.org")
    with pytest.raises(InvalidInput) as raised:
        check_names(profile, Abilities(), parse_names(["a.example.org", "example.org"]), None)
    assert code(raised) == ("name-not-allowed", "names.1")


@pytest.mark.parametrize("common_name", ["ceo@example.net", "Ann <ceo@example.net>", "x://y"])
def test_a_common_name_is_no_way_around_the_patterns(common_name: str) -> None:
    kinds = frozenset({NameKind.EMAIL})
    profile = restricted("@example.org", name_kinds=kinds)
    names = parse_names(["ann@example.org"])
    for allowed in (None, "Ann", "ann@Example.org"):
        check_names(profile, Abilities(), names, allowed)
    with pytest.raises(InvalidInput) as raised:
        check_names(profile, Abilities(), names, common_name)
    assert code(raised) == ("common-name-not-allowed", "csr")
    check_names(replace(profile, name_patterns=None), Abilities(), names, common_name)


@given(
    listed=st.none() | st.lists(st.sampled_from("abc"), min_size=1).map(tuple),
    issuer=st.sampled_from("abcd"),
)
def test_an_issuer_is_allowed_that_is_listed_or_where_there_is_no_list(
    listed: tuple[str, ...] | None, issuer: str
) -> None:
    profile = replace(SERVER, allowed_issuers=listed)
    if listed is None or issuer in listed:
        check_issuer(profile, issuer)
        return
    with pytest.raises(InvalidInput) as raised:
        check_issuer(profile, issuer)
    assert code(raised) == ("issuer-not-allowed", "issuer_id")


# Rules themselves


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (
            replace(SERVER, default_validity=SERVER.max_validity + 1),
            ("profile-default-over-maximum", "default_validity_seconds"),
        ),
        (
            restricted("*", "ip:*", "uri:*"),
            ("profile-pattern-of-other-kind", "name_patterns.2"),
        ),
        (restricted("*.example.org"), ("profile-kind-without-pattern", "name_patterns")),
    ],
)
def test_rules_that_contradict_each_other(profile: Profile, expected: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        check_rules(profile)
    assert code(raised) == expected


def test_rules_that_make_sense() -> None:
    for profile in (*PRESETS, restricted("*", "10.0.0.0/8")):
        check_rules(profile)


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [
        (Abilities(usages=frozenset({Usage.CLIENT_AUTH})), "usage-not-supported"),
        (Abilities(key_types=frozenset({KeyType.ED448})), "key-type-not-supported"),
        (Abilities(name_kinds=frozenset({NameKind.URI})), "name-kind-not-supported"),
    ],
)
def test_an_issuer_that_could_never_issue(abilities: Abilities, expected: str) -> None:
    profile = replace(SERVER, key_types=frozenset({KeyType.RSA, KeyType.P256}))
    with pytest.raises(InvalidInput) as raised:
        check_issuer_can_follow(profile, abilities, field="allowed_issuers.3")
    assert code(raised) == (expected, "allowed_issuers.3")
    assert shortfalls(profile, abilities) == [raised.value.detail]


def test_what_an_issuer_cannot_give_of_all_that_is_allowed() -> None:
    abilities = Abilities(
        key_types=frozenset({KeyType.RSA, KeyType.P256}),
        name_kinds=frozenset({NameKind.DNS}),
        max_validity=90 * SECONDS_PER_DAY,
    )
    profile = replace(SERVER, key_types=frozenset({KeyType.RSA, KeyType.ED25519}))
    check_issuer_can_follow(profile, abilities, field="x")
    assert shortfalls(profile, abilities) == [
        "it does not certify ed25519 keys",
        "it cannot certify names of kind ip",
        "it gives at most 90 days",
    ]
    assert shortfalls(SERVER, Abilities()) == []
