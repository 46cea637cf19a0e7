"""Signatures over a bare public key: what is made is read, and nothing else is."""

from __future__ import annotations

import base64
from functools import cache
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from certctl.domain.errors import InvalidInput
from certctl.domain.keys import KeyType
from certctl.pki.key_signatures import parse_key_signature, sign_key
from certctl.pki.requests import parse_request
from tests.support.mutations import mutate
from tests.support.pki import make_csr, make_key

if TYPE_CHECKING:
    from random import Random

    from certctl.pki.keys import PrivateKey
    from certctl.pki.requests import CertificateRequest

SIGNING = [KeyType.RSA, KeyType.P256, KeyType.P384, KeyType.P521]
OTHERS = [KeyType.ED25519, KeyType.ED448]


def request_of(key: PrivateKey) -> CertificateRequest:
    return parse_request(make_csr(key, ["www.example.org"]))


REQUESTS = {key_type: request_of(make_key(key_type)) for key_type in KeyType}


def code_of(text: str, request: CertificateRequest) -> str | None:
    """How it is refused; None where it is read. Anything but InvalidInput gets out."""
    try:
        parse_key_signature(text, request)
    except InvalidInput as refusal:
        error = refusal
    else:
        return None
    assert error.field == "key_signature"
    assert error.hint
    # A shorter text may be a word of ours by chance.
    assert len(text) < 16 or text not in f"{error.detail} {error.hint}", "it is told again"
    return error.code


@cache
def signed(key_type: KeyType) -> str:
    """One good signature of each type: ECDSA's differ each time, in length too."""
    return sign_key(make_key(key_type))


def in_base64(signature: bytes) -> str:
    return base64.b64encode(signature).decode()


@pytest.mark.parametrize("key_type", SIGNING)
def test_what_is_signed_here_is_read(key_type: KeyType) -> None:
    text = sign_key(make_key(key_type))
    assert parse_key_signature(text, REQUESTS[key_type]) == base64.b64decode(text)


def test_it_is_a_signature_over_the_public_key_alone_with_sha_256() -> None:
    key = make_key(KeyType.RSA)
    assert isinstance(key, rsa.RSAPrivateKey)
    key.public_key().verify(
        base64.b64decode(sign_key(key)),
        REQUESTS[KeyType.RSA].spki,
        padding.PKCS1v15(),
        hashes.SHA256(),
    )
    curve = make_key(KeyType.P384)
    assert isinstance(curve, ec.EllipticCurvePrivateKey)
    curve.public_key().verify(
        base64.b64decode(sign_key(curve)), REQUESTS[KeyType.P384].spki, ec.ECDSA(hashes.SHA256())
    )


@pytest.mark.parametrize("key_type", OTHERS)
def test_keys_it_is_not_defined_for(key_type: KeyType) -> None:
    with pytest.raises(InvalidInput) as refused:
        sign_key(make_key(key_type))
    assert refused.value.code == "key-signature-key-type"
    assert refused.value.hint
    good = sign_key(make_key(KeyType.P256))
    assert code_of(good, REQUESTS[key_type]) == "key-signature-key-type"
    assert code_of("no signature at all", REQUESTS[key_type]) == "key-signature-key-type"


@pytest.mark.parametrize("key_type", SIGNING)
def test_the_signature_of_another_key_is_wrong(key_type: KeyType) -> None:
    other = sign_key(make_key(key_type, which=3))
    assert code_of(other, REQUESTS[key_type]) == "key-signature-wrong"


def test_a_signature_made_in_another_way_is_wrong() -> None:
    key, request = make_key(KeyType.RSA), REQUESTS[KeyType.RSA]
    assert isinstance(key, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    made = [
        key.sign(request.spki, pss, hashes.SHA256()),
        key.sign(request.spki, padding.PKCS1v15(), hashes.SHA512()),
        key.sign(request.der, padding.PKCS1v15(), hashes.SHA256()),
    ]
    for signature in made:
        assert code_of(in_base64(signature), request) == "key-signature-wrong"


def test_an_ecdsa_signature_that_is_not_der_is_wrong() -> None:
    r, s = decode_dss_signature(base64.b64decode(sign_key(make_key())))
    bare = r.to_bytes(32) + s.to_bytes(32)
    assert code_of(in_base64(bare), REQUESTS[KeyType.P256]) == "key-signature-wrong"


@pytest.mark.parametrize("key_type", SIGNING)
def test_nothing_may_follow_the_signature(key_type: KeyType) -> None:
    more = base64.b64decode(sign_key(make_key(key_type))) + b"\0"
    assert code_of(in_base64(more), REQUESTS[key_type]) == "key-signature-wrong"


@pytest.mark.parametrize(
    "text",
    ["", " \n", "signature", "MEUCIQ", "MEU=CIQA", "MEUCIQ==MEUC", "-----BEGIN X-----", "MÉUC"],
)
@pytest.mark.parametrize("key_type", SIGNING)
def test_text_that_is_not_base64_is_unreadable(key_type: KeyType, text: str) -> None:
    assert code_of(text, REQUESTS[key_type]) == "key-signature-unreadable"


@given(st.sampled_from(SIGNING), st.data())
def test_white_space_does_not_matter(key_type: KeyType, data: st.DataObject) -> None:
    text = signed(key_type)
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from(["\n", "\r\n", " ", "\t"])) + text[at:]
    assert code_of(text, REQUESTS[key_type]) is None


@given(
    st.sampled_from(list(KeyType)),
    st.text()
    | st.text("ABCDEFabcdef0123456789+/= \n", max_size=2_048)
    | st.binary(max_size=1_200).map(in_base64),
)
def test_no_other_text_is_a_signature(key_type: KeyType, text: str) -> None:
    expected = {"key-signature-unreadable", "key-signature-wrong"}
    if key_type in OTHERS:
        expected = {"key-signature-key-type"}
    assert code_of(text, REQUESTS[key_type]) in expected


@settings(deadline=None)
@given(st.sampled_from(SIGNING), st.randoms())
def test_a_damaged_signature_is_refused(key_type: KeyType, chance: Random) -> None:
    good = base64.b64decode(signed(key_type))
    damaged = mutate(chance, good)
    if damaged != good:
        code = code_of(in_base64(damaged), REQUESTS[key_type])
        assert code in {"key-signature-wrong", "key-signature-unreadable"}
