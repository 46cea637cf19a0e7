"""Whatever comes in, requests are read or refused in the words that are meant for it."""

from __future__ import annotations

import base64
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequestBuilder
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from certctl.ca.extensions import key_usage
from certctl.domain.errors import InvalidInput
from certctl.domain.keys import KeyType
from certctl.pki.ocsp import BadQuery, decode_get, parse_query
from certctl.pki.requests import parse_request
from tests.support.bad_csrs import pem, tlv
from tests.support.mutations import mutate, mutate_inside, resident_bytes
from tests.support.pki import make_authority, make_csr, make_key, make_leaf

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 40_000
WARM_UP = 5_000
# Bytes: some sixty that are not given back each time.
MOST_GROWTH = 2 * 2**20


@cache
def valid_queries() -> list[bytes]:
    """OCSP requests of all kinds that are read."""
    authority = make_authority()
    leaf = make_leaf(authority)
    found = []
    for algorithm in (hashes.SHA1(), hashes.SHA256(), hashes.SHA512()):  # noqa: S303 - what is sent
        builder = OCSPRequestBuilder().add_certificate(leaf, authority.certificate, algorithm)
        found.append(builder.build())
        builder = builder.add_extension(x509.OCSPNonce(b"n" * 32), critical=False)
        found.append(builder.build())
        acceptable = x509.OCSPAcceptableResponses([x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.1")])
        found.append(builder.add_extension(acceptable, critical=False).build())
    return [query.public_bytes(Encoding.DER) for query in found]


@cache
def full_request(key_type: KeyType = KeyType.P256) -> str:
    """A certificate request with everything in it that is looked at."""
    return make_csr(
        make_key(key_type),
        ["www.example.org", "10.0.0.1", "::1", "ann@example.org", "spiffe://example.org/x"],
        "www.example.org",
        [
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
            x509.BasicConstraints(ca=False, path_length=None),
            key_usage(digital_signature=True),
        ],
    )


def read_query(der: bytes) -> bool:
    """Whether it is read; anything but BadQuery gets out."""
    try:
        parse_query(der)
    except BadQuery:
        return False
    return True


def read_get(text: str) -> bool:
    """Likewise for the path of a GET."""
    try:
        return read_query(decode_get(text))
    except BadQuery:
        return False


def read_request(text: str) -> bool:
    """Likewise for a certificate request; anything but InvalidInput gets out."""
    try:
        parse_request(text)
    except InvalidInput:
        return False
    return True


def der_of(text: str) -> bytes:
    return x509.load_pem_x509_csr(text.encode()).public_bytes(Encoding.DER)


def signed(info: bytes) -> str:
    """A request with a P-256 signature over a CertificationRequestInfo (RFC 2986 §4.1)."""
    key = make_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    algorithm = tlv(0x30, tlv(0x06, bytes.fromhex("2a8648ce3d040302")))
    signature = key.sign(info, ec.ECDSA(hashes.SHA256()))
    return pem(tlv(0x30, info, algorithm, tlv(0x03, b"\x00", signature)))


# --- damage


def damaged_query(chance: Random) -> bool:
    return read_query(mutate(chance, chance.choice(valid_queries())))


def query_damaged_inside(chance: Random) -> bool:
    return read_query(mutate_inside(chance, chance.choice(valid_queries())))


def damaged_get(chance: Random) -> bool:
    text = base64.b64encode(chance.choice(valid_queries()))
    return read_get(mutate(chance, text).decode("latin-1"))


def damaged_request(chance: Random) -> bool:
    """A certificate request whose text, or DER, was damaged after it was signed."""
    text = full_request(chance.choice(list(KeyType)))
    if chance.random() < 0.5:
        return read_request(mutate(chance, text.encode()).decode("latin-1"))
    return read_request(pem(mutate(chance, der_of(text))))


def request_signed_after_damage(chance: Random) -> bool:
    """One with a good signature over the damage: what is behind the signature reads it."""
    info = x509.load_pem_x509_csr(full_request().encode()).tbs_certrequest_bytes
    return read_request(signed(mutate_inside(chance, info)))


DAMAGES = [
    damaged_query,
    query_damaged_inside,
    damaged_get,
    damaged_request,
    request_signed_after_damage,
]


@pytest.mark.parametrize("damage", DAMAGES)
@settings(deadline=None)  # the first one makes the keys
@given(chance=st.randoms())
def test_damage_is_read_or_refused(damage: Callable[[Random], bool], chance: Random) -> None:
    damage(chance)


# A signature makes whoever reads the rest of a damaged request refuse it.
@pytest.mark.parametrize("damage", [one for one in DAMAGES if one is not damaged_request])
def test_some_damage_is_read_and_some_refused(damage: Callable[[Random], bool]) -> None:
    chance = Random(1)
    assert {damage(chance) for _ in range(500)} == {True, False}


@pytest.mark.soak
@pytest.mark.parametrize("damage", DAMAGES)
def test_much_damage_leaves_nothing_behind(damage: Callable[[Random], bool]) -> None:
    chance = Random(2)
    for _ in range(WARM_UP):
        damage(chance)
    before = resident_bytes()
    for _ in range(LONG - WARM_UP):
        damage(chance)
    assert resident_bytes() - before < MOST_GROWTH


@given(st.binary(max_size=300))
def test_any_octets_are_no_query(der: bytes) -> None:
    assert not read_query(der)


@given(st.text() | st.text("ABCDEFabcdef0123456789+/=", max_size=100))
def test_any_text_is_no_get_and_no_request(text: str) -> None:
    assert not read_get(text)
    assert not read_request(text)
