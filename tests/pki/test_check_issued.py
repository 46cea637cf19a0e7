"""The look at a certificate that a CA sent, and PEM."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certctl.domain.keys import KeyType
from certctl.domain.names import parse_names
from certctl.domain.usages import Usage
from certctl.pki.certificates import (
    WrongCertificate,
    chain_pem,
    check_issued,
    split_pem_certificates,
    to_pem,
)
from certctl.pki.keys import classify, spki_of
from tests.support.pki import NOW, NOW_MS, make_authority, make_ca, make_key, make_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

NAMES = ["www.example.org", "*.example.org", "10.0.0.1", "a@example.org", "spiffe://td/x"]
SPKI = spki_of(make_key().public_key())


def _leaf(names: Sequence[str] = NAMES, **changes: Any) -> x509.Certificate:
    key, key_type, _ = classify(make_key().public_key())
    arguments: dict[str, Any] = {
        "public_key": key,
        "spki": SPKI,
        "key_type": key_type,
        "common_name": None,
        "names": parse_names(names),
        "usages": (Usage.SERVER_AUTH,),
        "validity_seconds": 86_400,
        "must_staple": False,
        "now_ms": NOW_MS,
    }
    return make_authority(sub=True).issue(**{**arguments, **changes})


def _check(
    certificate: x509.Certificate, chain: Sequence[x509.Certificate], **changes: Any
) -> None:
    arguments = {"spki": SPKI, "names": parse_names(NAMES), "now_ms": NOW_MS}
    check_issued(certificate, chain, **{**arguments, **changes})


def test_what_was_asked_for_passes() -> None:
    chain = make_authority(sub=True).chain
    _check(_leaf(), chain)
    _check(_leaf(), chain[:1])
    _check(_leaf(), [])
    _check(_leaf([*NAMES, "extra.example.org"]), chain)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spki": spki_of(make_key(KeyType.P384).public_key())}, "another public key"),
        ({"names": parse_names(["other.example.org"])}, "lacks names"),
        ({"names": parse_names(["sub.www.example.org"])}, "lacks names"),
        ({"now_ms": NOW_MS + 2 * 86_400_000}, "expired"),
    ],
)
def test_another_certificate_is_wrong(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(WrongCertificate, match=words):
        _check(_leaf(), make_authority(sub=True).chain, **changes)


def test_a_ca_certificate_is_wrong() -> None:
    certificate = make_ca(make_key(), make_root())
    with pytest.raises(WrongCertificate, match="CA certificate"):
        _check(certificate, make_authority().chain, names=())


def test_a_certificate_without_time_is_wrong() -> None:
    certificate = make_ca(
        make_key(), make_root(), ca=False, not_before=NOW, not_after=NOW - timedelta(days=1)
    )
    with pytest.raises(WrongCertificate, match="never valid"):
        _check(certificate, make_authority().chain, names=())


def test_a_chain_that_does_not_link_is_wrong() -> None:
    sub, root = make_authority(sub=True).chain
    # The same name, another key.
    impostor = make_ca(make_key(which=2), make_root())
    other_root = make_root(KeyType.ED25519)[1]
    for chain in ([root, sub], [impostor, root], [sub, other_root], [root]):
        with pytest.raises(WrongCertificate, match="does not link"):
            _check(_leaf(), chain)


def test_pem_goes_round() -> None:
    chain = make_authority(sub=True).chain
    for certificate in chain:
        expected = certificate.public_bytes(Encoding.PEM).decode()
        assert to_pem(certificate) == expected
        assert to_pem(certificate.public_bytes(Encoding.DER)) == expected
    text = "subject=Sub CA\n" + chain_pem(chain).replace("\n", "\r\n")
    assert split_pem_certificates(text) == list(chain)
    assert split_pem_certificates("") == []


@pytest.mark.parametrize("damage", [lambda t: t[:-30], lambda t: t.replace("MII", "M!I", 1)])
def test_damaged_pem_is_an_error(damage: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        split_pem_certificates(damage(to_pem(make_root()[1])))


def test_a_certificate_of_an_unknown_version_is_no_certificate() -> None:
    der = (
        make_root()[1]
        .public_bytes(Encoding.DER)
        .replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    )
    with pytest.raises(ValueError, match="version"):
        split_pem_certificates(to_pem(der))
