"""OCSP requests (RFC 6960, RFC 5019, RFC 9654): read with care, for anybody may send them.

What cannot be answered is `BadQuery` with the error that the asker gets, and nothing else.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import (
    OCSPResponseBuilder,
    OCSPResponseStatus,
    load_der_ocsp_request,
)

from certctl.pki.der import element

if TYPE_CHECKING:
    from cryptography.x509.ocsp import OCSPRequest

#: Longest request that is read. With the longest hash and nonce one has some 350 bytes; signed, and
#: with the certificate of a 4096-bit RSA key, some 3000. A longer one asks about many certificates.
MAX_QUERY_BYTES = 4096

_MAX_BASE64 = (MAX_QUERY_BYTES + 2) // 3 * 4
_MAX_NONCE = 128  # octets, RFC 9654 §2.1
_MAX_SERIAL_BITS = 160  # RFC 5280 §4.1.2.2: 20 octets

#: Hashes that may identify the issuer, by the library's name. They protect nothing here.
HASHES: dict[str, hashes.HashAlgorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        hashes.SHA1(),  # noqa: S303 - what almost every client sends (RFC 5019 §2.1.1)
        hashes.SHA256(),
        hashes.SHA384(),
        hashes.SHA512(),
    )
}

_VERSION = 0xA0
_REQUESTOR = 0xA1
_BOOLEAN = 0x01


class OcspError(Enum):
    """Answers that say nothing about a certificate and are not signed (RFC 6960 §2.3)."""

    MALFORMED_REQUEST = OCSPResponseStatus.MALFORMED_REQUEST
    INTERNAL_ERROR = OCSPResponseStatus.INTERNAL_ERROR
    TRY_LATER = OCSPResponseStatus.TRY_LATER
    UNAUTHORIZED = OCSPResponseStatus.UNAUTHORIZED


class BadQuery(Exception):
    """A request that gets `error` for an answer."""

    def __init__(self, error: OcspError) -> None:
        super().__init__(error.name)
        self.error = error


@dataclass(frozen=True, slots=True)
class OcspQuery:
    """The certificate somebody asks about.

    `serial` has at most 160 bits and is not negative, the hashes have the length of their
    algorithm, which is one of HASHES. `nonce` (1 to 128 octets) wants to be in the answer.
    """

    serial: int
    hash_algorithm: hashes.HashAlgorithm
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    nonce: bytes | None


def parse_query(der: bytes) -> OcspQuery:
    """Read a request. A signature in it is not looked at: RFC 6960 §4.1.2 leaves that to us.

    Raises BadQuery: MALFORMED_REQUEST for what is no DER of a request, or longer than
    MAX_QUERY_BYTES, or has a nonce of another length than RFC 9654 §2.1 allows; UNAUTHORIZED for
    what is well-formed and beyond us (RFC 5019 §2.2.3): several certificates at once, another hash,
    a serial number that RFC 5280 rules out, a critical extension that is not known here.
    """
    if len(der) > MAX_QUERY_BYTES:
        raise BadQuery(OcspError.MALFORMED_REQUEST)
    try:
        request = load_der_ocsp_request(der)
    except NotImplementedError as error:  # the library's word for any other number than one
        raise BadQuery(OcspError.UNAUTHORIZED) from error
    except ValueError as error:
        raise BadQuery(OcspError.MALFORMED_REQUEST) from error
    algorithm = _hash_algorithm(request)
    name_hash, key_hash = request.issuer_name_hash, request.issuer_key_hash
    if len(name_hash) != algorithm.digest_size or len(key_hash) != algorithm.digest_size:
        raise BadQuery(OcspError.MALFORMED_REQUEST)
    serial = request.serial_number
    if serial < 0 or serial.bit_length() > _MAX_SERIAL_BITS:
        raise BadQuery(OcspError.UNAUTHORIZED)
    nonce = _nonce(request)
    if _has_critical_single_extension(der):
        raise BadQuery(OcspError.UNAUTHORIZED)
    return OcspQuery(serial, algorithm, name_hash, key_hash, nonce)


def decode_get(text: str) -> bytes:
    """The request in the path of a GET (RFC 6960 appendix A.1), percent-decoded before: base64.

    How much padding there is does not matter: some clients leave it out, since `=` separates things
    in URLs. Raises BadQuery (MALFORMED_REQUEST) for anything else, and for text that is too long.
    """
    if len(text) > _MAX_BASE64:
        raise BadQuery(OcspError.MALFORMED_REQUEST)
    try:
        body = text.rstrip("=")
        return binascii.a2b_base64(body + "=" * (-len(body) % 4), strict_mode=True)
    except ValueError as error:
        raise BadQuery(OcspError.MALFORMED_REQUEST) from error


def error_response(error: OcspError) -> bytes:
    """DER of the answer that says this error."""
    return _ERRORS[error]


_ERRORS = {
    error: OCSPResponseBuilder.build_unsuccessful(error.value).public_bytes(Encoding.DER)
    for error in OcspError
}


def _hash_algorithm(request: OCSPRequest) -> hashes.HashAlgorithm:
    try:
        return HASHES[request.hash_algorithm.name]
    except (UnsupportedAlgorithm, KeyError) as error:
        raise BadQuery(OcspError.UNAUTHORIZED) from error


def _nonce(request: OCSPRequest) -> bytes | None:
    try:
        extensions = request.extensions
    except (ValueError, x509.DuplicateExtension) as error:
        raise BadQuery(OcspError.MALFORMED_REQUEST) from error
    nonce = None
    for extension in extensions:
        match extension.value:
            case x509.OCSPNonce() as value:
                nonce = value.nonce
                if not 1 <= len(nonce) <= _MAX_NONCE:
                    raise BadQuery(OcspError.MALFORMED_REQUEST)
            case x509.OCSPAcceptableResponses():
                pass  # every client takes the basic response (RFC 6960 §4.4.3), the only one here
            case _ if extension.critical:
                raise BadQuery(OcspError.UNAUTHORIZED)
    return nonce


def _has_critical_single_extension(der: bytes) -> bool:
    """Whether the one Request has a critical extension (RFC 6960 §4.1.1).

    None is known here, and the library does not tell them. It did check all of the structure.
    """
    request, _ = element(der, 0)
    at, _ = element(der, request)
    while der[at] in (_VERSION, _REQUESTOR):
        _, at = element(der, at)
    single, _ = element(der, at)
    certificate_id, single_end = element(der, single)
    _, at = element(der, certificate_id)
    if at == single_end:
        return False
    explicit, _ = element(der, at)
    at, end = element(der, explicit)
    while at < end:
        oid, extension_end = element(der, at)
        _, after_oid = element(der, oid)
        if der[after_oid] == _BOOLEAN:  # DER states it only when it is TRUE
            return True
        at = extension_end
    return False
