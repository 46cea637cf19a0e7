"""Names: canonical forms, refusals, and which names a request asks for."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certctl.domain.errors import InvalidInput
from certctl.domain.names import (
    MAX_NAMES,
    Name,
    NameKind,
    decode_stored,
    name_from_common_name,
    parse_name,
    parse_names,
    parse_typed,
)
from certctl.domain.requests import settle_names
from certctl.pki.general_names import general_name
from certctl.pki.requests import parse_request
from tests.support import bad_csrs


@pytest.mark.parametrize(
    "case",
    [case for case in bad_csrs.cases() if case["decided_by"] == "names"],
    ids=lambda case: case["id"],
)
def test_bad_name_is_refused(case: dict[str, Any]) -> None:
    texts = bad_csrs.build(case)["names"]
    with pytest.raises(InvalidInput) as caught:
        parse_names(texts)
    error = caught.value
    assert (error.code, error.field) == (case["code"], case["field"])
    assert error.hint
    for text in texts:
        if len(text) > 1:
            assert text not in error.detail + error.hint


@pytest.mark.parametrize(
    "case",
    [case for case in bad_csrs.cases() if case["decided_by"] == "settle"],
    ids=lambda case: case["id"],
)
def test_name_that_the_list_lacks_is_refused(case: dict[str, Any]) -> None:
    body = bad_csrs.build(case)
    request = parse_request(body["csr"])
    with pytest.raises(InvalidInput) as caught:
        settle_names(request.names, request.common_name, parse_names(body["names"]))
    assert (caught.value.code, caught.value.field) == (case["code"], case["field"])


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("www.example.org", "dns:www.example.org"),
        ("WWW.Example.ORG.", "dns:www.example.org"),
        ("*.Example.org", "dns:*.example.org"),
        ("localhost", "dns:localhost"),
        ("3com.example", "dns:3com.example"),
        ("bücher.example", "dns:xn--bcher-kva.example"),
        ("BÜCHER.example", "dns:xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "dns:xn--bcher-kva.example"),
        ("faß.example", "dns:xn--fa-hia.example"),
        ("*.bücher.example", "dns:*.xn--bcher-kva.example"),
        (f"{'a' * 63}.example", f"dns:{'a' * 63}.example"),
        ("DNS:www.example.org", "dns:www.example.org"),
        ("10.0.0.1", "ip:10.0.0.1"),
        ("ip:10.0.0.1", "ip:10.0.0.1"),
        ("2001:DB8:0:0::1", "ip:2001:db8::1"),
        ("::ffff:10.0.0.1", "ip:::ffff:10.0.0.1"),
        ("User@Example.ORG", "email:User@example.org"),
        ("user@bücher.example", "email:user@xn--bcher-kva.example"),
        ("spiffe://example.org/a_b", "uri:spiffe://example.org/a_b"),
        ("HTTPS://Example.org:8443/?q=%20", "uri:HTTPS://Example.org:8443/?q=%20"),
        ("https://[2001:db8::1]/", "uri:https://[2001:db8::1]/"),
        ("uri:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", None),
    ],
)
def test_canonical_form(text: str, canonical: str | None) -> None:
    assert str(parse_name(text, "names")) == (canonical or text)


def test_longest_name_passes() -> None:
    text = ".".join(["a" * 49] * 5 + ["abc"])
    assert len(text) == 253
    assert parse_name(text, "names").value == text
    assert parse_name(text + ".", "names").value == text


def test_names_come_once_in_their_order() -> None:
    names = parse_names(["b.example", "A.example", "a.example.", "10.0.0.1", "b.example"])
    assert [str(name) for name in names] == ["dns:b.example", "dns:a.example", "ip:10.0.0.1"]
    assert len(parse_names([f"h{n}.example" for n in range(MAX_NAMES)] * 2)) == MAX_NAMES


def test_field_says_which_name() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_names(["a.example", "b_.example"])
    assert caught.value.field == "names.1"


_label = (
    st.text("abz019-", max_size=20)
    .map(lambda middle: f"a{middle}0")
    .filter(lambda label: label[2:4] != "--")
)
_host = st.lists(_label, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "example"]))


@settings(deadline=None)  # a busy machine is no failure
@given(_host, st.booleans())
def test_host_names_pass_whatever_their_case(host: str, wildcard: bool) -> None:
    text = f"*.{host}" if wildcard else host
    assert parse_name(text.upper(), "names") == Name(NameKind.DNS, text)


@settings(deadline=None)
@given(st.ip_addresses())
def test_addresses_pass(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    name = parse_name(address.exploded, "names")
    assert name.kind is NameKind.IP
    assert ipaddress.ip_address(name.value) == address
    assert parse_name(name.value, "names") == name
    with pytest.raises(InvalidInput):
        parse_typed(NameKind.DNS, str(address), "names")


@settings(deadline=None)
@given(st.text(max_size=80) | st.text("a.-*@:/_x1%[]", max_size=30), st.sampled_from(NameKind))
def test_any_text_is_refused_or_becomes_a_name_that_stands_still(text: str, kind: NameKind) -> None:
    for name in (_name_or_none(text, None), _name_or_none(text, kind)):
        if name is None:
            continue
        assert name.value.isascii()
        assert name.value.isprintable()
        assert parse_typed(name.kind, name.value, "f") == name
        assert parse_name(str(name), "f") == name
        assert decode_stored(str(name)) == name
        assert str(general_name(name).value) in {name.value, _mapped(name)}


def _name_or_none(text: str, kind: NameKind | None) -> Name | None:
    try:
        return parse_name(text, "f") if kind is None else parse_typed(kind, text, "f")
    except InvalidInput:
        return None


def _mapped(name: Name) -> str:
    return str(ipaddress.ip_address(name.value)) if name.kind is NameKind.IP else name.value


@pytest.mark.parametrize(
    ("common_name", "expected"),
    [
        ("", None),
        ("alice", None),
        ("John Smith", None),
        ("J. Smith", None),
        ("Inc.", None),
        ("alice@example.org", None),
        ("a_b.example.org", None),
        ("localhost", "dns:localhost"),
        ("LOCALHOST", "dns:localhost"),
        ("example.org", "dns:example.org"),
        ("*.example.org", "dns:*.example.org"),
        ("bücher.example", "dns:xn--bcher-kva.example"),
        ("10.0.0.1", "ip:10.0.0.1"),
        ("2001:db8::1", "ip:2001:db8::1"),
    ],
)
def test_common_name_as_a_name(common_name: str, expected: str | None) -> None:
    name = name_from_common_name(common_name)
    assert (None if name is None else str(name)) == expected


def test_names_of_a_request_without_a_list() -> None:
    san = parse_names(["b.example", "c.example"])
    assert settle_names(san, "a.example", None) == parse_names(
        ["a.example", "b.example", "c.example"]
    )
    assert settle_names(san, "c.example", None) == san
    assert settle_names(san, "John Smith", None) == san
    assert settle_names((), None, None) == ()


def test_a_list_may_go_beyond_the_request() -> None:
    listed = parse_names(["z.example", "a.example", "b.example"])
    assert settle_names(parse_names(["a.example"]), "b.example", listed) == listed
    assert settle_names((), "John Smith", ()) == ()


def test_plain_names_do_not_load_idna() -> None:
    code = (
        "import sys; from certctl.domain.names import parse_name; "
        "parse_name('www.example.org', 'f'); sys.exit('idna' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
