"""Orders as the account's validation policy wants them; what it refuses is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.connectors.errors import BadAnswer, Refused
from certctl.connectors.globalsign.policy import (
    Presence,
    Proof,
    ValidationPolicy,
    Values,
    check_key,
    clamp_validity,
    parse_policy,
    shape_names,
    shape_subject,
    shape_usages,
    shape_values,
)
from certctl.domain.names import NameKind

# GlobalSign's own sample, from github.com/globalsign/hvclient (MIT licence).
SAMPLE: dict[str, Any] = json.loads(Path(__file__).with_name("policy_sample.json").read_text())
SERVER_AUTH, CODE_SIGNING, TIME_STAMPING = (f"1.3.6.1.5.5.7.3.{n}" for n in (1, 3, 8))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


def sample(**changes: Any) -> ValidationPolicy:
    return parse_policy(SAMPLE | changes)


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(Refused) as raised:
        call(*arguments)
    assert raised.value.code == "validation-policy"
    return raised.value.detail


def test_the_vendors_sample_is_read_whole() -> None:
    policy = sample()
    assert (policy.shortest, policy.longest, policy.early_skew) == (60, 7_776_000, 200)
    assert policy.subject["common_name"].presence is Presence.REQUIRED
    assert policy.subject["jurisdiction_of_incorporation_country_name"].presence is (
        Presence.FORBIDDEN
    )
    assert policy.units == Values(False, (r"^[A-Za-z][A-Za-z \-]+$",), 1, 3)
    assert policy.san[NameKind.IP] == Values(False, (), 0, 0)
    assert policy.usages == Values(False, ("^1.3.6.1.5.5.7.3.[1-3]$",), 1, 3)
    assert policy.key.algorithm == "RSA"
    assert policy.key.lengths == {2048, 4096}
    assert policy.key.proof is Proof.SIGNATURE


@pytest.mark.parametrize(
    ("changes", "proof"),
    [
        ({"public_key_signature": "FORBIDDEN"}, Proof.KEY),
        ({"public_key_signature": "OPTIONAL"}, Proof.KEY),
        ({"public_key_signature": "REQUIRED"}, Proof.SIGNATURE),
        (
            {"public_key": {"key_format": "PKCS10"}, "public_key_signature": "FORBIDDEN"},
            Proof.REQUEST,
        ),
        (
            {"public_key": {"key_format": "PKCS8"}, "public_key_signature": "REQUIRED"},
            Proof.SIGNATURE,
        ),
    ],
)
def test_the_account_says_how_possession_is_shown(changes: dict[str, Any], proof: Proof) -> None:
    assert sample(**changes).key.proof is proof


@pytest.mark.parametrize("body", [None, [], "policy", {}, {"validity": 7}])
def test_what_is_no_policy_is_a_bad_answer(body: Any) -> None:
    with pytest.raises(BadAnswer):
        parse_policy(body)


@given(parts=st.dictionaries(st.sampled_from(sorted(SAMPLE)), JSON))
def test_a_policy_of_any_shape_is_read_or_refused_as_a_bad_answer(parts: dict[str, Any]) -> None:
    try:
        policy = sample(**parts)
    except BadAnswer:
        return
    with_names = {"dns_names": ["www.example.org"]}
    for call, argument in ((shape_subject, {"common_name": "x"}), (shape_names, with_names)):
        try:
            call(policy, argument)
        except Refused:
            continue


@given(body=JSON)
def test_any_json_is_read_or_refused_as_a_bad_answer(body: Any) -> None:
    try:
        parse_policy(body)
    except BadAnswer:
        return


SUBJECT = {"common_name": "Jane Doe", "email": "jane@example.org", "organizational_unit": ["Ops"]}


def test_a_subject_keeps_what_is_allowed_and_leaves_out_what_is_fixed_or_forbidden() -> None:
    offered = SUBJECT | {
        "organization": "Another Company",
        "country": "FR",
        "jurisdiction_of_incorporation_country_name": "FR",
        "locality": "Kent",
        "pseudonym": "the policy does not speak of it",
    }
    assert shape_subject(sample(), offered) == SUBJECT | {"locality": "Kent"}


def test_a_subject_without_what_is_required_is_refused() -> None:
    words = refusal(shape_subject, sample(), SUBJECT | {"email": None})
    assert "email" in words


def test_a_subject_of_another_form_is_refused_without_repeating_it() -> None:
    words = refusal(shape_subject, sample(), SUBJECT | {"common_name": "9 lives"})
    assert "common_name" in words
    assert "9 lives" not in words


def test_units_that_do_not_fit_are_left_out_and_too_few_are_refused() -> None:
    shaped = shape_subject(sample(), SUBJECT | {"organizational_unit": ["42", "Ops"]})
    assert shaped["organizational_unit"] == ["Ops"]
    assert "organizational_unit" in refusal(
        shape_subject, sample(), SUBJECT | {"organizational_unit": ["42"]}
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"dns_names": ["a.hvca.demo.globalsign.com", "b.hvca.demo.globalsign.com"]}, "allows 1"),
        ({"dns_names": ["www.example.org"]}, "of kind dns"),
        ({"ip_addresses": ["192.0.2.1"]}, "allows 0"),
    ],
)
def test_names_that_are_not_allowed_are_refused(names: Any, words: str) -> None:
    assert words in refusal(shape_names, sample(), names)


def test_names_of_a_kind_that_the_policy_does_not_speak_of_are_left_to_the_ca() -> None:
    names = {"dns_names": ["www.example.org"], "ip_addresses": ["192.0.2.1"]}
    assert shape_names(sample(san={}), names) == names


def test_fixed_names_are_not_sent_and_others_than_these_are_refused() -> None:
    fixed = {"dns_names": {"static": True, "list": ["www.example.org"], "mincount": 1}}
    policy = sample(san=fixed)
    assert shape_names(policy, {"dns_names": ["www.example.org"]}) == {}
    assert "fixed" in refusal(shape_names, policy, {"dns_names": ["mail.example.org"]})


def test_usages_are_sent_where_the_policy_speaks_of_them() -> None:
    assert shape_usages(sample(), [SERVER_AUTH, CODE_SIGNING]) == [SERVER_AUTH, CODE_SIGNING]
    assert shape_usages(sample(extended_key_usages=None), [SERVER_AUTH]) == []
    assert "usages" in refusal(shape_usages, sample(), [TIME_STAMPING])


@pytest.mark.parametrize(
    ("algorithm", "bits", "words"), [("ECDSA", 256, "RSA"), ("RSA", 3072, "2048, 4096")]
)
def test_a_key_that_is_not_certified_is_refused(algorithm: str, bits: int, words: str) -> None:
    check_key(sample(), "RSA", 4096)
    assert words in refusal(check_key, sample(), algorithm, bits)


@given(seconds=st.integers(1, 10**9), least=st.integers(0, 10**6), room=st.integers(0, 10**6))
def test_a_lifetime_is_never_longer_than_asked_for_or_allowed(
    seconds: int, least: int, room: int
) -> None:
    policy = ValidationPolicy(shortest=least, longest=(least + room) or None)
    try:
        given_seconds = clamp_validity(policy, seconds)
    except Refused:
        assert seconds < least
        return
    assert least <= given_seconds <= seconds
    assert policy.longest is None or given_seconds <= policy.longest


@given(
    rule=st.builds(
        Values,
        static=st.just(False),
        patterns=st.lists(st.sampled_from(["^a+$", "b", "["])).map(tuple),
        least=st.integers(0, 3),
        most=st.none() | st.integers(0, 4),
    ),
    values=st.lists(st.text("ab", max_size=4), max_size=5),
    wanted=st.booleans(),
)
def test_values_that_are_sent_keep_to_their_rule(
    rule: Values, values: list[str], *, wanted: bool
) -> None:
    try:
        sent = shape_values("values", rule, list(values), given=wanted)
    except Refused:
        return
    assert len(sent) >= rule.least
    assert rule.most is None or len(sent) <= rule.most
    if wanted:
        assert sent == values


def test_a_pattern_that_cannot_be_read_is_left_to_the_ca() -> None:
    names = {"dns_names": {"static": False, "list": ["(?<"], "mincount": 0, "maxcount": 5}}
    assert shape_names(sample(san=names), {"dns_names": ["x.test"]}) == {"dns_names": ["x.test"]}


def test_the_signature_is_named_where_the_policy_wants_it_named() -> None:
    wanted = {
        "algorithm": {"presence": "REQUIRED", "list": ["RSA", "RSA-PSS"]},
        "hash_algorithm": {"presence": "REQUIRED", "list": ["SHA-384", "SHA-256"]},
    }
    assert sample(signature=wanted).signature == {"algorithm": "RSA", "hash_algorithm": "SHA-384"}
    assert sample().signature == {}
