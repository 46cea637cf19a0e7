"""Which names a pattern allows."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.errors import InvalidInput
from certctl.domain.name_patterns import MAX_PATTERNS, NamePattern, parse_pattern, parse_patterns
from certctl.domain.names import Name, NameKind, parse_name

LABELS = st.from_regex(r"[a-z]([a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
BELOW = st.lists(LABELS, min_size=0, max_size=4)
ADDRESSES = st.ip_addresses().map(str)
TEXTS = st.text(st.sampled_from("abc01.*@:/-%[]? \x00é") | st.characters(), max_size=40)


def covers(pattern: str, name: str) -> bool:
    """Whether a pattern allows a name, both as people write them."""
    return parse_pattern(pattern, "p").covers(parse_name(name, "n"))


@pytest.mark.parametrize(
    ("pattern", "allowed", "not_allowed"),
    [
        ("www.example.org", ["www.example.org", "WWW.Example.ORG."], ["a.www.example.org"]),
        (
            "*.example.org",
            ["www.example.org", "a.b.example.org", "*.b.example.org", "*.example.org"],
            ["example.org", "badexample.org", "example.org.evil.test"],
        ),
        ("*", ["example.org", "localhost", "*.org"], ["10.0.0.1", "ann@example.org"]),
        ("bücher.example", ["xn--bcher-kva.example"], ["bucher.example"]),
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0", "::ffff:10.0.0.1", "a.org"]),
        ("10.0.0.1", ["10.0.0.1"], ["10.0.0.2"]),
        ("2001:db8::/32", ["2001:DB8::1"], ["2001:db9::1", "10.0.0.1"]),
        ("ip:*", ["10.0.0.1", "::1"], ["localhost"]),
        ("@example.org", ["ann@Example.org"], ["ann@a.example.org", "example.org"]),
        ("email:@*.example.org", ["ann@a.b.example.org"], ["ann@example.org"]),
        (
            "spiffe://example.org",
            ["spiffe://example.org/ns/a", "SPIFFE://EXAMPLE.org", "spiffe://example.org:8443/a"],
            ["spiffe://a.example.org/x", "https://example.org/", "spiffe://example.org.evil.test/"],
        ),
        (
            "https://*.example.org",
            ["https://a.b.example.org/?x=https://evil.test"],
            ["https://evil.test/?x=https://a.example.org", "https://evil.test#a.example.org"],
        ),
        (
            "uri:example.org",
            ["ftp://example.org/x", "http://example.org."],
            ["uri:urn:example.org"],
        ),
        ("uri:*.1.test", ["https://a.1.test"], ["https://10.0.0.1/", "https://[::1]/"]),
        ("uri:*", ["uri:urn:example:device:7", "https://[::1]/"], ["example.org"]),
    ],
)
def test_what_a_pattern_allows(pattern: str, allowed: list[str], not_allowed: list[str]) -> None:
    for name in allowed:
        assert covers(pattern, name), name
    for name in not_allowed:
        assert not covers(pattern, name), name


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "name-empty"),
        ("**", "pattern-star-misplaced"),
        ("**.example.org", "pattern-star-misplaced"),
        ("***.example.org", "pattern-star-misplaced"),
        ("a.*.example.org", "pattern-star-misplaced"),
        ("*.*.example.org", "pattern-star-misplaced"),
        ("w*.example.org", "pattern-star-misplaced"),
        ("*.", "name-empty"),
        ("*.10", "name-ends-in-a-number"),
        ("dns:10.0.0.1", "name-is-an-ip-address"),
        ("a_b.example.org", "name-bad-character"),
        ("10.0.0.1/8", "pattern-network-has-host"),
        ("ip:10.0.0.0/255.0.0.0", "pattern-not-a-network"),
        ("ip:10.0.0.0/33", "pattern-not-a-network"),
        ("fe80::1%eth0", "pattern-not-a-network"),
        ("ip:fe80::1%eth0", "pattern-not-a-network"),
        ("ip:*.0.0.1", "pattern-not-a-network"),
        ("ann@example.org", "pattern-email-malformed"),
        ("email:example.org", "pattern-email-malformed"),
        ("@", "name-empty"),
        ("spiffe://example.org/ns", "pattern-uri-malformed"),
        ("https://example.org:443", "pattern-uri-malformed"),
        ("https://ann@example.org", "pattern-uri-malformed"),
        ("uri:urn:example", "pattern-uri-malformed"),
        ("https://10.0.0.1", "name-is-an-ip-address"),
    ],
)
def test_what_is_no_pattern(text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_patterns(["ok.example.org", text])
    assert (raised.value.code, raised.value.field) == (code, "name_patterns.1")
    if len(text) > 4:
        assert text not in f"{raised.value.detail} {raised.value.hint}"


def test_there_is_an_end_to_patterns() -> None:
    assert len(parse_patterns(["a.test"] * MAX_PATTERNS)) == MAX_PATTERNS
    with pytest.raises(InvalidInput, match="at most 100") as raised:
        parse_patterns(["a.test"] * (MAX_PATTERNS + 1))
    assert raised.value.field == "name_patterns"


@given(domain=DOMAINS, below=BELOW)
def test_depth_is_counted_in_labels(domain: str, below: list[str]) -> None:
    name = Name(NameKind.DNS, ".".join([*below, domain]))
    assert parse_pattern(f"dns:{domain}", "p").covers(name) == (len(below) == 0)
    assert parse_pattern(f"*.{domain}", "p").covers(name) == (len(below) >= 1)


@given(domain=DOMAINS, prefix=LABELS)
def test_a_name_that_only_ends_alike_is_another_name(domain: str, prefix: str) -> None:
    name = Name(NameKind.DNS, prefix + domain)
    assert not parse_pattern(f"*.{domain}", "p").covers(name)


@given(domain=DOMAINS, below=BELOW, scheme=st.sampled_from(["https", "spiffe"]), rest=TEXTS)
def test_a_uri_and_a_mailbox_are_their_host(
    domain: str, below: list[str], scheme: str, rest: str
) -> None:
    host = ".".join([*below, domain])
    expected = len(below) >= 1
    mailbox = Name(NameKind.EMAIL, f"ann@{host}")
    assert parse_pattern(f"@*.{domain}", "p").covers(mailbox) == expected
    uri = f"{scheme}://{host}/{rest}"
    try:
        name = parse_name(uri, "n")
    except InvalidInput:
        name = parse_name(f"{scheme}://{host}/", "n")
    assert parse_pattern(f"{scheme}://*.{domain}", "p").covers(name) == expected
    assert parse_pattern(f"uri:*.{domain}", "p").covers(name) == expected
    assert not parse_pattern(f"ftp://*.{domain}", "p").covers(name)


@given(address=ADDRESSES, other=ADDRESSES, length=st.integers(0, 128))
def test_networks_are_as_the_standard_library_has_them(
    address: str, other: str, length: int
) -> None:
    first = ipaddress.ip_address(address)
    network = ipaddress.ip_network((first, min(length, first.max_prefixlen)), strict=False)
    pattern = parse_pattern(str(network), "p")
    assert pattern.covers(parse_name(address, "n"))
    expected = ipaddress.ip_address(other) in network
    assert pattern.covers(parse_name(other, "n")) == expected


@given(TEXTS | DOMAINS.map("*.{}".format) | ADDRESSES)
def test_any_text_is_a_pattern_that_can_be_read_again_or_is_refused(text: str) -> None:
    try:
        pattern = parse_pattern(text, "p")
    except InvalidInput as error:
        field = error.field
    else:
        field = "p"
        assert_stable(pattern)
    assert field == "p"


def assert_stable(pattern: NamePattern) -> None:
    """A pattern's text is a pattern again, the same one."""
    assert parse_pattern(str(pattern), "p") == pattern
    assert str(pattern).startswith(f"{pattern.kind}:")
    assert str(pattern).isascii()
