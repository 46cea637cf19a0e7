"""Filters of the inventory, as a person writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.errors import InvalidInput
from certctl.domain.inventory import NameFilter, NameMatch, parse_name_filter
from certctl.domain.names import NameKind, parse_name

EXACT, PREFIX, BELOW = NameMatch.EXACT, NameMatch.PREFIX, NameMatch.BELOW


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WWW.example.org.", NameFilter(EXACT, ("www.example.org",), NameKind.DNS)),
        ("dns:www.example.org", NameFilter(EXACT, ("www.example.org",), NameKind.DNS)),
        ("10.0.0.1", NameFilter(EXACT, ("10.0.0.1",), NameKind.IP)),
        ("user@example.org", NameFilter(EXACT, ("user@example.org",), NameKind.EMAIL)),
        ("*.Example.org", NameFilter(BELOW, ("example.org",), NameKind.DNS)),
        ("dns:*.example.org", NameFilter(BELOW, ("example.org",), NameKind.DNS)),
        ("shop*", NameFilter(PREFIX, ("shop",))),
        ("Shop*", NameFilter(PREFIX, ("Shop", "shop"))),
        ("DNS:Shop*", NameFilter(PREFIX, ("shop",), NameKind.DNS)),
        ("email:Shop*", NameFilter(PREFIX, ("Shop",), NameKind.EMAIL)),
        ("spiffe://example.org/*", NameFilter(PREFIX, ("spiffe://example.org/",))),
    ],
)
def test_a_filter_is_read(text: str, expected: NameFilter) -> None:
    assert parse_name_filter(text, "name") == expected


@pytest.mark.parametrize("text", ["*", "dns:*", "*.*", "a*b*", "sh\u00f6p*", "shop\x00*", " \n*"])
def test_what_is_no_beginning_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_name_filter(text, "name")
    assert (refusal.value.code, refusal.value.field) == ("name-filter-invalid", "name")


@pytest.mark.parametrize("text", ["", "a..b", "*a.example.org", "a.*.org", "ip:www"])
def test_what_is_no_name_is_refused_as_such(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_name_filter(text, "name")
    assert refusal.value.code.startswith("name-")
    assert refusal.value.code != "name-filter-invalid"


@given(st.text(max_size=30) | st.from_regex(r"[a-z:*.]{1,12}\Z"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_name_filter(text, "name")
    except InvalidInput:
        return
    assert found.texts
    assert all(found.texts)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "*.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "notexample.org", False),
        ("*.example.org", "email:a@b.example.org", False),
        ("shop*", "shop.example.org", True),
        ("shop*", "email:shop@example.org", True),
        ("shop*", "www.shop.example.org", False),
        ("dns:shop*", "email:shop@example.org", False),
    ],
)
def test_what_a_filter_admits(text: str, name: str, expected: bool) -> None:
    parsed = parse_name(name, "name")
    assert parse_name_filter(text, "name").admits(parsed.kind, parsed.value) is expected
