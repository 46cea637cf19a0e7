"""Roles and scopes: what is given is never more than what there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.access import (
    GLOBAL,
    Grant,
    Permission,
    Role,
    Scope,
    ScopeName,
    check_expiry,
    check_grant,
    parse_scope_name,
    permissions_of,
)
from certctl.domain.errors import Forbidden, InvalidInput
from certctl.domain.names import Name, NameKind, parse_name

LABELS = st.sampled_from(["a", "b", "shop", "example", "org"])
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
TEXTS = st.one_of(
    DOMAINS,
    DOMAINS.map(lambda domain: f"*.{domain}"),
    DOMAINS.map(lambda domain: f"email:a@{domain}"),
    DOMAINS.map(lambda domain: f"uri:spiffe://{domain}/x"),
    st.sampled_from(["ip:10.0.0.1", "ip:10.0.0.2", "ip:2001:db8::1"]),
)
PATTERNS = TEXTS.map(lambda text: parse_scope_name(text, "names"))
NAMES = TEXTS.map(lambda text: parse_name(text, "names"))


def optional(values: st.SearchStrategy[str]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(values, min_size=1, max_size=3)


SCOPES = st.builds(
    Scope,
    issuers=optional(st.sampled_from(["iss-a", "iss-b", "iss-c"])),
    profiles=optional(st.sampled_from(["prof-a", "prof-b"])),
    names=st.none() | st.lists(PATTERNS, min_size=1, max_size=3).map(tuple),
)
GRANTS = st.builds(
    Grant,
    role=st.sampled_from(Role),
    scope=st.none() | SCOPES,
    expires_at=st.none() | st.integers(1, 5),
)


@given(PATTERNS)
def test_a_pattern_is_read_as_it_is_written(pattern: ScopeName) -> None:
    assert parse_scope_name(str(pattern), "names") == pattern


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("www.example.org", "www.example.org", True),
        ("WWW.Example.ORG.", "www.example.org", True),
        ("www.example.org", "*.example.org", False),
        ("*.example.org", "www.example.org", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "*.example.org", True),
        ("*.example.org", "*.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "notexample.org", False),
        ("*.example.org", "www.example.org.evil.test", False),
        ("*.example.org", "email:a@x.example.org", False),
        ("*.example.org", "uri:spiffe://x.example.org", False),
        ("*.bücher.example", "www.xn--bcher-kva.example", True),
        ("ip:10.0.0.1", "10.0.0.1", True),
        ("ip:10.0.0.1", "10.0.0.10", False),
        ("ip:2001:DB8:0::1", "2001:db8::1", True),
        ("email:a@example.org", "a@example.org", True),
        ("uri:spiffe://example.org/a", "spiffe://example.org/a/b", False),
    ],
)
def test_which_names_fit(pattern: str, name: str, fits: bool) -> None:
    parsed = parse_name(name, "names")
    assert parse_scope_name(pattern, "names").admits(parsed.kind, parsed.value) is fits


@given(PATTERNS, PATTERNS, NAMES)
def test_what_a_covered_pattern_admits_its_cover_admits(
    outer: ScopeName, inner: ScopeName, name: Name
) -> None:
    if outer.covers(inner) and inner.admits(name.kind, name.value):
        assert outer.admits(name.kind, name.value)


@given(PATTERNS)
def test_a_pattern_covers_itself(pattern: ScopeName) -> None:
    assert pattern.covers(pattern)


@given(PATTERNS, NAMES)
def test_a_pattern_covers_the_names_that_it_admits(pattern: ScopeName, name: Name) -> None:
    if not name.value.startswith("*."):
        exact = ScopeName(name.kind, name.value)
        assert pattern.covers(exact) is pattern.admits(name.kind, name.value)


@given(SCOPES, SCOPES, st.lists(NAMES, max_size=3), st.none() | DOMAINS)
def test_what_a_covered_scope_reaches_its_cover_reaches(
    outer: Scope, inner: Scope, names: list[Name], common_name: str | None
) -> None:
    if not outer.covers(inner):
        return
    for issuer in ("iss-a", "iss-b", "iss-c"):
        assert outer.admits_issuer(issuer) or not inner.admits_issuer(issuer)
    for profile in ("prof-a", "prof-b"):
        assert outer.admits_profile(profile) or not inner.admits_profile(profile)
    assert outer.admits_names(names, common_name) or not inner.admits_names(names, common_name)


@given(SCOPES)
def test_a_scope_covers_itself_and_never_the_lack_of_one(scope: Scope) -> None:
    assert scope.covers(scope)
    assert not scope.covers(None), "which also has what concerns the whole installation"


@pytest.mark.parametrize(
    ("names", "common_name", "fits"),
    [
        (["a.example.org"], None, True),
        (["a.example.org", "b.example.org"], "b.example.org", True),
        (["a.example.org"], "A.Example.ORG", True),
        (["a.example.org", "b.example.com"], None, False),
        (["a.example.org"], "b.example.org", False),
        (["a.example.org"], "the boss", False),
        (["a.example.org"], "boss@example.com", False),
        ([], None, False),
        ([], "a.example.org", False),
    ],
)
def test_every_name_and_the_common_name_have_to_fit(
    names: list[str], common_name: str | None, fits: bool
) -> None:
    scope = Scope(names=(parse_scope_name("*.example.org", "names"),))
    parsed = [parse_name(name, "names") for name in names]
    assert scope.admits_names(parsed, common_name) is fits


@given(GRANTS, GRANTS)
def test_a_key_gives_nothing_that_it_does_not_have(has: Grant, wanted: Grant) -> None:
    try:
        check_grant(has, wanted)
    except Forbidden:
        return
    given_away = permissions_of(wanted.role, scoped=wanted.scope is not None)
    assert given_away <= permissions_of(has.role, scoped=has.scope is not None)
    assert has.scope is None or has.scope.covers(wanted.scope)
    ends = has.expires_at
    assert ends is None or (wanted.expires_at is not None and wanted.expires_at <= ends)


@given(GRANTS)
def test_a_key_can_give_what_it_has(has: Grant) -> None:
    check_grant(has, has)


def test_what_the_roles_may() -> None:
    admin, operator, viewer, auditor = (
        permissions_of(role, scoped=False)
        for role in (Role.ADMIN, Role.OPERATOR, Role.VIEWER, Role.AUDITOR)
    )
    assert admin == set(Permission)
    assert viewer < operator < admin
    assert auditor - viewer == {Permission.AUDIT}
    for role in Role:
        assert not permissions_of(role, scoped=True) & GLOBAL


def test_an_end_that_has_passed() -> None:
    check_expiry(None, 5)
    check_expiry(6, 5)
    with pytest.raises(InvalidInput):
        check_expiry(5, 5)


def test_kinds_that_cannot_be_below() -> None:
    for text in ("*", "*.*.example.org", "a.*.example.org", "ip:*", "email:*@example.org x"):
        with pytest.raises(InvalidInput):
            parse_scope_name(text, "names")
    assert parse_scope_name("*.example.org", "names").kind is NameKind.DNS
