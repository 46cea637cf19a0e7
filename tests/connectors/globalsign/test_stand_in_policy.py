"""The stand-in of HVCA takes what its policy allows: a test for each rule of a policy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certctl.domain.keys import KeyType
from certctl.pki.keys import spki_of
from tests.conformance.hvca.policy import MUST_STAPLE_DER, MUST_STAPLE_OID
from tests.connectors.globalsign.customer import (
    CLIENT_AUTH,
    CSR,
    DAY,
    KEY,
    SERVER_AUTH,
    bare,
    signed,
)
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from tests.conformance.hvca.policy import Rule
    from tests.connectors.globalsign.customer import Customer

RSA_KEY = make_key(KeyType.RSA)


def validity(begin: int = 0, lasts: int | None = DAY) -> dict[str, int]:
    """A validity that begins so many seconds from now; None: without an end."""
    now = int(time.time()) + begin
    return {"not_before": now} if lasts is None else {"not_before": now, "not_after": now + lasts}


@pytest.fixture
def policy(customer: Customer) -> Rule:
    return customer.ca.policy


@pytest.fixture
def subject(policy: Rule) -> Rule:
    rules: Rule = policy["subject_dn"]
    return rules


# What an order has, and does not have


@pytest.mark.parametrize("field", ["validity", "subject_dn", "public_key"])
def test_three_fields_are_required(customer: Customer, field: str) -> None:
    assert field in customer.wrong_fields(**{field: None})


@pytest.mark.parametrize("field", ["csr", "reference", "subject_da", "qualified_statements"])
def test_there_is_no_field_for_a_request_or_a_name_of_ours(customer: Customer, field: str) -> None:
    assert customer.wrong_fields(**{field: CSR}) == {field}


def test_subject_and_names_come_from_the_order_and_never_from_the_request(
    customer: Customer,
) -> None:
    certificate = customer.certificate()
    assert certificate.subject.rfc4514_string() == "CN=www.example.org"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["www.example.org", "mail.example.org"]
    without = customer.certificate(san=None)
    with pytest.raises(x509.ExtensionNotFound):
        without.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert customer.wrong_fields(san=None, subject_dn={}) == {"subject_dn"}


# Lifetime


def test_not_before_lies_within_the_policy_s_skew(customer: Customer, policy: Rule) -> None:
    policy["validity"] |= {"not_before_negative_skew": 100, "not_before_positive_skew": 50}
    for begin in (-110, 55):
        assert customer.wrong_fields(validity=validity(begin)) == {"validity.not_before"}
    for begin in (-90, 45):
        assert customer.submit(validity=validity(begin)).status_code == 201


def test_a_lifetime_lies_within_the_policy_s_bounds(customer: Customer, policy: Rule) -> None:
    policy["validity"] |= {"secondsmin": 100, "secondsmax": 1000}
    for lasts in (99, 1001, -5):
        assert customer.wrong_fields(validity=validity(0, lasts)) == {"validity.not_after"}
    for lasts in (100, 1000):
        assert customer.submit(validity=validity(0, lasts)).status_code == 201


def test_without_an_end_it_is_the_longest_lifetime(customer: Customer, policy: Rule) -> None:
    policy["validity"]["secondsmax"] = 5000
    for sent in (validity(0, None), validity(0, None) | {"not_after": 0}):
        found = customer.certificate(validity=sent)
        lasts = found.not_valid_after_utc - found.not_valid_before_utc
        assert lasts.total_seconds() == 5000


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"not_before": "now"},
        {"not_before": 1.5},
        {"not_before": True},
        {"not_before": None},
        "now",
    ],
)
def test_times_are_whole_seconds(customer: Customer, sent: Any) -> None:
    assert customer.wrong_fields(validity=sent) == {"validity"}


# Proof of possession


def test_a_request_is_wanted_where_the_policy_says_pkcs10(customer: Customer) -> None:
    assert spki_of(customer.certificate().public_key()) == spki_of(KEY.public_key())
    assert customer.submit(public_key=CSR.strip()).status_code == 201
    assert customer.wrong_fields(public_key=bare(KEY)) == {"public_key"}
    der = x509.load_pem_x509_csr(CSR.encode()).public_bytes(Encoding.DER)
    forged = x509.load_der_x509_csr(der[:-1] + bytes([der[-1] ^ 1]))
    text = forged.public_bytes(Encoding.PEM).decode()
    assert customer.wrong_fields(public_key=text) == {"public_key"}
    assert customer.wrong_fields(public_key_signature=signed(KEY)) == {"public_key_signature"}


def test_a_bare_key_is_wanted_without_a_proof(customer: Customer, policy: Rule) -> None:
    policy["public_key"]["key_format"] = "PKCS8"
    for text in (bare(KEY), bare(KEY).strip()):
        assert customer.submit(public_key=text).status_code == 201
    assert customer.wrong_fields() == {"public_key"}


def test_a_bare_key_has_lines_of_64_characters(customer: Customer, policy: Rule) -> None:
    policy["public_key"]["key_format"] = "PKCS8"
    head, *lines, foot = bare(RSA_KEY).strip().split("\n")
    text = "".join(lines)
    wide = [text[at : at + 76] for at in range(0, len(text), 76)]
    assert customer.wrong_fields(public_key="\n".join([head, *wide, foot])) == {"public_key"}
    assert customer.submit(public_key=bare(RSA_KEY)).status_code == 201


@pytest.mark.parametrize("key", [KEY, RSA_KEY], ids=["ecdsa", "rsa"])
def test_a_bare_key_is_signed_by_itself_where_the_policy_says_so(
    customer: Customer, policy: Rule, key: Any
) -> None:
    policy["public_key"]["key_format"] = "PKCS8"
    policy["public_key_signature"] = "REQUIRED"
    sent = {"public_key": bare(key)}
    assert customer.submit(**sent, public_key_signature=signed(key)).status_code == 201
    foreign = signed(key, by=make_key(KeyType.RSA if key is RSA_KEY else KeyType.P256, which=9))
    for signature in (foreign, "no base64", None):
        assert customer.wrong_fields(**sent, public_key_signature=signature) == {
            "public_key_signature"
        }


def test_keys_are_of_the_type_and_length_of_the_policy(customer: Customer, policy: Rule) -> None:
    rsa = make_csr(RSA_KEY)
    policy["public_key"] |= {"key_type": "RSA", "allowed_lengths": [256, 2048]}
    assert customer.wrong_fields() == {"public_key"}
    assert customer.submit(public_key=rsa).status_code == 201
    policy["public_key"]["allowed_lengths"] = [4096]
    assert customer.wrong_fields(public_key=rsa) == {"public_key"}


def test_other_keys_than_rsa_and_nist_curves_are_refused(customer: Customer) -> None:
    assert customer.wrong_fields(public_key=make_csr(make_key(KeyType.ED25519))) == {"public_key"}
    assert customer.wrong_fields(public_key="nothing") == {"public_key"}


# Subject


def test_a_subject_has_every_attribute_that_was_sent(customer: Customer) -> None:
    sent = {
        "common_name": "www.example.org",
        "organization": "Example",
        "organizational_unit": ["Ops", "Web"],
        "country": "GB",
        "state": "Kent",
        "locality": "Maidstone",
    }
    found = customer.certificate(subject_dn=sent).subject
    expected = [
        (NameOID.COUNTRY_NAME, ["GB"]),
        (NameOID.STATE_OR_PROVINCE_NAME, ["Kent"]),
        (NameOID.LOCALITY_NAME, ["Maidstone"]),
        (NameOID.ORGANIZATION_NAME, ["Example"]),
        (NameOID.COMMON_NAME, ["www.example.org"]),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, ["Ops", "Web"]),
    ]
    for oid, values in expected:
        assert [one.value for one in found.get_attributes_for_oid(oid)] == values


def test_a_required_attribute_may_not_be_missing(customer: Customer, subject: Rule) -> None:
    subject["organization"] = {"presence": "REQUIRED", "format": "^Ex"}
    assert customer.wrong_fields() == {"subject_dn.organization"}
    sent = {"common_name": "a", "organization": "Example"}
    assert customer.submit(subject_dn=sent).status_code == 201
    assert customer.wrong_fields(subject_dn=sent | {"organization": "Other"}) == {
        "subject_dn.organization"
    }


def test_a_forbidden_attribute_may_not_be_there(customer: Customer, subject: Rule) -> None:
    subject["locality"] = {"presence": "FORBIDDEN", "format": ""}
    for name in ("locality", "pseudonym", "jurisdiction_of_incorporation_country_name"):
        sent = {"common_name": "a", name: "GB"}
        assert customer.wrong_fields(subject_dn=sent) == {f"subject_dn.{name}"}


def test_a_static_attribute_is_filled_in(customer: Customer, subject: Rule) -> None:
    subject["organization"] = {"presence": "STATIC", "format": "GMO Example"}
    for sent in ({"common_name": "a"}, {"common_name": "a", "organization": "GMO Example"}):
        found = customer.certificate(subject_dn=sent).subject
        assert found.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "GMO Example"
    other = {"common_name": "a", "organization": "Other"}
    assert customer.wrong_fields(subject_dn=other) == {"subject_dn.organization"}


def test_an_attribute_matches_its_format(customer: Customer) -> None:
    for country in ("gb", "GBR", "", 7):
        sent = {"common_name": "a", "country": country}
        assert customer.wrong_fields(subject_dn=sent) == {"subject_dn.country"}
    assert customer.wrong_fields(subject_dn={"common_name": "a" * 65}) == {"subject_dn.common_name"}
    assert customer.wrong_fields(subject_dn={"commonName": "a"}) >= {"subject_dn.commonName"}


def test_units_are_as_many_as_the_policy_says(customer: Customer, subject: Rule) -> None:
    subject["organizational_unit"] |= {"mincount": 1, "maxcount": 2, "list": ["^[a-z]+$"]}
    field = {"subject_dn.organizational_unit"}
    for units in ([], ["a", "b", "c"], ["A"], "a", [1]):
        sent = {"common_name": "a", "organizational_unit": units}
        assert customer.wrong_fields(subject_dn=sent) == field, units
    sent = {"common_name": "a", "organizational_unit": ["a", "b"]}
    assert customer.submit(subject_dn=sent).status_code == 201


def test_other_attributes_go_by_their_identifiers(customer: Customer, subject: Rule) -> None:
    subject["extra_attributes"] = {
        "1.3.6.1.4.1.99999.1": {
            "static": False,
            "value_type": "UTF8STRING",
            "value_format": "^[a-z]+$",
            "mincount": 0,
            "maxcount": 1,
        },
        "1.3.6.1.4.1.99999.2": {
            "static": True,
            "value_type": "UTF8STRING",
            "value_format": "fixed",
            "mincount": 1,
            "maxcount": 1,
        },
    }
    extra = [{"type": "1.3.6.1.4.1.99999.1", "value": "free"}]
    text = customer.certificate(
        subject_dn={"common_name": "a", "extra_attributes": extra}
    ).subject.rfc4514_string()
    assert "1.3.6.1.4.1.99999.1=free" in text
    assert "1.3.6.1.4.1.99999.2=fixed" in text
    for wrong in (extra * 2, [{"type": "1.3.6.1.4.1.99999.1", "value": "NOT"}], [{"type": "1.2"}]):
        sent = {"common_name": "a", "extra_attributes": wrong}
        (field,) = customer.wrong_fields(subject_dn=sent)
        assert field.startswith("subject_dn.extra_attributes")
    unknown = [{"type": "1.2.3", "value": "x"}]
    assert customer.wrong_fields(subject_dn={"common_name": "a", "extra_attributes": unknown}) == {
        "subject_dn.extra_attributes.1.2.3"
    }


# Names


def test_names_go_by_kind(customer: Customer) -> None:
    names = {
        "dns_names": ["*.example.org"],
        "ip_addresses": ["192.0.2.7", "2001:db8::7"],
        "emails": ["ops@example.org"],
        "uris": ["spiffe://example.org/web"],
    }
    certificate = customer.certificate(san=names)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == names["dns_names"]
    assert [str(one) for one in found.get_values_for_type(x509.IPAddress)] == names["ip_addresses"]
    assert found.get_values_for_type(x509.RFC822Name) == names["emails"]
    assert found.get_values_for_type(x509.UniformResourceIdentifier) == names["uris"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("dns_names", ["ops@example.org"]),
        ("dns_names", "www.example.org"),
        ("ip_addresses", ["www.example.org"]),
        ("ip_addresses", ["192.0.2.256"]),
        ("emails", ["www.example.org"]),
        ("uris", ["www.example.org"]),
        ("names", ["www.example.org"]),
    ],
)
def test_a_name_of_another_kind_is_refused(customer: Customer, kind: str, values: Any) -> None:
    assert customer.wrong_fields(san={kind: values}) == {f"san.{kind}"}


def test_names_are_as_many_and_as_critical_as_the_policy_says(
    customer: Customer, policy: Rule
) -> None:
    policy["san"]["dns_names"] |= {"mincount": 1, "maxcount": 1, "list": [r"\.example\.net$"]}
    policy["san"]["critical"] = True
    for names in ([], ["a.example.net", "b.example.net"], ["a.example.org"]):
        assert customer.wrong_fields(san={"dns_names": names}) == {"san.dns_names"}
    certificate = customer.certificate(san={"dns_names": ["a.example.net"]})
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert found.critical


def test_static_names_are_filled_in(customer: Customer, policy: Rule) -> None:
    policy["san"]["dns_names"] |= {"static": True, "list": ["fixed.example.org"]}
    assert customer.wrong_fields() == {"san.dns_names"}
    for san in (None, {"dns_names": ["fixed.example.org"]}):
        certificate = customer.certificate(san=san)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert found.get_values_for_type(x509.DNSName) == ["fixed.example.org"]


def test_other_names_have_the_policy_s_type(customer: Customer, policy: Rule) -> None:
    upn = "1.3.6.1.4.1.311.20.2.3"
    assert customer.wrong_fields(san={"other_names": [{"type": upn, "value": "a@b"}]}) == {
        f"san.other_names.{upn}"
    }
    policy["san"]["other_names"][upn] = {
        "static": False,
        "value_type": "UTF8STRING",
        "value_format": "@",
        "mincount": 0,
        "maxcount": 1,
    }
    certificate = customer.certificate(san={"other_names": [{"type": upn, "value": "a@b"}]})
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (other,) = found.get_values_for_type(x509.OtherName)
    assert other == x509.OtherName(x509.ObjectIdentifier(upn), b"\x0c\x03a@b")


# Usages, signature and extensions


def test_usages_are_those_of_the_policy(customer: Customer, policy: Rule) -> None:
    certificate = customer.certificate(extended_key_usages=[SERVER_AUTH, CLIENT_AUTH])
    found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(found.value) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not found.critical
    for wrong in (None, [], ["1.3.6.1.5.5.7.3.3"], ["serverAuth"]):
        assert customer.wrong_fields(extended_key_usages=wrong) == {"extended_key_usages"}
    policy["extended_key_usages"] = {
        "critical": True,
        "ekus": {"static": True, "list": [CLIENT_AUTH], "mincount": 1, "maxcount": 1},
    }
    assert customer.wrong_fields(extended_key_usages=[SERVER_AUTH]) == {"extended_key_usages"}
    certificate = customer.certificate(extended_key_usages=None)
    found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(found.value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert found.critical


def test_a_certificate_is_signed_as_was_asked(customer: Customer) -> None:
    plain = customer.certificate()
    assert isinstance(plain.signature_hash_algorithm, hashes.SHA256)
    assert isinstance(plain.signature_algorithm_parameters, padding.PKCS1v15)
    other = customer.certificate(signature={"algorithm": "RSA-PSS", "hash_algorithm": "SHA-512"})
    assert isinstance(other.signature_hash_algorithm, hashes.SHA512)
    assert isinstance(other.signature_algorithm_parameters, padding.PSS)


def test_a_signature_is_one_of_the_policy_s(customer: Customer, policy: Rule) -> None:
    wrong = {"algorithm": "DSA", "hash_algorithm": "SHA-1"}
    fields = {"signature.algorithm", "signature.hash_algorithm"}
    assert customer.wrong_fields(signature=wrong) == fields
    for rule in policy["signature"].values():
        rule["presence"] = "REQUIRED"
    assert customer.wrong_fields() == fields
    right = {"algorithm": "RSA", "hash_algorithm": "SHA-384"}
    assert customer.submit(signature=right).status_code == 201
    policy["signature"]["hash_algorithm"]["presence"] = "STATIC"
    assert customer.wrong_fields(signature=right) == {"signature.hash_algorithm"}
    del policy["signature"]
    assert customer.wrong_fields(signature=right) == fields
    assert customer.submit().status_code == 201


def test_must_staple_is_an_extension_that_the_policy_allows(
    customer: Customer, policy: Rule
) -> None:
    certificate = customer.certificate(custom_extensions={MUST_STAPLE_OID: MUST_STAPLE_DER})
    feature = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
    assert list(feature) == [x509.TLSFeatureType.status_request]
    field = {f"custom_extensions.{MUST_STAPLE_OID}"}
    assert customer.wrong_fields(custom_extensions={MUST_STAPLE_OID: "3003020111"}) == field
    policy["custom_extensions"] = {}
    assert customer.wrong_fields(custom_extensions={MUST_STAPLE_OID: MUST_STAPLE_DER}) == field


@pytest.mark.parametrize(
    ("kind", "value", "der", "wrong"),
    [
        ("IA5STRING", "abc", "1603616263", "ä"),
        ("PRINTABLESTRING", "abc", "1303616263", "ä"),
        ("UTF8STRING", "ä", "0c02c3a4", 7),
        ("INTEGER", "128", "02020080", "one"),
        ("DER", "0500", "0500", "05zz"),
        ("NIL", "", "0500", "something"),
    ],
)
def test_extensions_have_values_of_the_policy_s_type(
    customer: Customer, policy: Rule, kind: str, value: str, der: str, wrong: Any
) -> None:
    oid = "1.3.6.1.4.1.99999.3"
    policy["custom_extensions"] = {
        oid: {"presence": "OPTIONAL", "critical": False, "value_type": kind, "value_format": ""}
    }
    certificate = customer.certificate(custom_extensions={oid: value})
    (found,) = [one for one in certificate.extensions if one.oid.dotted_string == oid]
    assert isinstance(found.value, x509.UnrecognizedExtension)
    assert found.value.value.hex() == der
    assert customer.wrong_fields(custom_extensions={oid: wrong}) == {f"custom_extensions.{oid}"}


def test_a_static_extension_is_filled_in(customer: Customer, policy: Rule) -> None:
    policy["custom_extensions"][MUST_STAPLE_OID] |= {
        "presence": "STATIC",
        "value_format": MUST_STAPLE_DER,
    }
    found = customer.certificate().extensions.get_extension_for_class(x509.TLSFeature)
    assert list(found.value) == [x509.TLSFeatureType.status_request]


def test_every_wrong_field_is_named_at_once(customer: Customer) -> None:
    wrong = customer.wrong_fields(
        validity=validity(DAY),
        subject_dn={"country": "x"},
        san={"emails": ["none"]},
        public_key="none",
    )
    assert wrong == {"validity.not_before", "subject_dn.country", "san.emails", "public_key"}
