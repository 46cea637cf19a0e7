"""Where a leaf says that its status is told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from certctl.domain.keys import KeyType
from tests.support.pki import NOW, STATUS, make_authority, make_leaf

if TYPE_CHECKING:
    from certctl.ca.extensions import StatusAddresses

HOUR = 3600
NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")


def access(certificate: x509.Certificate) -> dict[x509.ObjectIdentifier, str] | None:
    """The URL of each method in authorityInfoAccess, None without the extension."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except x509.ExtensionNotFound:
        return None
    assert not found.critical
    return {about.access_method: about.access_location.value for about in found.value}


def crl_urls(certificate: x509.Certificate) -> list[str] | None:
    """The URLs of all CRL distribution points, None without the extension."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    except x509.ExtensionNotFound:
        return None
    assert not found.critical
    urls = []
    for point in found.value:
        assert point.relative_name is None
        assert point.reasons is None
        assert point.crl_issuer is None
        urls += [name.value for name in point.full_name or ()]
    return urls


def says_no_status(certificate: x509.Certificate) -> bool:
    """Whether there is noRevAvail, as RFC 9608 §2 wants it."""
    try:
        found = certificate.extensions.get_extension_for_oid(NO_REV_AVAIL)
    except x509.ExtensionNotFound:
        return False
    assert not found.critical
    assert isinstance(found.value, x509.UnrecognizedExtension)
    assert found.value.value == b"\x05\x00"
    return True


@pytest.mark.parametrize("sub", [False, True], ids=["root", "sub"])
@pytest.mark.parametrize("ca_type", KeyType)
def test_leaf_says_where_its_status_is_told(ca_type: KeyType, sub: bool) -> None:
    leaf = make_leaf(make_authority(ca_type, sub=sub, status=STATUS))
    assert access(leaf) == {
        AuthorityInformationAccessOID.OCSP: STATUS.ocsp,
        AuthorityInformationAccessOID.CA_ISSUERS: STATUS.ca,
    }
    assert crl_urls(leaf) == [f"{STATUS.crl}/{f'{leaf.serial_number:040x}'[-1]}"]
    assert not says_no_status(leaf)


def test_last_digit_of_the_serial_chooses_the_crl() -> None:
    authority = make_authority(status=STATUS)
    found = [crl_urls(make_leaf(authority, serial=0x1230 + digit)) for digit in range(16)]
    assert found == [[f"{STATUS.crl}/{digit}"] for digit in "0123456789abcdef"]


@pytest.mark.parametrize("ca_type", KeyType)
@pytest.mark.parametrize("status", [None, STATUS], ids=["no-addresses", "addresses"])
def test_below_an_hour_no_status_is_told(ca_type: KeyType, status: StatusAddresses | None) -> None:
    authority = make_authority(ca_type, status=status)
    short = make_leaf(authority, validity_seconds=HOUR - 1)
    assert says_no_status(short)
    assert access(short) is None
    assert crl_urls(short) is None
    assert not says_no_status(make_leaf(authority, validity_seconds=HOUR))


def test_from_an_hour_on_status_is_told() -> None:
    leaf = make_leaf(make_authority(status=STATUS), validity_seconds=HOUR)
    assert access(leaf)
    assert crl_urls(leaf)


@pytest.mark.parametrize(("seconds", "short"), [(HOUR - 2, True), (HOUR - 1, False)])
def test_what_counts_is_how_long_it_lasts_not_what_was_asked(seconds: int, short: bool) -> None:
    # Both the first and the last second count, and the CA's own end comes first here.
    end = NOW + timedelta(seconds=seconds)
    authority = make_authority(sub=True, status=STATUS, not_before=NOW, not_after=end)
    assert says_no_status(make_leaf(authority)) is short


def test_without_addresses_nothing_is_said() -> None:
    leaf = make_leaf(make_authority())
    assert (access(leaf), crl_urls(leaf), says_no_status(leaf)) == (None, None, False)


@pytest.mark.parametrize("ca_type", KeyType)
def test_ca_that_may_not_sign_crls_names_none(ca_type: KeyType) -> None:
    authority = make_authority(ca_type, sub=True, status=STATUS, crl_sign=False)
    assert not authority.signs_crl
    leaf = make_leaf(authority)
    assert crl_urls(leaf) is None
    assert access(leaf)


def test_ca_without_key_usage_may_sign_crls() -> None:
    authority = make_authority(sub=True, status=STATUS, key_usages=False)
    assert authority.signs_crl
    assert crl_urls(make_leaf(authority))


def test_must_staple_needs_a_status() -> None:
    authority = make_authority(status=STATUS)
    with pytest.raises(ValueError, match="status to staple"):
        make_leaf(authority, validity_seconds=HOUR - 1, must_staple=True)
    leaf = make_leaf(authority, validity_seconds=HOUR, must_staple=True)
    assert access(leaf)
