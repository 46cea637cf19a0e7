"""Reading certificate requests."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from certctl.ca.authority import subject
from certctl.domain.errors import InvalidInput
from certctl.domain.keys import KeyType
from certctl.domain.names import parse_names
from certctl.domain.usages import Usage
from certctl.pki.keys import spki_of, subject_key_identifier
from certctl.pki.requests import load_request, parse_request
from tests.support import bad_csrs
from tests.support.pki import make_csr, make_key


@pytest.mark.parametrize(
    "case",
    [case for case in bad_csrs.cases() if case["decided_by"] == "csr"],
    ids=lambda case: case["id"],
)
def test_bad_request_is_refused(case: dict[str, Any]) -> None:
    csr = bad_csrs.build(case)["csr"]
    with pytest.raises(InvalidInput) as caught:
        parse_request(csr)
    error = caught.value
    assert (error.code, error.field) == (case["code"], case["field"])
    assert error.detail
    assert error.hint
    for line in csr.split("\n"):
        if len(line) > 20 and "BEGIN" not in line:
            assert line not in error.detail + error.hint


def test_every_other_case_has_a_good_csr() -> None:
    for case in bad_csrs.cases():
        csr = bad_csrs.build(case)["csr"]
        if case["decided_by"] != "csr" and isinstance(csr, str) and csr:
            parse_request(csr)


@pytest.mark.parametrize("key_type", KeyType)
def test_every_key_type(key_type: KeyType) -> None:
    key = make_key(key_type)
    text = make_csr(key, ["www.example.org", "10.0.0.1", "::1", "a@example.org", "spiffe://td/x"])
    request = parse_request(text)
    assert request.key_type is key_type
    assert request.spki == spki_of(key.public_key())
    assert request.common_name is None
    assert request.usages is None
    assert [str(name) for name in request.names] == [
        "dns:www.example.org",
        "ip:10.0.0.1",
        "ip:::1",
        "email:a@example.org",
        "uri:spiffe://td/x",
    ]
    again = load_request(request.der)
    assert (again.names, again.spki, again.der) == (request.names, request.spki, request.der)


def test_forms_of_the_text() -> None:
    text = make_csr(make_key(), ["www.example.org"])
    der = parse_request(text).der
    one_line = base64.b64encode(der).decode()
    for form in (
        text.replace("\n", "\r\n"),
        text.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        "Certificate Request:\n    Data:\n" + text + "\n\n",
        one_line,
        f" {one_line[:100]}\n{one_line[100:]}\n",
    ):
        assert parse_request(form).der == der


def test_common_name_is_canonical_where_it_is_a_name() -> None:
    for written, read in (
        ("WWW.Example.org", "www.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("John Smith", "John Smith"),
    ):
        assert parse_request(make_csr(make_key(), (), written)).common_name == read


def test_empty_common_name_is_none() -> None:
    assert (
        parse_request(bad_csrs.signed(bad_csrs.common_names(bad_csrs.utf8("")))).common_name is None
    )


def test_common_name_among_other_attributes_and_encodings() -> None:
    bmp = bad_csrs.tlv(0x1E, "a.example".encode("utf-16-be"))
    assert parse_request(bad_csrs.signed(bad_csrs.common_names(bmp))).common_name == "a.example"
    several = x509.Name.from_rfc4514_string(
        "CN=a.example+OU=x,O=Some " + "Long " * 30 + "Name,C=DE"
    )
    assert len(several.public_bytes()) > 127
    der = several.public_bytes()
    assert parse_request(bad_csrs.signed(der)).common_name == "a.example"


def test_usages_are_read_and_harmless_constraints_pass() -> None:
    text = make_csr(
        make_key(),
        ["www.example.org"],
        extensions=[
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            x509.BasicConstraints(ca=False, path_length=None),
        ],
    )
    assert parse_request(text).usages == (Usage.SERVER_AUTH, Usage.CLIENT_AUTH)


def test_rsa_pss_signature_is_read() -> None:
    key = make_key(KeyType.RSA)
    assert isinstance(key, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    builder = x509.CertificateSigningRequestBuilder(subject("www.example.org"))
    csr = builder.sign(key, hashes.SHA256(), rsa_padding=pss)
    assert parse_request(csr.public_bytes(Encoding.PEM).decode()).key_type is KeyType.RSA


def test_names_come_once() -> None:
    names = [x509.DNSName("WWW.example.org"), x509.DNSName("www.example.org.")]
    text = make_csr(make_key(), extensions=[x509.SubjectAlternativeName(names)])
    assert parse_request(text).names == parse_names(["www.example.org"])


@pytest.mark.parametrize("key_type", [KeyType.P256, KeyType.RSA, KeyType.ED448])
def test_key_identifier_is_rfc7093_method_1(key_type: KeyType) -> None:
    public_key = make_key(key_type).public_key()
    # The library hashes the same octets with SHA-1; what is hashed is found by its length.
    spki = spki_of(public_key)
    sha1 = x509.SubjectKeyIdentifier.from_public_key(public_key).digest
    bits = next(
        spki[at:]
        for at in range(len(spki))
        if hashlib.sha1(spki[at:]).digest() == sha1  # noqa: S324
    )
    assert subject_key_identifier(spki) == hashlib.sha256(bits).digest()[:20]


def test_request_of_another_version_is_refused() -> None:
    # RFC 2986 §4.1 knows version 0 only.
    text = bad_csrs.signed()
    der = base64.b64decode("".join(text.splitlines()[1:-1]))
    version = bad_csrs.integer(0)
    assert der.count(version) == 1
    with pytest.raises(InvalidInput) as caught:
        parse_request(bad_csrs.pem(der.replace(version, bad_csrs.integer(32))))
    assert caught.value.code == "csr-unreadable"
