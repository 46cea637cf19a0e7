"""Certificate revocation lists that our CA signs, and what has to stand in the next one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certctl.ca.crl import CrlEntry, keeps_entry
from certctl.domain.errors import Misconfigured
from certctl.domain.keys import KeyType
from certctl.domain.revocations import RevocationReason
from certctl.pki.keys import spki_of, subject_key_identifier
from tests.ca.status import HOUR_MS, make_crl
from tests.support.pki import NOW, NOW_MS, make_authority, make_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certctl.ca.authority import CertificateAuthority

EARLIER_MS = NOW_MS - HOUR_MS


def crl_of(
    authority: CertificateAuthority, entries: Iterable[CrlEntry] = (), **options: Any
) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(make_crl(authority, entries, **options))


def found(crl: x509.CertificateRevocationList, kind: type[Any]) -> Any:
    return crl.extensions.get_extension_for_class(kind)


@pytest.mark.parametrize("sub", [False, True], ids=["root", "sub"])
@pytest.mark.parametrize("ca_type", KeyType)
def test_every_ca_key_signs_crls(ca_type: KeyType, sub: bool) -> None:
    authority = make_authority(ca_type, sub=sub)
    crl = crl_of(authority, [CrlEntry(5, EARLIER_MS, RevocationReason.SUPERSEDED)], number=77)
    key: Any = authority.certificate.public_key()
    assert crl.is_signature_valid(key)
    assert crl.issuer == authority.certificate.subject
    own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert found(crl, x509.AuthorityKeyIdentifier).value.key_identifier == own.value.digest
    number = found(crl, x509.CRLNumber)
    assert (number.value.crl_number, number.critical) == (77, False)
    assert [entry.serial_number for entry in crl] == [5]


def test_times_are_whole_seconds_rounded_down() -> None:
    crl = crl_of(
        make_authority(),
        [CrlEntry(5, EARLIER_MS + 999, RevocationReason.SUPERSEDED)],
        this_update_ms=NOW_MS + 999,
    )
    assert crl.last_update_utc == NOW
    assert crl.next_update_utc == NOW + timedelta(days=1)
    assert crl[0].revocation_date_utc == NOW - timedelta(hours=1)


@pytest.mark.parametrize("reason", RevocationReason)
def test_reasons(reason: RevocationReason) -> None:
    (entry,) = crl_of(make_authority(), [CrlEntry(5, EARLIER_MS, reason)])
    if reason is RevocationReason.UNSPECIFIED:
        assert len(entry.extensions) == 0
        return
    (extension,) = entry.extensions
    assert isinstance(extension.value, x509.CRLReason)
    assert extension.value.reason.value == reason.value
    assert not extension.critical


def test_ca_without_identifier_has_its_own_computed() -> None:
    authority = make_authority(sub=True, key_identifier=False)
    identifier = found(crl_of(authority), x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == subject_key_identifier(spki_of(make_key(which=1).public_key()))


def test_ca_that_may_not_sign_crls() -> None:
    with pytest.raises(Misconfigured) as caught:
        crl_of(make_authority(sub=True, crl_sign=False))
    assert caught.value.code == "ca-cannot-sign-crls"
    assert list(crl_of(make_authority(sub=True, key_usages=False))) == []


def test_many_entries_in_their_order() -> None:
    serials = [2**158 + number * 3 for number in range(10_000)]
    reasons = list(RevocationReason)
    crl = crl_of(
        make_authority(),
        (
            CrlEntry(serial, EARLIER_MS, reasons[serial % len(reasons)])
            for serial in reversed(serials)
        ),
    )
    assert [entry.serial_number for entry in crl] == serials[::-1]
    assert crl.get_revoked_certificate_by_serial_number(serials[4711]) is not None
    assert crl.get_revoked_certificate_by_serial_number(serials[4711] + 1) is None


moments = st.integers(0, 20_000)
# Not two in one second: a CRL's number grows, and so does its time.
updates_ms = st.lists(moments, unique_by=lambda moment: moment // 1000).map(sorted)


@given(not_after_ms=moments, updates=updates_ms)
def test_entry_is_on_every_crl_up_to_the_first_after_its_end(
    not_after_ms: int, updates: list[int]
) -> None:
    # RFC 5280 §3.3. What counts are the seconds that stand in certificate and CRL.
    listed = [
        update
        for update, previous in zip(updates, [None, *updates], strict=False)
        if keeps_entry(not_after_ms, previous)
    ]
    until_its_end = [update for update in updates if update // 1000 <= not_after_ms // 1000]
    after = updates[len(until_its_end) :]
    assert listed == [*until_its_end, *after[:1]]
