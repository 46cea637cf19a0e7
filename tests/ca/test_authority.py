"""What our CA writes into certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certctl.ca.authority import BACKDATE, CertificateAuthority, create_root
from certctl.domain.errors import Misconfigured
from certctl.domain.keys import KeyType
from certctl.domain.names import parse_names
from certctl.domain.usages import Usage
from certctl.pki.certificates import check_issued
from certctl.pki.keys import spki_of, subject_key_identifier
from tests.support.pki import (
    NOW,
    NOW_MS,
    make_authority,
    make_ca,
    make_key,
    make_leaf,
    make_root,
)

DAY = 86_400
KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def found(certificate: x509.Certificate, kind: type[Any]) -> Any:
    return certificate.extensions.get_extension_for_class(kind)


@pytest.mark.parametrize(("ca_type", "key_type"), list(product(KeyType, KeyType)))
def test_every_ca_key_certifies_every_key(ca_type: KeyType, key_type: KeyType) -> None:
    authority = make_authority(ca_type)
    certificate = make_leaf(authority, key_type)
    check_issued(
        certificate,
        authority.chain,
        spki=spki_of(make_key(key_type).public_key()),
        names=parse_names(["www.example.org"]),
        now_ms=NOW_MS,
    )


@pytest.mark.parametrize(
    ("ca_type", "name"),
    [
        (KeyType.RSA, "sha256"),
        (KeyType.P256, "sha256"),
        (KeyType.P384, "sha384"),
        (KeyType.P521, "sha512"),
        (KeyType.ED25519, None),
    ],
)
def test_hash_goes_with_the_ca_key(ca_type: KeyType, name: str | None) -> None:
    digest = make_leaf(make_authority(ca_type)).signature_hash_algorithm
    assert (None if digest is None else digest.name) == name


def test_identifiers() -> None:
    authority = make_authority(sub=True)
    certificate = make_leaf(authority)
    assert found(certificate, x509.SubjectKeyIdentifier).value.digest == subject_key_identifier(
        spki_of(make_key().public_key())
    )
    above = found(authority.certificate, x509.SubjectKeyIdentifier).value.digest
    assert found(certificate, x509.AuthorityKeyIdentifier).value.key_identifier == above
    assert certificate.issuer == authority.certificate.subject
    assert certificate.serial_number.bit_length() <= 159
    assert make_leaf(authority).serial_number != certificate.serial_number
    assert make_leaf(authority, serial=7).serial_number == 7


def test_ca_without_identifier_has_its_own_computed() -> None:
    key = make_key(which=1)
    authority = CertificateAuthority(key, make_ca(key, key_identifier=False))
    certificate = make_leaf(authority)
    identifier = found(certificate, x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == subject_key_identifier(spki_of(key.public_key()))


def test_subject_and_names() -> None:
    certificate = make_leaf(make_authority())
    assert len(list(certificate.subject)) == 0
    assert found(certificate, x509.SubjectAlternativeName).critical
    certificate = make_leaf(make_authority(), common_name="www.example.org")
    assert [part.value for part in certificate.subject] == ["www.example.org"]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert not found(certificate, x509.SubjectAlternativeName).critical
    certificate = make_leaf(make_authority(), common_name="John Smith", names=())
    with pytest.raises(x509.ExtensionNotFound):
        found(certificate, x509.SubjectAlternativeName)
    with pytest.raises(ValueError, match="needs a name"):
        make_leaf(make_authority(), names=())


@pytest.mark.parametrize(
    ("usages", "key_type", "bits"),
    [
        ((Usage.SERVER_AUTH,), KeyType.P256, set()),
        ((Usage.SERVER_AUTH,), KeyType.RSA, {"key_encipherment"}),
        ((Usage.CLIENT_AUTH,), KeyType.RSA, set()),
        ((Usage.EMAIL_PROTECTION,), KeyType.RSA, {"key_encipherment", "content_commitment"}),
        ((Usage.EMAIL_PROTECTION,), KeyType.ED25519, {"content_commitment"}),
        ((Usage.CODE_SIGNING,), KeyType.RSA, set()),
        ((Usage.TIME_STAMPING,), KeyType.P384, {"content_commitment"}),
    ],
)
def test_key_usage(usages: tuple[Usage, ...], key_type: KeyType, bits: set[str]) -> None:
    extension = found(make_leaf(make_authority(), key_type, usages=usages), x509.KeyUsage)
    assert extension.critical
    assert {name for name in KEY_USAGES if getattr(extension.value, name)} == {
        "digital_signature",
        *bits,
    }


def test_extended_key_usage() -> None:
    certificate = make_leaf(make_authority(), usages=(Usage.SERVER_AUTH, Usage.CLIENT_AUTH))
    extension = found(certificate, x509.ExtendedKeyUsage)
    assert list(extension.value) == [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ]
    assert not extension.critical
    # RFC 3161 §2.3
    assert found(
        make_leaf(make_authority(), usages=(Usage.TIME_STAMPING,)), x509.ExtendedKeyUsage
    ).critical


def test_leaf_is_no_ca_and_must_staple_is_optional() -> None:
    constraints = found(make_leaf(make_authority()), x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    with pytest.raises(x509.ExtensionNotFound):
        found(make_leaf(make_authority()), x509.TLSFeature)
    feature = found(make_leaf(make_authority(), must_staple=True), x509.TLSFeature)
    assert list(feature.value) == [x509.TLSFeatureType.status_request]


def test_lifetime_counts_both_ends() -> None:
    certificate = make_leaf(make_authority(sub=True))
    assert certificate.not_valid_before_utc == NOW - timedelta(seconds=BACKDATE)
    lasts = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lasts == timedelta(days=90) - timedelta(seconds=1)


def test_leaf_stays_within_the_ca() -> None:
    authority = make_authority(sub=True)
    certificate = make_leaf(authority, validity_seconds=3650 * DAY)
    assert certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc
    key = make_key(which=1)
    fresh = CertificateAuthority(key, make_ca(key, not_before=NOW))
    assert make_leaf(fresh).not_valid_before_utc == NOW


def test_expired_ca_refuses() -> None:
    with pytest.raises(Misconfigured) as caught:
        make_leaf(make_authority(sub=True), now_ms=NOW_MS + 366 * DAY * 1000)
    assert caught.value.code == "ca-expired"


def test_times_from_2050_on() -> None:
    key = make_key(which=1)
    end = datetime(2090, 1, 1, tzinfo=UTC)
    authority = CertificateAuthority(key, make_ca(key, not_after=end))
    assert make_leaf(authority, validity_seconds=36_500 * DAY).not_valid_after_utc == end


def test_ca_limited_to_usages_says_so() -> None:
    key = make_key(which=1)
    limited = make_ca(key, usages=[ExtendedKeyUsageOID.SERVER_AUTH])
    assert CertificateAuthority(key, limited).usages == frozenset({Usage.SERVER_AUTH})
    anything = make_ca(key, usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    assert CertificateAuthority(key, anything).usages is None
    assert make_authority().usages is None


@pytest.mark.parametrize("key_type", list(KeyType))
def test_root(key_type: KeyType) -> None:
    key, root = create_root(
        common_name="Example Root", key_type=key_type, now_ms=NOW_MS, lifetime_days=10
    )
    assert root.issuer == root.subject
    root.verify_directly_issued_by(root)
    assert spki_of(key.public_key()) == spki_of(root.public_key())
    constraints = found(root, x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    usage = found(root, x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    lasts = root.not_valid_after_utc - root.not_valid_before_utc
    assert lasts == timedelta(days=10) - timedelta(seconds=1)


def test_issuing_at_the_first_moment_of_a_root() -> None:
    key, root = make_root()
    certificate = make_leaf(CertificateAuthority(key, root), now_ms=NOW_MS)
    assert certificate.not_valid_before_utc >= root.not_valid_before_utc
