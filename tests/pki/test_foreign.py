"""Certificates from elsewhere: what is read of them, and how each bad one is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from certctl.domain.errors import InvalidInput
from certctl.domain.imports import external_issuer_id, is_external_issuer_id
from certctl.pki.certificates import chain_pem, to_pem
from certctl.pki.der import element
from certctl.pki.foreign import MAX_DER, MAX_NAMES, ForeignCertificate, read_foreign
from tests.support.foreign import foreign, self_signed, swapped
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = foreign("www.example.org", "10.0.0.1", common_name="www.example.org")
#: Of the same length as the names that take their places.
PLANTED = "planted.example.org"


def san(*names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


def with_serial(octets: bytes) -> str:
    """PEM of a good certificate whose serial is these octets, as many as it had."""
    der = GOOD.certificate.public_bytes(Encoding.DER)
    tbs, _ = element(der, 0)
    inside, _ = element(der, tbs)
    _, at = element(der, inside)  # past the version
    start, end = element(der, at)
    return to_pem(der[:start] + octets * (end - start) + der[end:])


def with_zero_serial() -> str:
    """PEM of a certificate with the serial 0, rightly encoded."""
    der = self_signed(san(PLANTED), serial=1).public_bytes(Encoding.DER)
    return to_pem(der.replace(bytes.fromhex("a003020102020101"), bytes.fromhex("a003020102020100")))


def with_key() -> str:
    key = make_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return GOOD.pem + key.decode()


def test_what_is_read_of_a_good_one() -> None:
    read = read_foreign(GOOD.pem, GOOD.chain)
    assert [str(name) for name in read.names] == ["dns:www.example.org", "ip:10.0.0.1"]
    assert (read.common_names, read.names_left_out) == (("www.example.org",), 0)
    assert read.serial == GOOD.serial
    assert read.chain == GOOD.ca.chain
    assert read.issuer_label == "Sub CA 0"
    assert read.issuer_dn == GOOD.certificate.issuer.public_bytes()


def test_base64_of_der_is_the_same_and_no_chain_is_none() -> None:
    text = "".join(GOOD.pem.splitlines()[1:-1])
    for chain in (None, "", " \n"):
        read = read_foreign(text, chain)
        assert (read.der, read.chain) == (read_foreign(GOOD.pem, None).der, ())


def test_text_around_pem_is_passed_over() -> None:
    read = read_foreign(f"subject=/CN=x\n{GOOD.pem}\nissuer=/CN=y\n", f"0 s:/CN=x\n{GOOD.chain}")
    assert read.der == read_foreign(GOOD.pem, None).der


BAD: dict[str, tuple[str, Callable[[], str]]] = {
    "nothing-at-all": ("import-unreadable", lambda: " "),
    "not-base64": ("import-unreadable", lambda: PLANTED),
    "base64-of-something-else": ("import-unreadable", lambda: "cGxhbnRlZA=="),
    "cut-off": ("import-unreadable", lambda: GOOD.pem[:-40]),
    "der-cut-off": ("import-unreadable", lambda: to_pem(b"\x30\x82\x01\x00planted")),
    "trailing-der": (
        "import-unreadable",
        lambda: to_pem(GOOD.certificate.public_bytes(Encoding.DER) + b"\0"),
    ),
    "a-request": ("import-not-a-certificate", lambda: make_csr(make_key(), [PLANTED])),
    "two": ("import-more-than-one", lambda: GOOD.pem * 2),
    "with-its-key": ("import-has-private-key", with_key),
    "huge": ("import-too-large", lambda: to_pem(b"\x30\x83\x01\x00\x00" + bytes(MAX_DER))),
    "serial-zero": ("import-serial", with_zero_serial),
    "serial-negative": ("import-serial", lambda: with_serial(b"\x80")),
    "common-name-not-utf-8": (
        "import-name-unreadable",
        lambda: swapped(
            self_signed(san("a.org"), common_name="plant\u00e9d"), b"\xc3\xa9", b"\xff\xff"
        ),
    ),
    "common-name-with-nul": (
        "import-name-invisible-character",
        lambda: swapped(self_signed(common_name="www.planted.org"), b"www.p", b"www\0p"),
    ),
    "san-with-nul": (
        "import-name-invisible-character",
        lambda: swapped(self_signed(san("www.planted.org")), b"www.p", b"www\0p"),
    ),
    "san-not-ascii": (
        "import-extensions-unreadable",
        lambda: swapped(self_signed(san("www.planted.org")), b"www.p", b"www\xffp"),
    ),
    "too-many-names": (
        "import-too-many-names",
        lambda: to_pem(self_signed(san(*[f"a{n}.org" for n in range(MAX_NAMES + 1)]))),
    ),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_each_bad_one_has_its_own_refusal_and_is_not_echoed(name: str) -> None:
    code, make = BAD[name]
    with pytest.raises(InvalidInput) as raised:
        read_foreign(make(), None)
    error = raised.value
    assert (error.code, error.field) == (code, "certificate")
    assert error.hint
    assert "planted" not in f"{error.detail} {error.hint}"


BAD_CHAINS: dict[str, tuple[str, Callable[[], str]]] = {
    "upside-down": ("import-chain-wrong", lambda: chain_pem(reversed(GOOD.ca.chain))),
    "with-the-leaf": ("import-chain-not-ca", lambda: GOOD.pem + GOOD.chain),
    "of-somebody-else": ("import-chain-wrong", lambda: foreign(ca=1).chain),
    "a-gap": ("import-chain-wrong", lambda: chain_pem(GOOD.ca.chain[1:])),
    "not-pem": ("import-unreadable", lambda: PLANTED),
    "with-a-key": ("import-has-private-key", with_key),
    "endless": ("import-chain-too-long", lambda: chain_pem(GOOD.ca.chain) * 6),
    "a-leaf-as-issuer": (
        "import-chain-not-ca",
        lambda: to_pem(self_signed(common_name="Sub CA 0")),
    ),
}


@pytest.mark.parametrize("name", sorted(BAD_CHAINS))
def test_a_chain_has_to_have_issued_it(name: str) -> None:
    code, make = BAD_CHAINS[name]
    with pytest.raises(InvalidInput) as raised:
        read_foreign(GOOD.pem, make())
    assert (raised.value.code, raised.value.field) == (code, "chain")
    assert "planted" not in f"{raised.value.detail} {raised.value.hint}"


def test_a_serial_longer_than_it_should_be_is_taken() -> None:
    """As public roots have them: 20 octets, and one more for the sign."""
    octets = with_serial(b"\x7f")
    assert read_foreign(octets, None).serial == "7f" * 20


def test_names_that_have_no_form_here_are_counted() -> None:
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("good.example.org"),
            x509.DNSName("my_host.example.org"),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
            x509.DirectoryName(x509.Name([])),
        ]
    )
    read = read_foreign(to_pem(self_signed(names)), None)
    assert [str(name) for name in read.names] == ["dns:good.example.org"]
    assert read.names_left_out == 3


def test_without_alternative_names_the_common_name_is_one() -> None:
    read = read_foreign(to_pem(self_signed(common_name="www.example.org")), None)
    assert [str(name) for name in read.names] == ["dns:www.example.org"]
    assert read_foreign(to_pem(self_signed(common_name="printer")), None).names == ()


def issuer_of(certificate: x509.Certificate) -> str:
    read = read_foreign(to_pem(certificate), None)
    return external_issuer_id(read.issuer_dn, read.issuer_key_identifier)


def test_an_issuer_is_its_name_and_its_key() -> None:
    own = issuer_of(GOOD.certificate)
    assert is_external_issuer_id(own)
    assert issuer_of(foreign("other.example.org").certificate) == own
    assert issuer_of(foreign(ca=0).ca.certificate) != own
    # Appliances of one make: one name, the serial 1, and keys of their own.
    assert issuer_of(self_signed(which=0)) == issuer_of(self_signed(which=0))
    assert issuer_of(self_signed(which=0)) != issuer_of(self_signed(which=1))


def read_or_code(certificate: str, chain: str | None) -> ForeignCertificate | str:
    """What was read, or the code of the refusal."""
    try:
        return read_foreign(certificate, chain)
    except InvalidInput as error:
        return error.code


@given(st.data())
def test_damage_is_refused_or_read_and_never_a_fault(data: st.DataObject) -> None:
    der = bytearray(GOOD.certificate.public_bytes(Encoding.DER))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(der) - 1))
        der[at] = data.draw(st.integers(0, 255))
    read = read_or_code(to_pem(bytes(der)), None)
    if isinstance(read, str):
        assert read.startswith("import-")
    else:
        assert int(read.serial, 16) > 0
        assert all("\0" not in text for text in (*read.common_names, *map(str, read.names)))


@given(st.text(max_size=200))
def test_no_text_is_a_fault(text: str) -> None:
    for certificate, chain in ((text, None), (GOOD.pem, text), (f"-----BEGIN {text}", None)):
        read = read_or_code(certificate, chain)
        assert not isinstance(read, str) or read.startswith("import-")
