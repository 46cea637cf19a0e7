"""Reading OCSP requests, and the answers that are errors."""

from __future__ import annotations

import base64
import binascii
from itertools import product
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import (
    OCSPRequestBuilder,
    OCSPResponseStatus,
    load_der_ocsp_request,
    load_der_ocsp_response,
)
from hypothesis import given
from hypothesis import strategies as st

from certctl.pki.ocsp import (
    MAX_QUERY_BYTES,
    BadQuery,
    OcspError,
    decode_get,
    error_response,
    parse_query,
)
from tests.support.bad_csrs import integer, tlv
from tests.support.pki import make_authority, make_leaf

if TYPE_CHECKING:
    from collections.abc import Sequence

HASHES: list[hashes.HashAlgorithm] = [
    hashes.SHA1(),  # noqa: S303 - what most clients send
    hashes.SHA256(),
    hashes.SHA384(),
    hashes.SHA512(),
]
SHA1 = bytes.fromhex("300906052b0e03021a0500")
MD5 = bytes.fromhex("300c06082a864886f70d02050500")
SHA224 = bytes.fromhex("300d06096086480165030402040500")
UNHEARD_OF = bytes.fromhex("300706052a030405060500"[:18])
NONCE = "2b0601050507300102"
SERVICE_LOCATOR = "2b0601050507300107"
ACCEPTABLE = "2b0601050507300104"
BASIC = tlv(0x30, tlv(0x06, bytes.fromhex("2b0601050507300101")))
OTHER = "2a030405"


def by_hash(
    serial: bytes = integer(5),
    *,
    algorithm: bytes = SHA1,
    name_hash: bytes = b"n" * 20,
    key_hash: bytes = b"k" * 20,
    single: Sequence[bytes] | None = None,
) -> bytes:
    """DER of one Request (RFC 6960 §4.1.1), with its singleRequestExtensions."""
    certificate = tlv(0x30, algorithm, tlv(0x04, name_hash), tlv(0x04, key_hash), serial)
    return tlv(0x30, certificate, b"" if single is None else tlv(0xA0, tlv(0x30, *single)))


def request(
    *asked: bytes,
    extensions: Sequence[bytes] | None = None,
    before: bytes = b"",
    signature: bytes = b"",
) -> bytes:
    """DER of an OCSPRequest; `before` goes before its list, as version and requestor do."""
    after = b"" if extensions is None else tlv(0xA2, tlv(0x30, *extensions))
    tbs = tlv(0x30, before, tlv(0x30, *(asked or (by_hash(),))), after)
    return tlv(0x30, tbs, signature)


def ext(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """DER of an Extension."""
    flag = b"\x01\x01\xff" if critical else b""
    return tlv(0x30, tlv(0x06, bytes.fromhex(oid)), flag, tlv(0x04, value))


def nonce(value: bytes, *, critical: bool = False) -> bytes:
    """DER of the nonce extension (RFC 9654 §2.1)."""
    return ext(NONCE, tlv(0x04, value), critical=critical)


def error_of(der: bytes) -> OcspError:
    with pytest.raises(BadQuery) as caught:
        parse_query(der)
    return caught.value.error


@pytest.mark.parametrize(
    ("algorithm", "value"),
    list(product(HASHES, [None, b"n", b"n" * 32, b"n" * 128])),
    ids=lambda part: getattr(part, "name", None) or str(len(part or b"")),
)
def test_what_clients_send_is_read(algorithm: hashes.HashAlgorithm, value: bytes | None) -> None:
    authority = make_authority()
    leaf = make_leaf(authority)
    builder = OCSPRequestBuilder().add_certificate(leaf, authority.certificate, algorithm)
    if value is not None:
        builder = builder.add_extension(x509.OCSPNonce(value), critical=False)
    built = builder.build()
    query = parse_query(built.public_bytes(Encoding.DER))
    assert query.serial == leaf.serial_number
    assert query.hash_algorithm.name == algorithm.name
    assert query.issuer_name_hash == built.issuer_name_hash
    assert query.issuer_key_hash == built.issuer_key_hash
    assert query.nonce == value


def test_equal_questions_compare_equal() -> None:
    assert parse_query(request()) == parse_query(request())
    assert parse_query(request()) != parse_query(request(by_hash(integer(6))))


# A GeneralName: rfc822Name
REQUESTOR = tlv(0xA1, tlv(0x81, b"ann@example.org"))
# sha256WithRSAEncryption, a signature that nobody made, and no certificates
SIGNATURE = tlv(
    0xA0,
    tlv(0x30, bytes.fromhex("300d06092a864886f70d01010b0500"), tlv(0x03, b"\x00" + b"s" * 256)),
)


@pytest.mark.parametrize(
    "der",
    [
        request(extensions=[nonce(b"n" * 16, critical=True)]),
        request(extensions=[ext(ACCEPTABLE, BASIC)]),
        request(extensions=[ext(ACCEPTABLE, BASIC, critical=True)]),
        request(extensions=[ext(OTHER, b"\x05\x00")]),
        request(by_hash(single=[ext(SERVICE_LOCATOR, b"\x30\x00")])),
        request(by_hash(single=[ext(OTHER, b"\x05\x00"), ext(SERVICE_LOCATOR, b"\x30\x00")])),
        request(before=REQUESTOR),
        request(before=REQUESTOR, signature=SIGNATURE),
        request(signature=SIGNATURE),
        request(by_hash(algorithm=bytes.fromhex("300706052b0e03021a"))),
    ],
    ids=[
        "critical-nonce",
        "acceptable-responses",
        "critical-acceptable-responses",
        "other-extension",
        "service-locator",
        "two-single-extensions",
        "requestor",
        "signed",
        "signed-without-requestor",
        "hash-without-parameters",
    ],
)
def test_what_need_not_be_understood_is_passed_over(der: bytes) -> None:
    query = parse_query(der)
    assert (query.serial, query.issuer_name_hash) == (5, b"n" * 20)


@pytest.mark.parametrize("serial", [0, 1, 127, 128, 2**159, 2**160 - 1])
def test_serial_numbers_that_may_be(serial: int) -> None:
    assert parse_query(request(by_hash(integer(serial)))).serial == serial


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x00",
        b"\x30",
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        request() + b"\x00",
        request()[:-1],
        request(by_hash() + b"\x05\x00"),
        request(by_hash(name_hash=b"n" * 19)),
        request(by_hash(key_hash=b"k" * 32)),
        request(by_hash(tlv(0x02, b""))),
        request(by_hash(tlv(0x02, b"\x00\x01"))),
        request(extensions=[nonce(b"")]),
        request(extensions=[nonce(b"n" * 129)]),
        request(extensions=[ext(NONCE, b"")]),
        request(extensions=[nonce(b"n"), nonce(b"n")]),
        request(extensions=[ext(ACCEPTABLE, b"\x05\x00")]),
        make_leaf(make_authority()).public_bytes(Encoding.DER),
        request(extensions=[ext(OTHER, b"x" * MAX_QUERY_BYTES)]),
    ],
    ids=[
        "nothing",
        "one-octet",
        "cut-off",
        "indefinite-length",
        "four-gigabytes",
        "no-der",
        "trailing-data",
        "last-octet-missing",
        "trailing-data-inside",
        "short-name-hash",
        "key-hash-of-another-algorithm",
        "empty-serial",
        "serial-not-minimal",
        "empty-nonce",
        "long-nonce",
        "empty-nonce-without-its-type",
        "two-nonces",
        "acceptable-responses-unreadable",
        "certificate",
        "too-long",
    ],
)
def test_malformed(der: bytes) -> None:
    assert error_of(der) is OcspError.MALFORMED_REQUEST


@pytest.mark.parametrize(
    "der",
    [
        request(by_hash(), by_hash()),
        request(by_hash(), by_hash(integer(6))),
        request(by_hash(algorithm=MD5, name_hash=b"n" * 16, key_hash=b"k" * 16)),
        request(by_hash(algorithm=SHA224, name_hash=b"n" * 28, key_hash=b"k" * 28)),
        request(by_hash(algorithm=UNHEARD_OF)),
        request(by_hash(tlv(0x02, b"\xff"))),
        request(by_hash(integer(2**160))),
        request(by_hash(integer(2**8000))),
        request(extensions=[ext(OTHER, b"\x05\x00", critical=True)]),
        request(extensions=[nonce(b"n"), ext(OTHER, b"\x05\x00", critical=True)]),
        request(by_hash(single=[ext(SERVICE_LOCATOR, b"\x30\x00", critical=True)])),
        request(
            by_hash(single=[ext(OTHER, b"\x05\x00"), ext(OTHER, b"\x05\x00", critical=True)]),
            before=REQUESTOR,
            extensions=[nonce(b"n")],
        ),
    ],
    ids=[
        "twice-the-same",
        "two-certificates",
        "md5",
        "sha224",
        "unheard-of-hash",
        "negative-serial",
        "long-serial",
        "huge-serial",
        "critical-extension",
        "critical-extension-after-nonce",
        "critical-single-extension",
        "second-single-extension-critical",
    ],
)
def test_well_formed_and_beyond_us(der: bytes) -> None:
    assert error_of(der) is OcspError.UNAUTHORIZED


def test_longest_request_is_read() -> None:
    short = request(extensions=[ext(OTHER, b"x" * 3000)])
    longest = request(extensions=[ext(OTHER, b"x" * (3000 + MAX_QUERY_BYTES - len(short)))])
    assert len(longest) == MAX_QUERY_BYTES
    assert parse_query(longest).serial == 5
    longer = request(extensions=[ext(OTHER, b"x" * (3001 + MAX_QUERY_BYTES - len(short)))])
    assert load_der_ocsp_request(longer).serial_number == 5
    assert error_of(longer) is OcspError.MALFORMED_REQUEST


@pytest.mark.parametrize("error", OcspError)
def test_error_answers(error: OcspError) -> None:
    response = load_der_ocsp_response(error_response(error))
    assert response.response_status is OCSPResponseStatus[error.name]
    assert len(error_response(error)) == 5


@given(st.binary(min_size=1, max_size=200))
def test_get_is_base64_however_it_is_padded(der: bytes) -> None:
    text = base64.b64encode(der).decode()
    assert decode_get(text) == der
    assert decode_get(text.rstrip("=")) == der
    assert decode_get(text + "=") == der


def test_longest_get_is_read() -> None:
    longest = b"\xff" * MAX_QUERY_BYTES
    assert decode_get(base64.b64encode(longest).decode()) == longest


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AAAAA",
        "AA=A",
        "=AAA",
        "AA-_",
        "AA A",
        "AAAA\n",
        "AAAä",
        "AAA\udcff",
        "AAA\x00",
        base64.b64encode(b"\xff" * (MAX_QUERY_BYTES + 3)).decode(),
        "A" * 10_000_000,
    ],
    ids=lambda text: binascii.crc32(text.encode("utf-8", "surrogatepass")),
)
def test_get_that_is_no_base64(text: str) -> None:
    with pytest.raises(BadQuery) as caught:
        decode_get(text)
    assert caught.value.error is OcspError.MALFORMED_REQUEST
